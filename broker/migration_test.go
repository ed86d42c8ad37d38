package broker

import (
	"context"
	"errors"
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
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/testenv"
)

// itemsOf are the items of what passes for the keychain of the folder dir.
func itemsOf(t *testing.T, dir string) []string {
	t.Helper()
	home := filepath.Dir(dir)
	names, err := keystore.FileItems(filepath.Join(home, "items"), filepath.Join(home, "key.txt"))
	testenv.Must(t, err)
	return names
}

// A client secret that was on its way into a keystore while that was emptied does
// not bring it back: the logins are in the other one.
func TestClientSecretDuringMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	w.kept(at(dir), "bob")
	b := at(dir)
	o, err := b.Folder.Prepare(t.Context(), func(*index.Index) error { return nil })
	testenv.Must(t, err)
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File)))
	if err := o.SetClient(t.Context(), testProvider(w.server.URL).Endpoint(), record.ClientSecret{Secret: "s"}); fault.CodeOf(err) != fault.LockTimeout {
		t.Errorf("%v", err)
	}
	if left := itemsOf(t, dir); left != nil {
		t.Errorf("the old keystore has %q", left)
	}
	if tok, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
		t.Errorf("afterwards: %v", err)
	}
}

// Nor does an import that found a login which a crash had left there.
func TestAdoptionDuringMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	w.kept(at(dir), "bob")
	login := testLogin(w.server.URL, "ada", "at", "rt", time.Hour)
	access := login.AccessToken
	login.AccessToken = keystore.Secret{}
	a, err := account.Add(t.Context(), at(dir).Folder, login)
	testenv.Must(t, err)
	testenv.Must(t, at(dir).Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { i.Drop(a.ID); return nil }))
	store.onSet = func(name string) {
		if strings.Contains(name, "/access:") {
			store.onSet = nil
			testenv.Check(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File)))
		}
	}
	login.AccessToken = access
	if _, err := account.Adopt(t.Context(), at(dir).Folder, login); err != nil {
		t.Errorf("%v", err)
	}
	if tok, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
		t.Errorf("afterwards: %v", err)
	}
}

// faultyKeychain is a broker over what passes for the keychain, with faults.
func faultyKeychain(store keystore.Store, dir string, fault func(keystoretest.Call) keystoretest.Fault) *Broker {
	f := keystoretest.NewFaulty(store)
	f.Inject(fault)
	return New(Options{Dir: dir, KeyFile: filepath.Join(filepath.Dir(dir), "key.txt"), OpenKeychain: func() keystore.Store { return f }})
}

// An interrupt takes back what was copied, and one that comes after the commit is
// too late.
func TestMigrationInterrupted(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	for _, user := range []string{"bob", "eve"} {
		w.kept(at(dir), user)
	}
	interruptAt := func(op string, n int, to keystore.Kind) error {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		b := faultyKeychain(store, dir, func(c keystoretest.Call) keystoretest.Fault {
			if c.Op == op {
				if n--; n == 0 {
					cancel()
				}
			}
			return keystoretest.Fault{}
		})
		_, err := folder.MigrateKeystore(ctx, b.Folder, to)
		return err
	}
	if err := interruptAt("delete", 1, keystore.File); err != nil {
		t.Errorf("while the old copies went: %v", err)
	}
	if left := itemsOf(t, dir); left != nil {
		t.Errorf("the old keystore has %q", left)
	}
	err := interruptAt("write", 3, keystore.Keychain)
	if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.Cancelled || !strings.HasPrefix(e.Message, "interrupted, so nothing was moved") || !slices.Equal(e.Next, []fault.Remedy{{Do: fault.MigrateKeystore, Value: "keychain"}}) {
		t.Errorf("%+v", err)
	}
	if left := itemsOf(t, dir); left != nil {
		t.Errorf("the new keystore has %q", left)
	}
	for _, label := range []string{"bob", "eve"} {
		if tok, err := at(dir).Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: label}}); err != nil || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("%s afterwards: %v", label, err)
		}
	}
}

