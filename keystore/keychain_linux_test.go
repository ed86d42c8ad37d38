package keystore_test

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/authferry/authferry/keystore"
	ks "github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

func TestGnomeKeyringConforms(t *testing.T) {
	t.Parallel()
	if os.Getenv(inside) != "" {
		ks.Run(t, func(testing.TB) keystore.Store { return keystore.OpenKeychain() })
		return
	}
	ring := ks.GnomeKeyring(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGnomeKeyringConforms$")
	cmd.Env = append(append(os.Environ(), ring.Env...), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// C1, C6, C17: what becomes of a real keyring in a session.
func TestGnomeKeyringFaults(t *testing.T) {
	t.Parallel()
	ring := ks.GnomeKeyring(t)
	c := newClient(t, "keychain", ring.Env)
	c.set(item, "value")
	get, set := request{Op: "get", Name: item}, request{Op: "set", Name: item, Value: "new"}

	ring.Stop(t)
	get.Timeout = shortly
	c.wantCause(get, keystore.ErrTimeout)
	get.Timeout = 0
	ring.Cont(t)
	c.want(item, "value")

	ring.Lock(t)
	c.wantCause(get, keystore.ErrLocked)
	c.wantCause(set, keystore.ErrLocked)

	ring.Restart(t, false)
	c.wantCause(get, keystore.ErrLocked)
	ring.Restart(t, true)
	c.want(item, "value")

	ring.Kill(t)
	c.wantCause(get, keystore.ErrUnavailable)
	c.wantCause(set, keystore.ErrUnavailable)

	ring.KillBus(t)
	c.wantCause(get, keystore.ErrUnavailable)
}

// Who looks for an item unasked prompts nobody: not to unlock, nor for a keyring
// that does not run.
func TestLookingForAnItem(t *testing.T) {
	ring := ks.GnomeKeyring(t)
	c := newClient(t, "keychain", ring.Env)
	c.set(item, "value")
	looks := func(name, want string) {
		t.Helper()
		if a := c.do(request{Op: "look for", Name: name}); a.Value != want {
			t.Errorf("%s: %+v, want %s", name, a, want)
		}
	}
	looks(item, "true")
	looks(item+"x", "false")
	ring.Lock(t)
	looks(item, "false")
	ring.Kill(t)
	looks(item, "false")
}

// A person can look at a short value with the desktop's own tool.
func TestSecretToolShowsTheValue(t *testing.T) {
	if _, err := exec.LookPath("secret-tool"); err != nil {
		t.Skipf("needs secret-tool: %v", err)
	}
	ring := ks.GnomeKeyring(t)
	newClient(t, "keychain", ring.Env).set(item, `{"v":1}`)
	cmd := exec.CommandContext(t.Context(), "secret-tool", "lookup", "service", "authferry", "username", item)
	cmd.Env = append(os.Environ(), ring.Env...)
	out, err := cmd.Output()
	testenv.Must(t, err)
	if !strings.HasSuffix(string(out), "\n"+`{"v":1}`) {
		t.Errorf("secret-tool shows %q", out)
	}
}

// C9, K12, K13: a writer is killed at any instant.
func TestGnomeKeyringSurvivesKilledWriters(t *testing.T) {
	t.Parallel()
	ring := ks.GnomeKeyring(t)
	killWriters(t, "keychain", ring.Env)
}

// C18: many processes at once.
func TestGnomeKeyringTakesManyClients(t *testing.T) {
	t.Parallel()
	ring := ks.GnomeKeyring(t)
	clients := make([]*client, proofs.Size(8, 64))
	for i := range clients {
		clients[i] = newClient(t, "keychain", ring.Env)
	}
	var all sync.WaitGroup
	for i, c := range clients {
		name := fmt.Sprintf("store/acc_%d/grant:a", i)
		all.Go(func() {
			a := c.do(request{Op: "set", Name: name, Value: name})
			if a.Err == "" {
				a = c.do(request{Op: "get", Name: name})
			}
			if a.Err != "" || a.Value != name {
				t.Errorf("%s: %q, %s", name, a.Value, a.Err)
			}
		})
	}
	all.Wait()
}

// A default keyring that is open serves beside a "login" that is locked, and what is
// in a keyring is found there whatever is locked, open or the default later.
func TestDefaultBesideLogin(t *testing.T) {
	const manifest, other = "store/manifest", "other/acc_0/grant:a"
	ring := ks.GnomeKeyring(t)
	c := newClient(t, "keychain", ring.Env)
	ring.Default(t)
	gets := func(name string) request { return request{Op: "get", Name: name} }
	sets := func(name string) request { return request{Op: "set", Name: name, Value: "new"} }

	// Nothing of ours anywhere, and "login" locked: the open one takes it.
	ring.Lock(t)
	c.wantCause(gets(item), keystore.ErrNotFound)
	c.set(manifest, "m")
	c.set(item, long)
	c.want(item, long)
	if a := c.do(request{Op: "look for", Name: item}); a.Value != "true" {
		t.Errorf("looking for it: %+v", a)
	}
	// "login" is opened: it stays where it is, and so does what comes new to its folder.
	ring.Unlock(t)
	c.want(item, long)
	c.set(item, "newer")
	c.set(item+"b", "beside")
	ring.Lock(t)
	c.want(item, "newer")
	c.want(item+"b", "beside")
	// Another folder, while "login" is open, is in "login" as ever, and locked with it.
	ring.Unlock(t)
	c.set(other, "in login")
	c.set("other/manifest", "m")
	c.want(other, "in login")
	ring.Lock(t)
	c.wantCause(gets(other), keystore.ErrLocked)
	c.wantCause(sets(other), keystore.ErrLocked)
	c.wantCause(sets(other+"b"), keystore.ErrLocked)
	c.wantCause(gets("third/manifest"), keystore.ErrLocked) // nobody can tell what "login" has
	c.want(item, "newer")
	// And the other way round.
	ring.Unlock(t)
	ring.LockDefault(t)
	c.want(other, "in login")
	c.set(other, "still in login")
	c.wantCause(gets(item), keystore.ErrLocked)
	c.wantCause(sets(item), keystore.ErrLocked)
	c.wantCause(sets(item+"c"), keystore.ErrLocked)
	ring.UnlockDefault(t)
	c.want(item, "newer")
	c.wantCause(request{Op: "delete", Name: item}, nil)
	c.wantCause(gets(item), keystore.ErrNotFound)
	c.want(other, "still in login")
}
