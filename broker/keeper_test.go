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
)

// age makes the index's file old enough to be told from the next version.
func (w *world) age() {
	w.t.Helper()
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(w.dir, "index.json"), old, old); err != nil {
		w.t.Fatal(err)
	}
}

// A Keeper reads each record once, and sees what others write.
func TestKeeperSeesWhatOthersWrite(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.Config{})
	ada, bob := w.add("ada", time.Hour), w.add("bob", time.Hour)
	k := NewKeeper(Options{Dir: w.dir})
	ask := func() string {
		t.Helper()
		w.age()
		tok, err := k.Token(t.Context(), TokenRequest{})
		if err != nil {
			t.Fatal(err)
		}
		if !w.good(tok.AccessToken.Reveal()) {
			t.Error("the API refuses the token")
		}
		return tok.Account.ID
	}
	ask()
	vault := filepath.Join(w.dir, "vault")
	if err := os.Rename(vault, vault+"-away"); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != ada.ID {
		t.Errorf("with the keystore away: %s, want %s", got, ada.ID)
	}
	if err := os.Rename(vault+"-away", vault); err != nil {
		t.Fatal(err)
	}
	if _, err := account.Disable(t.Context(), w.broker().Folder, ada.ID); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != bob.ID {
		t.Errorf("ada is disabled: %s, want %s", got, bob.ID)
	}
	if _, err := account.Enable(t.Context(), w.broker().Folder, ada.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := account.Use(t.Context(), w.broker().Folder, ada.ID); err != nil {
		t.Fatal(err)
	}
	// A newer generation, not the token that is kept.
	g := w.server.Issue("ada")
	login := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, time.Hour)
	if _, err := account.Remove(t.Context(), w.broker().Folder, ada.ID, account.RevokeNever); err != nil {
		t.Fatal(err)
	}
	again, err := account.Add(t.Context(), w.broker().Folder, login)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := account.Use(t.Context(), w.broker().Folder, again.ID); err != nil {
		t.Fatal(err)
	}
	if got := ask(); got != again.ID {
		t.Errorf("after a new login: %s, want %s", got, again.ID)
	}
	if k.opt.Memory.Has(open(t, w.broker()).Index, ada) {
		t.Error("the token of an account that is gone is still in memory")
	}
}

func TestKeeperIsForManyGoroutines(t *testing.T) {
	t.Parallel()
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
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

// An account that a session stays with gives way to a hold, and to a person.
func TestStay(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.Config{})
	ada, bob, eve := w.add("ada", time.Hour), w.add("bob", time.Hour), w.add("eve", time.Hour)
	b := w.broker()
	token := func(req TokenRequest) *Token {
		t.Helper()
		tok, err := b.Token(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	if _, err := account.Use(t.Context(), b.Folder, ada.ID); err != nil {
		t.Fatal(err)
	}
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
	if _, err := b.Report(t.Context(), pool.Selection{}, hold); err != nil {
		t.Fatal(err)
	}
	if got := token(stay).Account.ID; got != ada.ID {
		t.Errorf("got %s, want the current one while the other is held", got)
	}
	if _, err := account.ClearHolds(t.Context(), b.Folder, bob.ID, ""); err != nil {
		t.Fatal(err)
	}
	if _, err := account.Use(t.Context(), b.Folder, eve.ID); err != nil {
		t.Fatal(err)
	}
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
	if _, err := folder.InitFileKeystore(b.Context(), broker.Folder, filepath.Join(b.TempDir(), "key.txt")); err != nil {
		b.Fatal(err)
	}
	if _, err := account.Add(b.Context(), broker.Folder, testLogin("http://127.0.0.1:9", "ada", "access", "refresh", 24*time.Hour)); err != nil {
		b.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(dir, "index.json"), old, old); err != nil {
		b.Fatal(err)
	}
	k := NewKeeper(Options{Dir: dir})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := k.Token(context.Background(), TokenRequest{MinTTL: pool.DefaultMinTTL}); err != nil {
			b.Fatal(err)
		}
	}
}

// Where the keystore went away, an account whose token is in memory stands in for one
// whose newer token isn't; with none there is the keystore's error.
func TestKeeperWithoutItsKeystore(t *testing.T) {
	t.Parallel()
	w := newWorld(t, brokertest.Config{})
	ada, bob := w.add("ada", time.Hour), w.add("bob", time.Hour)
	k := NewKeeper(Options{Dir: w.dir})
	for _, id := range []string{bob.ID, ada.ID} {
		if _, err := account.Use(t.Context(), w.broker().Folder, id); err != nil {
			t.Fatal(err)
		}
		if tok, err := k.Token(t.Context(), TokenRequest{}); err != nil || tok.Account.ID != id {
			t.Fatalf("%v, %v", tok, err)
		}
	}
	if _, err := w.broker().RefreshNow(t.Context(), ada.ID); err != nil {
		t.Fatal(err)
	}
	vault := filepath.Join(w.dir, "vault")
	if err := os.Rename(vault, vault+"-away"); err != nil {
		t.Fatal(err)
	}
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