// What can't be deleted stays listed where it is, on the way there and on the way
// back.
func TestMigrationListsWhatIsLeft(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	w.kept(at(dir), "bob")
	stuck := faultyKeychain(store, dir, func(c keystoretest.Call) (f keystoretest.Fault) {
		if c.Op == "delete" && strings.Contains(c.Name, "/grant:") {
			f.Cause = keystore.ErrDenied
		}
		return f
	})
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), stuck.Folder, keystore.File)))
	idx, err := at(dir).Folder.Read()
	testenv.Must(t, err)
	left := itemsOf(t, dir)
	if len(left) != 2 || !slices.Contains(left, record.ManifestItem(idx.Store)) {
		t.Errorf("the old keystore has %q", left)
	}
	// An account that is gone by now is still listed when the secrets come back.
	testenv.Must(t, testenv.Err(account.Remove(t.Context(), at(dir).Folder, "bob", account.RevokeNever)))
	w.kept(at(dir), "eve")
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.Keychain)))
	b := at(dir)
	if m, err := open(t, b).Store.Manifest(t.Context()); err != nil || len(m.Accounts) != 2 {
		t.Errorf("%+v, %v", m, err)
	}
}

// Nothing is deleted from the old keystore while the index's backup still names it.
func TestBackupAfterMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	w.kept(at(dir), "bob")
	b := faultyKeychain(store, dir, func(c keystoretest.Call) keystoretest.Fault {
		if last, err := index.At(dir).LastGood(); c.Op == "delete" && (err != nil || last.Keystore != string(keystore.File)) {
			t.Errorf("%+v, %v when %s goes", last, err, c.Name)
		}
		return keystoretest.Fault{}
	})
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), b.Folder, keystore.File)))
	testenv.Must(t, os.WriteFile(filepath.Join(dir, "index.json"), []byte("{"), 0o600))
	doctor.Examine(t.Context(), at(dir).Folder, true)
	if tok, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
		t.Errorf("restored from the backup: %v", err)
	}
}

// Where the manifest was lost, the client secrets go along all the same.
func TestMigrationWithoutManifest(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	p := clientOf(w.server.URL, "one")
	testenv.Must(t, folder.AddProvider(t.Context(), at(dir).Folder, p, keystore.NewSecret("s")))
	addAt(w, at(dir), p)
	idx, err := at(dir).Folder.Read()
	testenv.Must(t, err)
	testenv.Must(t, store.Delete(t.Context(), record.ManifestItem(idx.Store)))
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File)))
	if !hasSecret(w, at(dir), p) {
		t.Error("the client secret is lost")
	}
	if left := itemsOf(t, dir); left != nil {
		t.Errorf("the old keystore has %q", left)
	}
}

