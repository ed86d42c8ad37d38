package broker

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// ageIndex makes the index's file old enough to be told from the next version.
func ageIndex(w *world) {
	w.t.Helper()
	old := time.Now().Add(-time.Minute)
	testenv.Must(w.t, os.Chtimes(filepath.Join(w.dir, "index.json"), old, old))
}

// A Keeper reads each record once, and sees what others write.
func TestKeeperSeesWhatOthersWrite(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	ada, bob := w.add("ada", time.Hour), w.add("bob", time.Hour)
	k := NewKeeper(Options{Dir: w.dir})
	ask := func() string {
		t.Helper()
		ageIndex(w)
		tok, err := k.Token(t.Context(), TokenRequest{})
		testenv.Must(t, err)
		if !w.good(tok.AccessToken.Reveal()) {
			t.Error("the API refuses the token")
		}
		return tok.Account.ID
	}
	ask()
	vault := filepath.Join(w.dir, "vault")
	testenv.Must(t, os.Rename(vault, vault+"-away"))
	if got := ask(); got != ada.ID {
		t.Errorf("with the keystore away: %s, want %s", got, ada.ID)
	}
	testenv.Must(t, os.Rename(vault+"-away", vault))
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), w.broker().Folder, ada.ID)))
	if got := ask(); got != bob.ID {
		t.Errorf("ada is disabled: %s, want %s", got, bob.ID)
	}
	testenv.Must(t, testenv.Err(account.Enable(t.Context(), w.broker().Folder, ada.ID)))
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.broker().Folder, ada.ID)))
	// A newer generation, not the token that is kept.
	g := w.server.Issue("ada")
	login := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, time.Hour)
	testenv.Must(t, testenv.Err(account.Remove(t.Context(), w.broker().Folder, ada.ID, account.RevokeNever)))
	again, err := account.Add(t.Context(), w.broker().Folder, login)
	testenv.Must(t, err)
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.broker().Folder, again.ID)))
	if got := ask(); got != again.ID {
		t.Errorf("after a new login: %s, want %s", got, again.ID)
	}
	if k.opt.Memory.Has(open(t, w.broker()).Index, ada) {
		t.Error("the token of an account that is gone is still in memory")
	}
}

func TestKeeperIsForManyGoroutines(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", time.Hour)
	w.add("bob", time.Hour)
	k := NewKeeper(Options{Dir: w.dir})
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			tok, err := k.Token(t.Context(), TokenRequest{})
			if err != nil && fault.CodeOf(err) == fault.AllHeld {
				return // the others were faster
			}
			if err != nil {
				t.Error(err)
				return
			}
			_, err = k.Report(t.Context(), pool.Selection{}, ReportRequest{Lease: tok.Lease, Status: 429, Header: map[string][]string{"retry-after": {"60"}}, Next: true})
			testenv.Check(t, err)
		})
	}
	all.Wait()
}

// An account that a session stays with gives way to a hold, and to a person.
func TestStay(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	ada, bob, eve := w.add("ada", time.Hour), w.add("bob", time.Hour), w.add("eve", time.Hour)
	b := w.broker()
	token := func(req TokenRequest) *Token {
		t.Helper()
		tok, err := b.Token(t.Context(), req)
		testenv.Must(t, err)
		return tok
	}
	testenv.Must(t, testenv.Err(account.Use(t.Context(), b.Folder, ada.ID)))
	first := token(TokenRequest{})
	if first.Current != ada.ID {
		t.Fatalf("current is %q, want %q", first.Current, ada.ID)
	}
	stay := TokenRequest{Stay: bob.ID, StayBy: first.Current}
	if got := token(stay).Account.ID; got != bob.ID {
		t.Errorf("got %s, want the account to stay with", got)
	}
	pinned := stay
	pinned.Account = "eve"
	if got := token(pinned).Account.ID; got != eve.ID {
		t.Errorf("got %s, want the pinned one", got)
	}
	hold := ReportRequest{Lease: lease(bob.ID, 1), Status: 429, Header: map[string][]string{"retry-after": {"600"}}}
	testenv.Must(t, testenv.Err(b.Report(t.Context(), pool.Selection{}, hold)))
	if got := token(stay).Account.ID; got != ada.ID {
		t.Errorf("got %s, want the current one while the other is held", got)
	}
	testenv.Must(t, testenv.Err(account.ClearHolds(t.Context(), b.Folder, bob.ID, "")))
	testenv.Must(t, testenv.Err(account.Use(t.Context(), b.Folder, eve.ID)))
	if got := token(stay).Account.ID; got != eve.ID {
		t.Errorf("got %s, want the one that a person chose meanwhile", got)
	}
	except := TokenRequest{Except: []string{eve.ID, ada.ID}}
	if got := token(except).Account.ID; got != bob.ID {
		t.Errorf("got %s, want the only one that is not excepted", got)
	}
	except.Except = append(except.Except, bob.ID)
	if _, err := b.Token(t.Context(), except); err == nil {
		t.Error("an excepted account was handed out")
	}
}

func BenchmarkKeeper(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "authferry")
	broker := New(Options{Dir: dir})
	testenv.Must(b, testenv.Err(folder.InitFileKeystore(b.Context(), broker.Folder, filepath.Join(b.TempDir(), "key.txt"))))
	testenv.Must(b, testenv.Err(account.Add(b.Context(), broker.Folder, testLogin("http://127.0.0.1:9", "ada", "access", "refresh", 24*time.Hour))))
	old := time.Now().Add(-time.Minute)
	testenv.Must(b, os.Chtimes(filepath.Join(dir, "index.json"), old, old))
	k := NewKeeper(Options{Dir: dir})
	b.ReportAllocs()
	for b.Loop() {
		testenv.Must(b, testenv.Err(k.Token(context.Background(), TokenRequest{MinTTL: pool.DefaultMinTTL})))
	}
}

// Where the keystore went away, an account whose token is in memory stands in for one
// whose newer token isn't; with none there is the keystore's error.
func TestKeeperWithoutItsKeystore(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	ada, bob := w.add("ada", time.Hour), w.add("bob", time.Hour)
	k := NewKeeper(Options{Dir: w.dir})
	for _, id := range []string{bob.ID, ada.ID} {
		testenv.Must(t, testenv.Err(account.Use(t.Context(), w.broker().Folder, id)))
		if tok, err := k.Token(t.Context(), TokenRequest{}); err != nil || tok.Account.ID != id {
			t.Fatalf("%v, %v", tok, err)
		}
	}
	testenv.Must(t, testenv.Err(w.broker().RefreshNow(t.Context(), ada.ID)))
	vault := filepath.Join(w.dir, "vault")
	testenv.Must(t, os.Rename(vault, vault+"-away"))
	if tok, err := k.Token(t.Context(), TokenRequest{}); err != nil || tok.Account.ID != bob.ID {
		t.Errorf("%v, %v; want bob's, which is in memory", tok, err)
	}
	if _, err := k.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: ada.ID}}); err == nil {
		t.Error("a pinned account got another one's token")
	}
	want := fault.KeystoreUnavailable
	if _, err := NewKeeper(Options{Dir: w.dir}).Token(t.Context(), TokenRequest{}); fault.CodeOf(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}
