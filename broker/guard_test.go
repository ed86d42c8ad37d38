package broker

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// pretended is a sealed-file store that passes for the keychain, so that two
// brokers in this process can share one, with a hook before each write.
type pretended struct {
	keystore.Store
	onSet func(name string)
}

func (p *pretended) Kind() keystore.Kind { return keystore.Keychain }

func (p *pretended) Set(ctx context.Context, name string, v keystore.Secret) error {
	if p.onSet != nil {
		p.onSet(name)
	}
	return p.Store.Set(ctx, name, v)
}

// pretendKeychain returns such a store and a maker of brokers over it.
func pretendKeychain(t *testing.T) (*pretended, string, func(dir string) *Broker) {
	t.Helper()
	dir := t.TempDir()
	key := filepath.Join(dir, "key.txt")
	testenv.Must(t, keystore.InitKeyFile(key))
	s, err := keystore.OpenFile(filepath.Join(dir, "items"), key)
	testenv.Must(t, err)
	p := &pretended{Store: s}
	return p, filepath.Join(dir, "authferry"), func(dir string) *Broker {
		return New(Options{Dir: dir, KeyFile: key, OpenKeychain: func() keystore.Store { return p }})
	}
}

// kept is addTo where that has to work.
func (w *world) kept(b *Broker, user string) *index.Account {
	w.t.Helper()
	a, err := addTo(w, b, user)
	testenv.Must(w.t, err)
	return a
}

func addTo(w *world, b *Broker, user string) (*index.Account, error) {
	g := w.server.Issue(user)
	return account.Add(w.t.Context(), b.Folder, testLogin(w.server.URL, user, g.AccessToken, g.RefreshToken, time.Hour))
}

// noneLost checks the ledger: no refresh token was used twice, no login is over.
func (w *world) noneLost() {
	w.t.Helper()
	if l := w.server.Ledger(); len(l.Reuse) != 0 || l.Revoked() != 0 {
		w.t.Errorf("%d reuses, %d logins revoked", len(l.Reuse), l.Revoked())
	}
}

// A grant file that was imported once does no harm when it is imported again
// after its refresh token was spent.
func TestSpentGrantIsNotImported(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	g := w.server.Issue("ada")
	login := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, -time.Second)
	testenv.Must(t, testenv.Err(account.Add(t.Context(), w.broker().Folder, login)))
	if got := w.ask(); got.err != nil {
		t.Fatal(got.err)
	}
	login.Label = "again"
	if _, err := account.Add(t.Context(), w.broker().Folder, login); fault.CodeOf(err) != fault.LabelTaken {
		t.Errorf("the second import: %v", err)
	}
	w.noneLost()
}

// Two servers may give the same refresh token. It is one login unless both sides say
// whose it is, and of which issuer.
func TestSameTokenOfAnotherServer(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	login := func(label, issuer, subject string) error {
		n := testLogin(w.server.URL, label, "at", "rt", time.Hour)
		n.Identity = oauth.Identity{Issuer: issuer, Subject: subject}
		_, err := account.Add(t.Context(), w.broker().Folder, n)
		return err
	}
	testenv.Must(t, login("one", "https://a.example", "1"))
	if err := login("two", "https://b.example", "1"); err != nil {
		t.Errorf("another issuer's: %v", err)
	}
	for label, subject := range map[string]string{"same issuer": "2", "nobody says whose": ""} {
		if err := login(label, "https://a.example", subject); fault.CodeOf(err) != fault.LabelTaken {
			t.Errorf("%s: %v", label, err)
		}
	}
	if err := login("another issuer, nobody says whose", "https://c.example", ""); fault.CodeOf(err) != fault.LabelTaken {
		t.Errorf("%v", err)
	}
}

// A living token is served when the refresh brings no token that can be used.
func TestLivingTokenOutlivesBadAnswers(t *testing.T) {
	for name, answer := range map[string]brokertest.Fault{
		"unknown token type":                     brokertest.Faults()["token-type-mac"],
		"nothing in the answer, after rotating":  {Status: 200, Body: `{}`, After: true, Times: 1},
		"nothing in the answer, before rotating": {Status: 200, Body: `{}`, Times: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: brokertest.GraceSame})
			w.add("ada", 50*time.Second)
			w.server.Inject(answer)
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Errorf("%+v", got)
			}
		})
	}
	t.Run("rotator killed after the grant was stored, then 429", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, brokertest.Config{})
		w.add("ada", 50*time.Second)
		w.server.Inject(brokertest.Fault{Status: 429, Skip: 1})
		if got := w.askApart("TEST_KILL_AT=K14", "TEST_KILL_ONCE="+filepath.Join(t.TempDir(), "killed")); got.err != nil || !w.good(got.token) {
			t.Errorf("%+v", got)
		}
	})
}

