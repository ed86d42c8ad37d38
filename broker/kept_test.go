package broker

import (
	"os"
	"path/filepath"
	"slices"
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
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// forgetting does something that index.json then knows nothing of, as one from a
// backup does.
func forgetting(w *world, do func()) {
	w.t.Helper()
	path := filepath.Join(w.dir, "index.json")
	before, err := os.ReadFile(path)
	testenv.Must(w.t, err)
	do()
	testenv.Must(w.t, os.WriteFile(path, before, 0o600))
}

// An account is not called dead by an index that does not know of its new login:
// the renewal was killed before its commit, or the index is one from before it.
func TestDeadMarkIsOfAnOldLogin(t *testing.T) {
	for name, behind := range map[string]func(*world, *index.Account){
		"killed": func(w *world, _ *index.Account) { loginKilledAt(w, "K14") },
		"backup": func(w *world, _ *index.Account) {
			forgetting(w, func() { w.mustLogin(ada, account.LoginRequest{}) })
		},
	} {
		for _, how := range []string{"token", "pinned", "refresh"} {
			t.Run(name+" "+how, func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, brokertest.Config{})
				w.knows(nil)
				a := w.mustLogin(ada, account.LoginRequest{}).Account
				w.change(a.ID, func(a *index.Account) { a.Dead, a.ExpiresAt = a.Fingerprint, time.Now().Add(-time.Hour) })
				behind(w, &a)
				switch how {
				case "refresh":
					testenv.Must(t, testenv.Err(w.broker().Refresh(t.Context(), a.ID)))
				case "pinned":
					if got := w.askApart("TEST_ACCOUNT=" + a.ID); !w.good(got.token) {
						t.Fatal(got.err)
					}
				}
				if got := w.ask(); !w.good(got.token) {
					t.Error(got.err)
				}
				if now := w.account(a.ID); now.Dead != "" || now.Generation < 2 {
					t.Errorf("dead mark %q, generation %d", now.Dead, now.Generation)
				}
				w.noneLost()
			})
		}
	}
}

// That is so as well where the refresh of the stored login then fails: the access token
// of the one before still lives.
func TestDeadMarkAndNoProvider(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.change(a.ID, func(a *index.Account) { a.Dead, a.ExpiresAt = a.Fingerprint, time.Now().Add(-time.Hour) })
	loginKilledAt(w, "K14")
	f := brokertest.Faults()["503"]
	f.On, f.Times = brokertest.OnRefresh, 9
	w.server.Inject(f)
	if got := w.ask(); !w.good(got.token) {
		t.Errorf("%+v", got)
	}
}

// Nor does an account need a login because its entry knows of no refresh token: the
// login that brought one was killed before its commit.
func TestAccessOnlyThatGotARefreshToken(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	login := testLogin(w.server.URL, "ada", "at", "", -time.Hour)
	a, err := account.Add(t.Context(), w.broker().Folder, login)
	testenv.Must(t, err)
	if got := w.ask(); got.err == nil || got.err.Code != fault.LoginNeeded {
		t.Fatalf("%+v", got)
	}
	b, idx := w.opened()
	regrant(t, b, idx, a.ID, "b", func(g *record.Grant) {
		g.Generation, g.RefreshToken = 2, keystore.NewSecret(w.server.Issue("ada").RefreshToken)
	})
	if got := w.ask(); !w.good(got.token) {
		t.Errorf("%+v", got)
	}
}

// A login that renews writes over nothing that is stored now, however old the index.
func TestRenewalLeavesTheStoredLogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	var stored string
	forgetting(w, func() {
		testenv.Must(t, testenv.Err(w.broker().Refresh(t.Context(), a.ID)))
		stored = w.account(a.ID).GrantSlot
	})
	w.mustLogin(ada, account.LoginRequest{})
	if slot := w.account(a.ID).GrantSlot; slot == stored {
		t.Errorf("the new login went to slot %s, where the old one was", slot)
	}
}

// A back-off that was written under a clock that was hours ahead holds nobody up.
func TestBackOffOfAFailureYetToCome(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	ahead := time.Now().Add(10 * time.Hour)
	w.change(a.ID, func(a *index.Account) {
		a.Failure = &index.Failure{Class: string(oauth.Unsent), Count: 1, At: ahead, NextTryAt: ahead.Add(time.Second)}
	})
	if got := w.ask(); got.err != nil {
		t.Error(got.err)
	}
}

