package broker

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// errKilled stands for the death of the process: nothing is taken back.
var errKilled = errors.New("killed")

// killed runs do until it panics with errKilled, if it does.
func killed(do func()) (died bool) {
	defer func() {
		if p := recover(); p != nil {
			if p != errKilled { // a panic's value
				panic(p)
			}
			died = true
		}
	}()
	do()
	return false
}

// killPoint is where a migration dies: at a point of its own, or at the n-th call of a
// kind to the keychain.
type killPoint struct {
	point, op string
	n         int
}

// An index from before a migration, whichever way it went and wherever it was killed,
// never has a refresh token sent that was spent since; and doctor finds the login.
func TestOldIndexAfterMigration(t *testing.T) {
	points := []killPoint{{}, {point: "K20"}, {point: "K20 marked"}, {point: "K20 committed"}}
	to := map[keystore.Kind][]killPoint{keystore.File: points, keystore.Keychain: points}
	for _, n := range []int{3, 1, 9}[:proofs.Size(1, 3)] {
		to[keystore.File] = append(to[keystore.File], killPoint{op: "delete", n: n})
		to[keystore.Keychain] = append(to[keystore.Keychain], killPoint{op: "write", n: n})
	}
	for to, points := range to {
		for _, at := range points {
			t.Run(fmt.Sprintf("to the %s, killed at %v", to, at), func(t *testing.T) { oldIndex(t, to, at, true) })
			if at.point != "" {
				t.Run(fmt.Sprintf("to the %s, killed at %v, not used since", to, at), func(t *testing.T) { oldIndex(t, to, at, false) })
			}
		}
	}
}

func oldIndex(t *testing.T, to keystore.Kind, at killPoint, used bool) {
	w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
	store, dir, atFolder := pretendKeychain(t)
	if to == keystore.Keychain {
		testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), atFolder(dir).Folder, filepath.Join(filepath.Dir(dir), "key.txt"))))
	}
	// Nobody names the key file: the index or the keychain has to know it.
	here := func() *Broker {
		return New(Options{Dir: dir, OpenKeychain: func() keystore.Store { return store }})
	}
	id := w.kept(here(), "ada").ID
	rotate := func() error {
		return rotation.Rotate(t.Context(), here().Folder, id, rotation.Wish{Beyond: generationIn(w, dir, id)})
	}
	for range 2 { // an older slot has a token that is spent
		testenv.Must(t, rotate())
	}
	before, err := os.ReadFile(filepath.Join(dir, "index.json"))
	testenv.Must(t, err)
	migrateUntil(t, store, dir, to, at)
	if used {
		for range 2 {
			if err := rotate(); err != nil {
				t.Fatalf("used on: %v", err)
			}
		}
	}
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "index.json"), before, 0o600))
	switch err := rotate(); fault.CodeOf(err) {
	case fault.KeystoreMismatch:
		if e, _ := errors.AsType[*fault.Error](err); !slices.Equal(e.Next, []fault.Remedy{{Do: fault.Fix}}) {
			t.Errorf("next is %v", e.Next)
		}
		if _, err := addTo(w, here(), "bob"); fault.CodeOf(err) != fault.KeystoreMismatch {
			t.Errorf("another login is added: %v", err)
		}
		if _, err := account.Remove(t.Context(), here().Folder, id, account.RevokeOwn); fault.CodeOf(err) != fault.KeystoreMismatch {
			t.Errorf("removed: %v", err)
		}
	case fault.KeystoreUnavailable: // all of it is gone from there
	default:
		if err != nil {
			t.Errorf("with the older index: %v", err)
		}
	}
	w.noneLost()
	restored := here()
	if at == (killPoint{}) { // the keychain has nothing left that could name it
		restored = atFolder(dir)
	}
	checks := doctor.Examine(t.Context(), restored.Folder, true)
	if err := rotate(); err != nil {
		t.Errorf("after doctor --fix: %v\n%v", err, checks)
	}
	for _, c := range doctor.Examine(t.Context(), here().Folder, false) {
		if c.Status == doctor.Fail || c.Name == "leftovers" {
			t.Errorf("afterwards: %+v", c)
		}
	}
	w.noneLost()
}

// migrateUntil moves everything to the other keystore, and dies on the way.
func migrateUntil(t *testing.T, store keystore.Store, dir string, to keystore.Kind, at killPoint) {
	t.Helper()
	folder.Reached = func(point string) {
		if point == at.point {
			panic(errKilled)
		}
	}
	defer func() { folder.Reached = func(string) {} }()
	n := 0
	dead := killed(func() {
		b := faultyKeychain(store, dir, func(c keystoretest.Call) (f keystoretest.Fault) {
			if c.Op == at.op {
				if n++; n == at.n {
					panic(errKilled)
				}
			}
			return f
		})
		_, err := folder.MigrateKeystore(t.Context(), b.Folder, to)
		testenv.Check(t, err)
	})
	if survives := at == (killPoint{}) || at.op == "write" && n < at.n; dead == survives {
		t.Fatalf("killed: %v", dead)
	}
}

// generationIn is the account's in the folder dir.
func generationIn(w *world, dir, id string) int {
	w.t.Helper()
	idx, err := New(Options{Dir: dir}).Folder.Read()
	testenv.Must(w.t, err)
	return idx.Account(id).Generation
}