// A failure that spent nothing forgets nothing of requests whose outcome is
// unknown.
func TestUnknownOutcomesAreRemembered(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	w.server.Inject(brokertest.Fault{Status: 500, Times: 2}, brokertest.Fault{Status: 429})
	w.ask()
	before := len(w.account(a.ID).Intents)
	allowRetry(w, a.ID)
	w.ask()
	if after := len(w.account(a.ID).Intents); before != 2 || after != 2 {
		t.Errorf("%d intents, then %d; want 2 and 2", before, after)
	}
}

// The generation of an answer is above that of every request whose outcome is
// unknown: the answer to one of those may still be stored, late.
func TestGenerationAboveIntents(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	w.change(a.ID, func(a *index.Account) {
		a.Intents = []index.Intent{{Slot: "b", Generation: 6, Fingerprint: a.Fingerprint, Attempt: 1, StartedAt: time.Now()}}
	})
	if got := w.ask(); got.err != nil {
		t.Fatal(got.err)
	}
	if acc := w.account(a.ID); acc.Generation != 7 || acc.GrantSlot == "b" {
		t.Errorf("generation %d in slot %s", acc.Generation, acc.GrantSlot)
	}
}

// An account that comes while the secrets move goes where they went.
func TestAddDuringMigration(t *testing.T) {
	for _, at := range []string{"/grant:", "/access:"} {
		t.Run(at, func(t *testing.T) {
			w := newWorld(t, brokertest.Config{})
			store, dir, open := pretendKeychain(t)
			w.kept(open(dir), "bob")
			store.onSet = func(name string) {
				if strings.Contains(name, at) {
					store.onSet = nil
					testenv.Check(t, testenv.Err(folder.MigrateKeystore(t.Context(), open(dir).Folder, keystore.File)))
				}
			}
			ada := w.kept(open(dir), "ada")
			if tok, err := open(dir).Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: ada.ID}}); err != nil || !w.good(tok.AccessToken.Reveal()) {
				t.Errorf("afterwards: %v", err)
			}
			if left := itemsOf(t, dir); left != nil {
				t.Errorf("the old keystore has %q", left)
			}
			w.noneLost()
		})
	}
}

// Migration does not start with an account whose lock it does not hold.
func TestMigrationHoldsEveryLock(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	bob := w.kept(at(dir), "bob")
	l, err := lock.TryAcquire(lock.Rotation(bob.ID).In(dir))
	testenv.Must(t, err)
	done := make(chan error, 1)
	go func() {
		_, err := folder.MigrateKeystore(context.WithoutCancel(t.Context()), at(dir).Folder, keystore.File)
		done <- err
	}()
	// Either it has read the accounts already, and notices; or it has not, and
	// there is nothing to notice.
	time.Sleep(100 * time.Millisecond)
	w.kept(at(dir), "ada")
	l.Release()
	if err := <-done; err != nil && fault.CodeOf(err) != fault.LockTimeout {
		t.Error(err)
	}
	for _, label := range []string{"ada", "bob"} {
		if tok, err := at(dir).Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: label}}); err != nil || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("%s afterwards: %v", label, err)
		}
	}
}

// remove in a copied folder leaves the original's login alone.
func TestRemoveInCopy(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	a := w.kept(at(dir), "ada")
	other := filepath.Join(t.TempDir(), "copy")
	copyFolder(t, dir, other)
	if _, err := account.Remove(t.Context(), at(other).Folder, a.ID, account.RevokeOwn); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("in the copy: %v", err)
	}
	if _, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil {
		t.Errorf("in the original: %v", err)
	}
	w.noneLost()
}

// An original whose index can't be read at this moment still owns its logins.
func TestCopyOfUnreadableOriginal(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	other := filepath.Join(t.TempDir(), "copy")
	copyFolder(t, w.dir, other)
	path := filepath.Join(w.dir, "index.json")
	data, err := os.ReadFile(path)
	testenv.Must(t, err)
	for _, text := range []string{"{", strings.Replace(string(data), `"schema":1`, `"schema":2`, 1)} {
		testenv.Must(t, os.WriteFile(path, []byte(text), 0o600))
		if got := w.askApart("AUTHFERRY_DIR=" + other); got.err == nil || got.err.Code != fault.Fenced {
			t.Errorf("in the copy: %+v", got)
		}
	}
	testenv.Must(t, os.WriteFile(path, data, 0o600))
	if got := w.ask(); got.err != nil {
		t.Error(got.err)
	}
	w.noneLost()
}

