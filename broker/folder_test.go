package broker

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
)

// D5: an index restored from a backup does not bring a spent refresh token back.
func TestIndexFromBackup(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	old, err := index.At(w.dir).Read()
	if err != nil {
		t.Fatal(err)
	}
	if got := w.ask(); got.err != nil {
		t.Fatal(got.err)
	}
	if err := index.At(w.dir).Replace(t.Context(), old); err != nil {
		t.Fatal(err)
	}
	got := w.ask()
	if got.err != nil || !w.good(got.token) {
		t.Fatalf("%+v", got)
	}
	if l := w.server.Ledger(); len(l.Reuse) != 0 || w.account(a.ID).Generation != 2 {
		t.Errorf("%d reuses, generation %d", len(l.Reuse), w.account(a.ID).Generation)
	}
}

// A folder that was copied does not rotate while the original is there; one
// that was moved does.
func TestCopiedFolder(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	original := w.dir
	w.dir = t.TempDir() + "/copy"
	copyFolder(t, original, w.dir)
	if got := w.ask(); got.err == nil || got.err.Code != Fenced {
		t.Fatalf("in the copy: %+v", got)
	}
	if n := sends(w.server.Ledger()); n != 0 {
		t.Error("the copy spent a refresh token")
	}
	removeAll(t, original)
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Fatalf("moved: %+v", got)
	}
}

// D1, D2: an index that can't take the intent is found before the token leaves
// this machine.
func TestIndexThatCantBeChanged(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", -time.Second)
	l, err := index.TryAcquire(filepath.Join(w.dir, "locks", "index.lock"))
	if err != nil {
		t.Fatal(err)
	}
	w.env = append(w.env, "AUTHFERRY_LOCK_TIMEOUT=300ms")
	got := w.ask()
	l.Release()
	if got.err == nil || got.err.Code != LockTimeout {
		t.Errorf("%+v", got)
	}
	if n := sends(w.server.Ledger()); n != 0 {
		t.Errorf("the refresh token was sent %d times", n)
	}
	w.env = nil
	if got := w.ask(); got.err != nil || !w.good(got.token) {
		t.Errorf("afterwards: %+v", got)
	}
}
