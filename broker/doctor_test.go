package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// doctor wants one check with this outcome that says this.
func (w *world) doctor(fix bool, status doctor.Status, says string) {
	w.t.Helper()
	wants(w.t, doctor.Examine(w.t.Context(), w.broker().Folder, fix), status, says)
}

func wants(t *testing.T, checks []doctor.Check, status doctor.Status, says string) {
	t.Helper()
	for _, c := range checks {
		if c.Status == status && strings.Contains(c.Message, says) {
			return
		}
	}
	t.Errorf("no %s says %q: %+v", status, says, checks)
}

// healthy wants nothing but ok.
func (w *world) healthy() {
	w.t.Helper()
	for _, c := range doctor.Examine(w.t.Context(), w.broker().Folder, false) {
		if c.Status != doctor.OK {
			w.t.Errorf("%+v", c)
		}
	}
}

// loginKilledAt logs in with a process that dies at a point.
func loginKilledAt(w *world, point string) {
	w.t.Helper()
	cmd := w.command("TEST_KILL_AT="+point, "TEST_KILL_ONCE="+filepath.Join(w.t.TempDir(), "once"))
	cmd.Args = []string{"authferry", "login"}
	if got := w.run(cmd); got.err == nil {
		w.t.Fatalf("it was not killed at %s: %+v", point, got)
	}
}

// A login that dies after the code was exchanged leaves something to see, and the
// next login is as good as ever; one that renews leaves the old grant.
func TestLoginKilled(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	loginKilledAt(w, "K21")
	if n := len(w.accounts()); n != 0 {
		t.Fatalf("%d accounts", n)
	}
	w.doctor(false, doctor.Warning, "a login was not finished")
	w.doctor(true, doctor.OK, "removed acc_")
	w.healthy()
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	loginKilledAt(w, "K21")
	if now := w.account(a.ID); now.Generation != 1 {
		t.Errorf("%+v", now)
	}
	w.doctor(true, doctor.OK, "removed acc_")
	w.refreshes(a.ID)
	w.healthy()
}

// An index from a backup does not know the newest login; the keystore does.
func TestDoctorRestores(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	first := w.mustLogin(ada, account.LoginRequest{}).Account
	path := filepath.Join(w.dir, "index.json")
	backup, err := os.ReadFile(path)
	testenv.Must(t, err)
	second := w.mustLogin(bob, account.LoginRequest{}).Account
	w.refreshes(first.ID)
	testenv.Must(t, os.WriteFile(path, backup, 0o600))
	w.doctor(false, doctor.Warning, "the index is behind the keystore")
	w.doctor(false, doctor.Fail, "the keystore has a login of sim that is not in the index")
	w.doctor(true, doctor.OK, "is an account again: \"sim-1\"")
	w.healthy()
	for _, id := range []string{first.ID, second.ID} {
		w.refreshes(id)
	}
	if l := w.server.Ledger(); len(l.Reuse) != 0 {
		t.Errorf("a refresh token was sent twice: %+v", l.Reuse)
	}
	if again := w.mustLogin(bob, account.LoginRequest{Renew: "sim-1"}); again.Account.Identity != bob {
		t.Errorf("%+v", again)
	}
}

// An import that was killed and then made anew left its login twice. One of them
// goes: two accounts with one refresh token would spend it twice. What an account
// had before and has no longer never becomes an account again.
func TestDoctorForgetsWhatWasMadeAnew(t *testing.T) {
	for _, refreshed := range []bool{false, true} {
		w := newWorld(t, brokertest.Config{})
		w.knows(nil)
		w.mustLogin(ada, account.LoginRequest{})
		path := filepath.Join(w.dir, "index.json")
		before, err := os.ReadFile(path)
		testenv.Must(t, err)
		g := w.server.Issue(bob)
		made := map[string]string{}
		for _, label := range []string{"killed", "anew"} {
			doc := fmt.Sprintf(`{"access_token":%q,"refresh_token":%q,"expires_in":3600}`, g.AccessToken, g.RefreshToken)
			testenv.Must(t, os.WriteFile(path, before, 0o600))
			a, err := account.ImportGrant(t.Context(), w.broker().Folder, strings.NewReader(doc), account.ImportOptions{Provider: "sim", Label: label})
			testenv.Must(t, err)
			made[label] = a.ID
		}
		w.doctor(false, doctor.Warning, "and then repeated as account \"anew\": "+made["killed"])
		if refreshed {
			w.refreshes(made["anew"])
			w.doctor(true, doctor.Warning, "an earlier state of account \"anew\"'s login: "+made["killed"])
		} else {
			w.doctor(true, doctor.OK, "removed "+made["killed"])
			w.healthy()
		}
		w.refreshes(made["anew"])
		w.noneLost()
	}
}

