package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// keychainWorld is a world whose secrets are in the keychain that env names. The
// D-Bus library connects once per process, so everything that touches the
// keychain is a process of its own.
func keychainWorld(t *testing.T, cfg brokertest.Config, env []string) *world {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("needs Linux: the keychain here is not a Secret Service")
	}
	beside(t)
	w := &world{t: t, dir: filepath.Join(t.TempDir(), "authferry"), server: brokertest.New(t, cfg), env: append([]string{"AUTHFERRY_KEYCHAIN_TIMEOUT=1m"}, env...)}
	t.Cleanup(w.waitForRotators)
	return w
}

// addInChild imports an expired login of user.
func (w *world) addInChild(user string, env ...string) answer {
	w.t.Helper()
	g := w.server.Issue(user)
	cmd := w.command(append(env, "TEST_SERVER="+w.server.URL)...)
	cmd.Args = []string{"authferry", "add", user, g.AccessToken, g.RefreshToken}
	return w.run(cmd)
}

// only is the one account that there is.
func (w *world) only() index.Account {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	if err != nil || len(idx.Accounts) != 1 {
		w.t.Fatalf("want one account: %v", err)
	}
	return idx.Accounts[0]
}

// expiredInKeychain is a world with one login, whose access token has ended.
func expiredInKeychain(t *testing.T, cfg brokertest.Config, env []string) *world {
	t.Helper()
	w := keychainWorld(t, cfg, env)
	if got := w.addInChild("ada"); got.err != nil {
		t.Fatal(got.err)
	}
	return w
}

// The main job on a real gnome-keyring: any number of processes at expiry, one
// token request, no secret in a file.
func TestRealKeyring(t *testing.T) {
	t.Parallel()
	k := keystoretest.GnomeKeyring(t)
	for _, n := range herds(t) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			stampede(t, n, func() *world { return expiredInKeychain(t, slowAndStrict, k.Env) })
		})
	}
}

// noSecretInFiles looks for every token of the server in every file of the
// folder (I7).
func noSecretInFiles(w *world) {
	w.t.Helper()
	testenv.Check(w.t, filepath.WalkDir(w.dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "afat_") || strings.Contains(string(data), "afrt_") {
			return errors.New(path + " holds a token")
		}
		return err
	}))
}

// A keychain that fails before anything is spent costs nothing: the code is the
// contract's, no request was made, and when it is well again so is the login.
// The numbers are those of the fault list.
func TestKeychainFaultsBeforeSpending(t *testing.T) {
	t.Parallel()
	type row struct {
		name string
		mode keystoretest.Mode
		want fault.Code
	}
	for _, row := range proofs.Sample(5, []row{
		{"C1 locked", keystoretest.Locked, fault.KeystoreLocked},
		{"C3 prompt never answered", keystoretest.PromptHanging, fault.KeystoreTimeout},
		{"C4 prompt to unlock dismissed", keystoretest.UnlockDismissed, fault.KeystoreLocked},
		{"C4 prompt to create dismissed", keystoretest.CreateDismissed, fault.KeystoreDenied},
		{"C5 no owner", keystoretest.NoOwner, fault.KeystoreUnavailable},
		{"C5 no collection", keystoretest.NoCollection, fault.KeystoreUnavailable},
		{"C6 hanging", keystoretest.Hanging, fault.KeystoreTimeout},
		{"C7 stores nothing", keystoretest.Losing, fault.KeystoreDenied},
		{"C7 stores half", keystoretest.Truncating, fault.KeystoreDenied},
		{"C7 stores an empty secret", keystoretest.Emptying, fault.KeystoreDenied},
		{"C12 full", keystoretest.Full, ""},
	}) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := keystoretest.SecretService(t, keystoretest.Normal)
			w := keychainWorld(t, brokertest.Config{}, s.Env)
			if got := w.addInChild("ada"); got.err != nil {
				t.Fatal(got.err)
			}
			s.SetMode(t, row.mode)
			timeout := "1m"
			if row.want == fault.KeystoreTimeout {
				timeout = "3s"
			}
			got := w.askApart("AUTHFERRY_KEYCHAIN_TIMEOUT=" + timeout)
			if got.err == nil {
				t.Fatal("served")
			}
			if row.want != "" && got.err.Code != row.want {
				t.Errorf("%s: %v; want %s", got.err.Code, got.err, row.want)
			}
			if !strings.HasPrefix(string(got.err.Code), "keystore_") {
				t.Errorf("%s: %v", got.err.Code, got.err)
			}
			w.waitForRotators()
			if n := sends(w.server.Ledger()); n != 0 {
				t.Errorf("the refresh token was spent")
			}
			s.SetMode(t, keystoretest.Normal)
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Errorf("afterwards: %+v", got)
			}
			if acc := w.only(); acc.Dead != "" || acc.Failure != nil {
				t.Errorf("left behind: %+v", acc)
			}
		})
	}
}