// The membership in a shared pool goes along, whether the manifest lists it or only the
// index, and what an interrupted migration left of it is moved, then removed, by doctor.
func TestMembershipMoves(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	w.kept(at(dir), "bob")
	const shared = "pool_aaaaaaaaaaaaaaaa"
	open := func() *folder.Opened {
		t.Helper()
		o, err := at(dir).Folder.Prepare(t.Context(), func(*index.Index) error { return nil })
		testenv.Must(t, err)
		return o
	}
	testenv.Must(t, open().SetShare(t.Context(), shared, keystore.NewSecret("membership")))
	check := func(when string, items []string) {
		t.Helper()
		if m, err := open().Store.Share(t.Context(), shared); err != nil || m.Reveal() != "membership" {
			t.Errorf("%s the membership is lost: %v", when, err)
		}
		if items != nil {
			t.Errorf("%s the old keystore has %q", when, items)
		}
	}
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File)))
	check("after a move", itemsOf(t, dir))

	// The other way, without a manifest.
	o := open()
	testenv.Must(t, o.Store.Delete(t.Context(), record.ManifestItem(o.Index.Store)))
	testenv.Must(t, o.Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Shares = []index.SharedPool{{ID: shared, Pool: "acme", Machine: "laptop", Role: index.RoleHolder}}
		return nil
	}))
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.Keychain)))
	check("after a move without a manifest", nil)

	// A vault that has it, where this keystore lost it.
	file, err := open().Over(keystore.File, open().Folder.KeyFileOf(open().Index))
	testenv.Must(t, err)
	testenv.Must(t, file.Store.SetShare(t.Context(), shared, keystore.NewSecret("membership")))
	testenv.Must(t, file.Store.SetManifest(t.Context(), record.Manifest{V: 1, Store: o.Index.Store, Shares: []string{shared}}))
	testenv.Must(t, store.Delete(t.Context(), record.ShareItem(o.Index.Store, shared)))
	doctor.Examine(t.Context(), at(dir).Folder, true)
	check("after doctor", nil)
	if m, err := file.Store.Manifest(t.Context()); err != nil || !m.Empty() {
		t.Errorf("doctor left %+v, %v", m, err)
	}
	testenv.Must(t, open().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { i.Shares = nil; return nil }))
	testenv.Must(t, open().DropShare(t.Context(), shared))
	if items := itemsOf(t, dir); slices.ContainsFunc(items, func(name string) bool { return strings.Contains(name, "/share/") }) {
		t.Errorf("left: %q", items)
	}
	if m, err := open().Store.Manifest(t.Context()); err != nil || len(m.Shares) > 0 {
		t.Errorf("%+v, %v", m, err)
	}
}

// An API key is found by whoever read the index just before it moved.
func TestAPIKeyDuringMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	a, err := account.Add(t.Context(), at(dir).Folder, account.NewAccount{Provider: testProvider(w.server.URL), Label: "k", APIKey: keystore.NewSecret("the key")})
	testenv.Must(t, err)
	b := at(dir)
	idx, err := b.Folder.Read()
	testenv.Must(t, err)
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File)))
	if tok, err := b.serve(t.Context(), idx, idx.Account(a.ID), serving{}); err != nil || tok.AccessToken.Reveal() != "the key" {
		t.Errorf("%v", err)
	}
}

// What is in the keychain is sealed to a key file that a person chose, never to one
// that index.json alone names.
func TestMigrateSealsToAChosenKeyAlone(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	p, dir, _ := pretendKeychain(t)
	b := func() *Broker {
		return New(Options{Dir: dir, OpenKeychain: func() keystore.Store { return p }})
	}
	w.kept(b(), "ada")
	keys := t.TempDir()
	mine, theirs := filepath.Join(keys, "mine.txt"), filepath.Join(keys, "theirs.txt")
	testenv.Must(t, keystore.InitKeyFile(theirs))
	name := func(path string) {
		testenv.Must(t, index.At(dir).Update(t.Context(), index.Durable, func(i *index.Index) error { i.KeyFile = path; return nil }))
	}
	refused := func() {
		t.Helper()
		if _, err := folder.MigrateKeystore(t.Context(), b().Folder, keystore.File); fault.CodeOf(err) != fault.KeystoreMismatch {
			t.Errorf("%v, want %s", err, fault.KeystoreMismatch)
		}
		if _, err := os.Stat(filepath.Join(dir, "vault")); err == nil {
			if items, _ := os.ReadDir(filepath.Join(dir, "vault")); len(items) > 0 {
				t.Errorf("%d items were sealed", len(items))
			}
		}
	}
	name(theirs)
	refused()
	testenv.Must(t, testenv.Err(folder.InitFileKeystore(t.Context(), b().Folder, mine)))
	name(theirs)
	refused()
	name(mine)
	for _, to := range []keystore.Kind{keystore.File, keystore.Keychain, keystore.File} {
		if _, err := folder.MigrateKeystore(t.Context(), b().Folder, to); err != nil {
			t.Fatalf("to %s: %v", to, err)
		}
	}
	testenv.Check(t, testenv.Err(b().Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})))
}