func TestDoctorFindings(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	w.doctor(false, doctor.OK, "no account yet")
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.healthy()
	// The other program has refreshed the login that it was left with.
	theirs := filepath.Join(t.TempDir(), "auth.json")
	testenv.Must(t, os.WriteFile(theirs, []byte(`{"sim":{"type":"oauth","access":"theirs","refresh":"newer","expires":1}}`), 0o600))
	for says, change := range map[string]func(*index.Account){
		"its login was kept":              func(a *index.Account) { a.Removing = true },
		"no longer accepts its login":     func(a *index.Account) { a.Dead = a.Fingerprint },
		"its last refresh failed: broken": func(a *index.Account) { a.Failure = &index.Failure{Message: "broken"} },
		"its outcome is unknown": func(a *index.Account) {
			a.Intents = []index.Intent{{Slot: "b", Generation: 2, Fingerprint: "x", Attempt: 1, PID: os.Getpid(), StartedAt: time.Now().UTC()}}
		},
		"its login ends at":            func(a *index.Account) { a.RefreshExpiresAt = time.Now().Add(time.Hour) },
		"auth.json has this login too": func(a *index.Account) { a.Shared = theirs },
		"was last used in the future":  func(a *index.Account) { a.RefreshedAt = time.Now().Add(time.Hour) },
	} {
		var before index.Account
		edit := func(f func(*index.Account)) {
			testenv.Must(t, w.broker().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { f(i.Account(a.ID)); return nil }))
		}
		edit(func(x *index.Account) { before = *x; change(x) })
		w.doctor(false, doctor.Warning, says)
		edit(func(x *index.Account) { *x = before })
	}
	w.healthy()
	testenv.Must(t, w.broker().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { i.Account(a.ID).Shared = theirs; return nil }))
	testenv.Must(t, os.WriteFile(theirs, []byte(`{}`), 0o600))
	w.healthy()

	// The keystore lost the login: only a person can mend that.
	b := w.broker()
	testenv.Must(t, open(t, b).DeleteItems(t.Context(), a.ID))
	w.doctor(true, doctor.Fail, "the keystore no longer has its login")
	w.mustLogin(ada, account.LoginRequest{Renew: a.ID})
	w.healthy()

	lock, err := lock.Acquire(t.Context(), lock.Rotation(a.ID).In(b.Folder.File().Dir()))
	testenv.Must(t, err)
	w.doctor(false, doctor.OK, "is held by process")
	lock.Release()
	testenv.Must(t, os.WriteFile(filepath.Join(w.dir, "config.toml"), []byte("failover = 7"), 0o600))
	w.doctor(false, doctor.Fail, "config.toml")
}

// An account that is being added while doctor mends is no leftover: doctor deletes
// nothing of it and makes no account of it. (Random schedules, seed 1.)
func TestDoctorDuringImport(t *testing.T) {
	for _, record := range []string{"/grant:", "/access:"} {
		w := newWorld(t, brokertest.Config{})
		store, dir, at := pretendKeychain(t)
		w.kept(at(dir), "bob")
		var checks []doctor.Check
		store.onSet = func(name string) {
			if strings.Contains(name, record) {
				store.onSet = nil
				checks = doctor.Examine(t.Context(), at(dir).Folder, true)
			}
		}
		if _, err := addTo(w, at(dir), "ada"); err != nil {
			t.Errorf("before the %s record: %v", record, err)
		}
		for _, c := range checks {
			if c.Status != doctor.OK {
				t.Errorf("%+v", c)
			}
		}
		if tok, err := at(dir).Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}}); err != nil || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("afterwards: %v", err)
		}
		if views, err := List(at(dir).Folder); err != nil || len(views) != 2 {
			t.Errorf("%d accounts, %v", len(views), err)
		}
	}
}

// A removal that was cut off is finished, secrets first.
func TestDoctorFinishesRemoval(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	cmd := w.command("TEST_KILL_AT=K19", "TEST_KILL_ONCE="+filepath.Join(t.TempDir(), "once"))
	cmd.Args = []string{"authferry", "remove", a.ID}
	if got := w.run(cmd); got.err == nil {
		t.Fatal("it was not killed")
	}
	w.doctor(false, doctor.Warning, "its removal was interrupted")
	w.doctor(true, doctor.OK, "its removal is finished")
	if len(w.accounts()) != 0 {
		t.Error("the entry is still there")
	}
	w.healthy()
	w.clean()
}

// A provider that says nothing of who logs in: every login is a new account, but
// for --renew.
func TestLoginWithoutIdentity(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(func(p *oauth.Provider) { p.IdentityFrom, p.Issuer, p.IssParameter = "", "", false })
	first := w.mustLogin(ada, account.LoginRequest{}).Account
	second := w.mustLogin(ada, account.LoginRequest{}).Account
	if first.Label != "sim-1" || second.Label != "sim-2" || first.Subject != "" {
		t.Errorf("%q %q", first.Label, second.Label)
	}
	if done := w.mustLogin(ada, account.LoginRequest{Renew: "sim-2"}); !done.Renewed || done.Account.ID != second.ID {
		t.Errorf("%+v", done)
	}
	if n := len(w.accounts()); n != 2 {
		t.Errorf("%d accounts", n)
	}
}

// What was wrong with the clock when an account was added is over once it has been
// refreshed, as doctor's hint says.
func TestDoctorAfterAWrongClock(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	w.change(a.ID, func(x *index.Account) { x.AddedAt = time.Now().Add(time.Hour) })
	w.doctor(false, doctor.Warning, "was last used in the future")
	w.refreshes(a.ID)
	w.healthy()
}