// A token's age counts from its arrival, however long the keystore took to take
// it; and a signal after the answer came does not drop it.
func TestAgeAndSignalsAfterTheAnswer(t *testing.T) {
	w := newWorldAlone(t, brokertest.Config{AccessTTL: 10 * time.Minute})
	a := w.add("ada", -time.Second)
	uptime := time.Hour
	old := record.BootNow
	t.Cleanup(func() { record.BootNow = old })
	record.BootNow = func() record.Boot { return record.Boot{ID: "this", At: uptime} }
	ctx, cancel := context.WithCancel(t.Context())
	folder.Reached = func(point string) {
		switch point {
		case "K11":
			cancel()
		case "K14":
			uptime += 9 * time.Minute
		}
	}
	t.Cleanup(func() { folder.Reached = func(string) {} })
	testenv.Must(t, rotation.Rotate(ctx, w.broker().Folder, a.ID, rotation.Wish{Beyond: 1}))
	b, idx := openedAt(t, w.broker())
	acc, err := b.Folder.Access(t.Context(), idx, idx.Account(a.ID))
	testenv.Must(t, err)
	if left, _ := acc.Remaining(time.Now()); left > time.Minute {
		t.Errorf("%v left of 10 minutes, 9 minutes later", left)
	}
}

// A keystore that has nothing of the folder is another one; that is no reason
// to log in again.
func TestForeignKeystore(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", time.Hour)
	vault := filepath.Join(w.dir, "vault")
	move(t, vault, vault+".away")
	if got := w.ask(); got.err == nil || got.err.Code != fault.KeystoreUnavailable {
		t.Errorf("%+v", got)
	}
	move(t, vault+".away", vault)
	if got := w.ask(); got.err != nil {
		t.Error(got.err)
	}
}

// A binding fences its provider against the environment, not against --pool.
func TestBindingAgainstEnvironment(t *testing.T) {
	dir := t.TempDir()
	b := New(Options{Dir: filepath.Join(dir, "authferry")})
	idx := &index.Index{
		Accounts: []index.Account{{ID: "acc_aaaaaaaaaaaaaaaa", Label: "Work", Provider: "p", Pool: "work"}, {ID: "acc_bbbbbbbbbbbbbbbb", Label: "Home", Provider: "p", Pool: "home"}},
		Pools:    map[string]index.Pool{"work": {Provider: "p"}, "home": {Provider: "p"}},
		Bindings: []index.Binding{{Dir: realDir(t, dir), Provider: "p", Pool: "work"}},
	}
	for _, s := range []pool.Selection{{EnvAccount: "Home"}, {EnvPool: "home"}, {Account: "Home"}} {
		s.Dir = dir
		if _, err := b.rules().Resolve(idx, s); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("%+v: %v", s, err)
		}
	}
	if sel, err := b.rules().Resolve(idx, pool.Selection{Dir: dir, Pool: "home"}); err != nil || sel.Pool != "home" {
		t.Errorf("--pool: %+v, %v", sel, err)
	}
	if sel, err := b.rules().Resolve(idx, pool.Selection{Dir: dir}); err != nil || sel.Pool != "work" {
		t.Errorf("bound: %+v, %v", sel, err)
	}
}

// A stopped process that holds the gate is in nobody's way.
func TestStoppedGateHolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	l, err := lock.TryAcquire(lock.Gate(a.ID).In(w.dir))
	testenv.Must(t, err)
	defer l.Release()
	if got := w.askApart("AUTHFERRY_LOCK_TIMEOUT=300ms"); got.err != nil || !w.good(got.token) {
		t.Errorf("%+v", got)
	}
}

// A back-off that was written under a clock years ahead does not last.
func TestBackOffFromTheFuture(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	w.change(a.ID, func(a *index.Account) {
		a.Failure = &index.Failure{Class: string(oauth.Unsent), Count: 1, NextTryAt: time.Now().AddDate(4, 0, 0)}
	})
	if got := w.ask(); got.err != nil {
		t.Error(got.err)
	}
}