// C5: no bus, a dead one, a mute one.
func TestNoBus(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		bus     func(testing.TB) []string
		timeout string
		want    fault.Code
	}{
		"dead": {keystoretest.DeadBus, "1m", fault.KeystoreUnavailable},
		"mute": {keystoretest.MuteBus, "700ms", fault.KeystoreTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := keychainWorld(t, brokertest.Config{}, []string{"AUTHFERRY_KEYCHAIN_TIMEOUT=" + row.timeout})
			w.env = append(w.env, row.bus(t)...)
			if got := w.addInChild("ada"); got.err == nil || got.err.Code != row.want {
				t.Errorf("%+v, want %s", got, row.want)
			}
			if idx, err := index.At(w.dir).Read(); err == nil && len(idx.Accounts) != 0 {
				t.Error("an account stayed behind though the keystore refused")
			}
		})
	}
}

// C2: the keychain fails after the token was spent. The rotator keeps the new
// tokens and asks again until it takes them; the caller learns what goes on.
func TestKeychainFailsAfterSpending(t *testing.T) {
	t.Parallel()
	type row struct {
		name string
		mode keystoretest.Mode
	}
	for _, row := range proofs.Sample(2, []row{
		{"C2 locked", keystoretest.Locked},
		{"C7 stores nothing", keystoretest.Losing},
		{"C6 hanging", keystoretest.Hanging},
		{"C12 full", keystoretest.Full},
	}) {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			s := keystoretest.SecretService(t, keystoretest.Normal)
			w := keychainWorld(t, brokertest.Config{}, s.Env)
			if got := w.addInChild("ada"); got.err != nil {
				t.Fatal(got.err)
			}
			release := make(chan struct{})
			w.server.Inject(brokertest.Fault{Until: release, After: true})
			done := make(chan answer, 1)
			go func() { done <- w.askApart("AUTHFERRY_KEYCHAIN_TIMEOUT=3s", "AUTHFERRY_HTTP_TIMEOUT=3s") }()
			w.await("a refresh", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
			s.SetMode(t, row.mode)
			close(release)
			got := <-done
			for patience := testenv.Patience(t); got.err != nil && got.err.Code == fault.ProviderUnreachable && patience.Err() == nil; { // on a slow machine it hasn't come that far
				got = w.askApart("AUTHFERRY_KEYCHAIN_TIMEOUT=3s", "AUTHFERRY_HTTP_TIMEOUT=3s")
			}
			if got.err == nil || got.err.Code != fault.KeystoreTimeout && got.err.Code != fault.KeystoreLocked {
				t.Errorf("while the keychain refuses: %+v", got)
			}
			s.SetMode(t, keystoretest.Normal)
			w.waitForRotators()
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Fatalf("afterwards: %+v", got)
			}
			if l := w.server.Ledger(); sends(l) != 1 || len(l.Reuse) != 0 {
				t.Errorf("%d sends, %d reuses; want 1, 0", sends(l), len(l.Reuse))
			}
		})
	}
}

