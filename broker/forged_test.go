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
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/testenv"
)

// The index is no witness of anything that the keystore knows: what somebody
// writes into it is over once the good one is back.

// stored is the account's grant, as the keystore has it.
func (w *world) stored(id string) *record.Grant {
	w.t.Helper()
	b := w.broker()
	found, err := open(w.t, b).Grants(w.t.Context(), id)
	if err != nil || found.Best == nil {
		w.t.Fatalf("no grant: %v", err)
	}
	return found.Best
}

// A generation that the index alone has is not sealed into the next record: none
// could ever come after it.
func TestForgedGeneration(t *testing.T) {
	for name, forge := range map[string]func(*index.Account){
		"of the account": func(a *index.Account) { a.Generation = index.MaxCount },
		"of an intent": func(a *index.Account) {
			a.Intents = []index.Intent{{Slot: "b", Generation: index.MaxCount, Fingerprint: a.Fingerprint, Attempt: index.MaxCount, StartedAt: time.Now()}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, brokertest.Config{})
			w.knows(nil)
			a := w.mustLogin(ada, account.LoginRequest{}).Account
			good := a
			w.change(a.ID, forge)
			testenv.Must(t, testenv.Err(w.broker().Refresh(t.Context(), a.ID)))
			if g := w.stored(a.ID); g.Generation > 2+record.MaxLead {
				t.Errorf("generation %d is stored", g.Generation)
			}
			w.change(a.ID, func(a *index.Account) { *a = good })
			if _, err := w.broker().Refresh(t.Context(), a.ID); err != nil {
				t.Errorf("with the good index back: %v", err)
			}
			w.change(a.ID, forge)
			w.mustLogin(ada, account.LoginRequest{Renew: a.ID})
			if g := w.stored(a.ID); g.Generation > 4+2*record.MaxLead {
				t.Errorf("generation %d is stored by a login", g.Generation)
			}
			w.noneLost()
		})
	}
}

// The index takes every name that a provider can have, and no other: a hint with
// it is one word in a shell.
func TestProviderNames(t *testing.T) {
	f := index.At(t.TempDir())
	for _, name := range []string{"sim", "a", "0.x", "my-gateway_2", strings.Repeat("x", 64), strings.Repeat("x", 65), "", "-sim", ".", "_x", "Sim", "é", "sim;x", "a b", "a/b", "$x", "a\n"} {
		err := f.Update(t.Context(), index.Fast, func(i *index.Index) error {
			i.Pools = map[string]index.Pool{"p": {Provider: name}}
			return nil
		})
		if takes := (oauth.Provider{Name: name}).Validate() == nil; takes != (err == nil) || takes && strings.ContainsAny(name, " ;$'\"`\\") {
			t.Errorf("%q: providers %v, index %v", name, takes, err)
		}
	}
}

// A login goes to no account that the keystore has as somebody else's; and the
// index learns again whose accounts they are.
func TestForgedIdentity(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	hers, his := w.mustLogin(ada, account.LoginRequest{}).Account, w.mustLogin(bob, account.LoginRequest{}).Account
	for _, a := range []index.Account{hers, his} { // what a rotation stores says it too
		testenv.Must(t, testenv.Err(w.broker().Refresh(t.Context(), a.ID)))
	}
	w.change(his.ID, func(a *index.Account) { a.Subject = hers.Subject })
	w.change(hers.ID, func(a *index.Account) { a.Subject = his.Subject })
	for _, user := range []string{ada, bob} {
		if _, err := w.login(user, account.LoginRequest{}); fault.CodeOf(err) != fault.LoginFailed {
			t.Errorf("%s: %v", user, err)
		}
	}
	w.change(his.ID, func(a *index.Account) { a.Subject = "" })
	if _, err := w.login(ada, account.LoginRequest{Renew: his.ID}); fault.CodeOf(err) != fault.LoginFailed {
		t.Errorf("renewed: %v", err)
	}
	for _, c := range doctor.Examine(t.Context(), w.broker().Folder, true) {
		if c.Status == doctor.Fail {
			t.Errorf("%+v", c)
		}
	}
	for _, a := range []index.Account{hers, his} {
		if now := w.account(a.ID); now.Subject != a.Subject || now.Issuer != a.Issuer || w.stored(a.ID).Generation != 2 {
			t.Errorf("%+v", now)
		}
	}
	if done := w.mustLogin(ada, account.LoginRequest{}); !done.Renewed || done.Account.ID != hers.ID {
		t.Errorf("%+v", done)
	}
}

// A tombstone that nobody's remove has set ends no login: doctor says what would.
func TestForgedTombstone(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.change(a.ID, func(a *index.Account) { a.Removing = true })
	w.doctor(true, doctor.Warning, "its login was kept")
	w.noneLost()
	w.change(a.ID, func(a *index.Account) { a.Removing = false })
	w.healthy()
	w.change(a.ID, func(a *index.Account) { a.Removing = true })
	if _, err := account.Remove(t.Context(), w.broker().Folder, a.ID, account.RevokeOwn); err != nil || len(w.accounts()) != 0 {
		t.Errorf("removed: %v", err)
	}
	w.clean()
}

// What only has an index's name is not the folder's original, and what lies in it,
// with the same logins, may be a copy as well: doctor --fix leaves them to neither.
func TestForgedOriginal(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", time.Hour)
	data, err := os.ReadFile(filepath.Join(w.dir, "index.json"))
	testenv.Must(t, err)
	inside, outside := filepath.Join(w.dir, "x"), t.TempDir()
	paths := map[string]string{inside: "{", filepath.Join(inside, "copy"): string(data), outside: `{"name":"a package"}`}
	for path, text := range paths {
		testenv.Must(t, os.MkdirAll(filepath.Join(path, "locks"), 0o700))
		if path != outside {
			testenv.Must(t, os.WriteFile(filepath.Join(path, "locks", "index.lock"), nil, 0o600))
		}
		testenv.Must(t, os.WriteFile(filepath.Join(path, "index.json"), []byte(text), 0o600))
	}
	link := filepath.Join(t.TempDir(), "link")
	if os.Symlink(w.dir, link) == nil {
		paths[filepath.Join(link, "x")] = ""
	}
	for path := range paths {
		testenv.Must(t, w.broker().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { i.Path = path; return nil }))
		if paths[path] != string(data) {
			w.refreshes(a.ID)
			continue
		}
		w.doctor(true, doctor.Fail, "in this folder, has the same logins")
		if _, err := w.broker().Refresh(t.Context(), a.ID); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("%v", err)
		}
		testenv.Must(t, os.RemoveAll(path))
		w.refreshes(a.ID)
	}
	w.noneLost()
}

// Another program's login leaves its file only for one that the keystore has, or
// has had: not because the index calls it spent.
func TestForgedSpent(t *testing.T) {
	n := newNewcomer(t, "")
	g := n.server.Issue("ada")
	n.write(fmt.Sprintf(`{"sim":{"type":"oauth","refresh":%q,"access":%q,"expires":1}}`, g.RefreshToken, g.AccessToken))
	testenv.Must(t, testenv.Err(n.takeOver(true)))
	decoy := n.add("decoy", time.Hour)
	before := n.content()
	testenv.Must(t, n.b.Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		hers := i.Accounts[0]
		i.Drop(hers.ID)
		i.Account(decoy.ID).Spent = []string{hers.Fingerprint}
		return nil
	}))
	if done, err := n.takeOver(false); err != nil || done.Removed != 0 || n.content() != before {
		t.Errorf("%+v, %v; the file has %s", done, err, n.content())
	}
}