// A client secret goes to the revocation endpoint that it was given for, whatever
// providers.toml says by now.
func TestClientSecretStaysAtItsEndpoints(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	const canary = "afcs_canary"
	got := make(chan string, 1)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		got <- string(body)
	}))
	t.Cleanup(other.Close)
	b := w.broker()
	p := testProvider(w.server.URL)
	testenv.Must(t, folder.AddProvider(t.Context(), b.Folder, p, keystore.NewSecret(canary)))
	p.RevocationEndpoint = other.URL
	login := testLogin(w.server.URL, "ada", "at", "rt", time.Hour)
	login.Provider = p
	a, err := account.Add(t.Context(), b.Folder, login)
	testenv.Must(t, err)
	if r, err := account.Remove(t.Context(), b.Folder, a.ID, account.RevokeOwn); err != nil || r.Revoked || r.Warning == "" {
		t.Errorf("%+v, %v", r, err)
	}
	select {
	case body := <-got:
		t.Errorf("the other endpoint got a request; with the secret: %v", strings.Contains(body, canary))
	default:
	}
}

// Answers that can't be used make the next try wait longer and longer.
func TestBackOffGrowsOverBadAnswers(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	answer := brokertest.Faults()["token-type-mac"]
	answer.Times = -1
	w.server.Inject(answer)
	for range 3 {
		w.ask()
		allowRetry(w, a.ID)
	}
	if n := w.account(a.ID).Failure.Count; n != 3 {
		t.Errorf("count %d after 3 bad answers", n)
	}
}

// An account found dead is served no more, though its token lives, while another
// one is free; and still when none is.
func TestDeadLoginWithLivingToken(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", 50*time.Second)
	bob := w.add("bob", time.Hour)
	w.server.Inject(brokertest.Faults()["error-rfc"])
	b := w.broker()
	if tok, err := b.Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL}); err != nil || tok.Account.ID != bob.ID {
		t.Errorf("%+v, %v", tok, err)
	}
	w.change(bob.ID, func(a *index.Account) { a.Disabled = true })
	if tok, err := b.Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL}); err != nil || tok.Account.Label != "ada" {
		t.Errorf("%+v, %v", tok, err)
	}
}

// A deleted index is not a new folder: what it pointed to is still there, also where
// its backup is from before the first account.
func TestDeletedIndex(t *testing.T) {
	for _, users := range [][]string{{"ada"}, {"ada", "bob"}} {
		w := newWorld(t, brokertest.Config{})
		for _, user := range users {
			w.add(user, time.Hour)
		}
		testenv.Must(t, os.Remove(filepath.Join(w.dir, "index.json")))
		if got := w.ask(); got.err == nil || got.err.Code != fault.IndexCorrupt {
			t.Errorf("%+v", got)
		}
		// Nor for those who would add to it.
		if _, err := addTo(w, w.broker(), "eve"); fault.CodeOf(err) != fault.IndexCorrupt || !strings.Contains(err.Error(), "index.json is missing") {
			t.Errorf("an account: %v", err)
		}
		if err := folder.AddProvider(t.Context(), w.broker().Folder, testProvider(w.server.URL), keystore.NewSecret("s")); fault.CodeOf(err) != fault.IndexCorrupt {
			t.Errorf("a client secret: %v", err)
		}
		w.doctor(true, doctor.OK, "it was restored from its backup")
		if n := len(w.accounts()); n != len(users) { // one by the manifest, others from the backup
			t.Errorf("%d accounts afterwards", n)
		}
	}
}

// What a person can do next names folder and provider as they are.
func TestRemediesNameWhatIsThere(t *testing.T) {
	dir := realDir(t, t.TempDir())
	b := New(Options{Dir: filepath.Join(dir, "authferry")})
	testenv.Must(t, os.MkdirAll(filepath.Join(dir, "p;touch pwned", "sub"), 0o700))
	bound := &index.Index{Bindings: []index.Binding{{Dir: filepath.Join(dir, "p;touch pwned"), Provider: "p", Account: "acc_aaaaaaaaaaaaaaaa"}}}
	for _, s := range []pool.Selection{{Dir: filepath.Join(dir, "p;touch pwned", "sub")}, {Provider: "p;touch pwned"}} {
		_, err := b.rules().Resolve(bound, s)
		if e, ok := errors.AsType[*fault.Error](err); !ok || len(e.Next) == 0 || e.Next[0].Do != fault.Unbind && e.Next[0].Do != fault.ListProviders {
			t.Errorf("%v", err)
		}
	}
}