// C9: a write that a killed rotator left under way comes late and harms nothing:
// it is to a slot of its own.
func TestLateWrite(t *testing.T) {
	s := keystoretest.SecretService(t, keystoretest.Normal)
	w := keychainWorld(t, brokertest.Config{Rotation: brokertest.GraceNew}, s.Env)
	if got := w.addInChild("ada"); got.err != nil {
		t.Fatal(got.err)
	}
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{Until: release, After: true})
	done := make(chan answer, 1)
	go func() { done <- w.askApart("AUTHFERRY_KEYCHAIN_TIMEOUT=3s", "AUTHFERRY_HTTP_TIMEOUT=3s") }()
	w.await("a refresh", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
	s.SetMode(t, keystoretest.Late)
	close(release)
	// The rotator is writing now, or will soon; it is killed while it does.
	pid := w.only().Intents[0].PID
	time.Sleep(300 * time.Millisecond)
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Kill()
	}
	<-done
	w.waitForRotators()
	s.SetMode(t, keystoretest.Normal) // the late write comes now
	got := w.ask()
	if got.err != nil || !w.good(got.token) {
		t.Fatalf("%+v", got)
	}
	if again := w.ask(); again.token != got.token {
		t.Error("the next call gets another token")
	}
}

// C11: an item that the user deleted costs a refresh (the access token) or a
// login (the grant), and says so.
func TestDeletedItems(t *testing.T) {
	s := keystoretest.SecretService(t, keystoretest.Normal)
	w := keychainWorld(t, brokertest.Config{}, s.Env)
	if got := w.addInChild("ada"); got.err != nil {
		t.Fatal(got.err)
	}
	first := w.ask()
	if first.err != nil {
		t.Fatal(first.err)
	}
	for _, it := range s.Items() {
		if strings.Contains(it.Name, "/access:") {
			s.Edit(it.Name, []byte("rubbish"))
		}
	}
	second := w.ask()
	if second.err != nil || second.token == first.token || !w.good(second.token) {
		t.Fatalf("%+v", second)
	}
	for _, it := range s.Items() {
		if strings.Contains(it.Name, "/grant:") || strings.Contains(it.Name, "/access:") {
			s.Edit(it.Name, []byte("rubbish"))
		}
	}
	got := w.ask()
	if got.err == nil || got.err.Code != fault.LoginNeeded {
		t.Fatalf("%+v", got)
	}
}

// C17, C6: the keyring daemon is killed and comes back locked: a clear error,
// nothing lost.
func TestKilledDaemon(t *testing.T) {
	k := keystoretest.GnomeKeyring(t)
	w := keychainWorld(t, brokertest.Config{}, k.Env)
	if got := w.addInChild("ada"); got.err != nil {
		t.Fatal(got.err)
	}
	k.Kill(t)
	if got := w.askApart("AUTHFERRY_KEYCHAIN_TIMEOUT=3s"); got.err == nil || !strings.HasPrefix(string(got.err.Code), "keystore_") {
		t.Fatalf("without a daemon: %+v", got)
	}
	k.Restart(t, true)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Fatalf("after its return: %+v", got)
	}
	if l := w.server.Ledger(); sends(l) != 1 {
		t.Errorf("%d sends, want 1", sends(l))
	}
}

// Remove revokes one refresh token and leaves nothing of the account behind.
func TestRemoveFromKeychain(t *testing.T) {
	s := keystoretest.SecretService(t, keystoretest.Normal)
	w := keychainWorld(t, brokertest.Config{}, s.Env)
	if got := w.addInChild("ada"); got.err != nil {
		t.Fatal(got.err)
	}
	if got := w.ask(); got.err != nil {
		t.Fatal(got.err)
	}
	cmd := w.command()
	cmd.Args = []string{"authferry", "remove", "ada"}
	if got := w.run(cmd); got.err != nil {
		t.Fatal(got.err)
	}
	if items := s.Items(); len(items) != 0 {
		t.Errorf("left in the keychain: %v", items)
	}
	if l := w.server.Ledger(); l.Revocations != 1 || l.Revoked() != 1 {
		t.Errorf("%d revocation requests, %d logins revoked; want 1, 1", l.Revocations, l.Revoked())
	}
}