// doctor finishes a removal as it was asked for: --no-revoke leaves the login at the
// provider, where another folder may own it.
func TestDoctorFinishesRemovalAsAsked(t *testing.T) {
	for how, revoked := range map[account.Revocation]int{account.RevokeOwn: 1, account.RevokeNever: 0} {
		w := newWorld(t, brokertest.Config{})
		a := w.add("ada", time.Hour)
		cmd := w.command("TEST_KILL_AT=K19", "TEST_KILL_ONCE="+filepath.Join(t.TempDir(), "once"))
		cmd.Args = []string{"authferry", "remove", a.ID}
		if how == account.RevokeNever {
			cmd.Args = append(cmd.Args, "--no-revoke")
		}
		if got := w.run(cmd); got.err == nil {
			t.Fatal("it was not killed")
		}
		w.doctor(true, doctor.OK, "its removal is finished")
		if n := w.server.Ledger().Revoked(); n != revoked {
			t.Errorf("%d logins revoked, want %d", n, revoked)
		}
	}
}

// A key whose removal was cut off can be added again once that is finished, and the
// hint says so.
func TestHintOfACutOffRemoval(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	key := keystore.NewSecret("afak_x")
	add := func() error {
		_, err := account.LoginKey(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim", Label: "k"}, key)
		return err
	}
	testenv.Must(t, add())
	w.change(w.only().ID, func(a *index.Account) { a.Removing = true })
	if err := add(); fault.CodeOf(err) != fault.LabelTaken || !slices.Contains(err.(*fault.Error).Next, fault.Remedy{Do: fault.Fix}) {
		t.Errorf("%v", err)
	}
}

// faultyWorld has a provider, and a keychain that can fail.
func faultyWorld(t *testing.T) (w *world, store *keystoretest.Faulty, items func() []string) {
	t.Helper()
	w = newWorld(t, brokertest.Config{SignedIn: ada})
	dir := t.TempDir()
	key := filepath.Join(dir, "key.txt")
	testenv.Must(t, keystore.InitKeyFile(key))
	vault := filepath.Join(dir, "items")
	s, err := keystore.OpenFile(vault, key)
	testenv.Must(t, err)
	w.dir = filepath.Join(dir, "authferry")
	p, _, _ := pretendKeychain(t)
	p.Store = s
	return w, keystoretest.NewFaulty(p), func() []string {
		names, err := keystore.FileItems(vault, key)
		testenv.Must(t, err)
		return names
	}
}

// A login that was just made waits for a keystore and an index that are busy; one
// that can't be kept leaves nothing that nobody knows of.
func TestNewLoginWaits(t *testing.T) {
	var patience time.Duration
	w, store, items := faultyWorld(t)
	at := func() *Broker {
		return New(Options{Dir: w.dir, LockTimeout: 200 * time.Millisecond, LoginPatience: patience, OpenKeychain: func() keystore.Store { return store }})
	}
	p, err := account.Discover(t.Context(), at().Folder, w.server.URL)
	testenv.Must(t, err)
	p.Name, p.ClientID, p.APIOrigins = "sim", "authferry-sim", []string{w.server.URL}
	testenv.Must(t, folder.AddProvider(t.Context(), at().Folder, p, keystore.Secret{}))
	login := func() error {
		_, err := account.Login(t.Context(), at().Folder, account.LoginRequest{Provider: "sim"}, w.browser().person())
		return err
	}

	// The keystore is gone from the access record on, and back for the clean-up,
	// but not at once.
	patience = 100 * time.Millisecond
	down, deletes := false, 0
	store.Inject(func(c keystoretest.Call) keystoretest.Fault {
		down = down || c.Op == "write" && strings.Contains(c.Name, "/access:")
		if c.Op == "delete" {
			deletes++
		}
		if down && (c.Op == "write" && !strings.HasSuffix(c.Name, "/manifest") || deletes == 1) {
			return keystoretest.Fault{Cause: keystore.ErrTimeout}
		}
		return keystoretest.Fault{}
	})
	if err := login(); fault.CodeOf(err) != fault.KeystoreTimeout {
		t.Fatalf("%v", err)
	}
	store.Inject(nil)
	doctor.Examine(t.Context(), at().Folder, true)
	for _, name := range items() {
		if strings.Contains(name, "/grant:") {
			t.Errorf("%s is left, and nobody knows of it", name)
		}
	}

	// Keystore and index are busy for a moment.
	patience = time.Minute
	refusals := 0
	store.Inject(func(c keystoretest.Call) keystoretest.Fault {
		if c.Op != "write" || !strings.Contains(c.Name, "/access:") {
			return keystoretest.Fault{}
		}
		if refusals++; refusals <= 2 {
			return keystoretest.Fault{Cause: keystore.ErrLocked}
		}
		if l, err := lock.TryAcquire(lock.Index.In(w.dir)); err == nil {
			time.AfterFunc(700*time.Millisecond, l.Release)
		}
		return keystoretest.Fault{}
	})
	testenv.Must(t, login())
	w.noneLost()
}
