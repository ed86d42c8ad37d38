package broker

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// cutOffMigration moves the accounts to the file keystore and leaves everything in
// the keychain, as a migration does that is killed right after its commit. It
// returns what is in the keychain.
func cutOffMigration(t *testing.T, store *pretended, b *Broker) map[string]keystore.Secret {
	t.Helper()
	_, idx := openedAt(t, b)
	names := []string{record.ManifestItem(idx.Store)}
	m, err := open(t, b).Store.Manifest(t.Context())
	testenv.Must(t, err)
	for _, key := range m.Clients {
		names = append(names, idx.Store+"/client/"+key)
	}
	for _, id := range m.Accounts {
		names = append(names, record.Items(idx.Store, id)...)
	}
	there := map[string]keystore.Secret{}
	for _, name := range names {
		if v, err := store.Get(t.Context(), name); err == nil {
			there[name] = v
		}
	}
	testenv.Must(t, testenv.Err(folder.MigrateKeystore(t.Context(), b.Folder, keystore.File)))
	for name, v := range there {
		testenv.Must(t, store.Set(t.Context(), name, v))
	}
	return there
}

// regrant writes the stored grant of an account, changed, into a slot.
func regrant(t *testing.T, b *Broker, idx *index.Index, id, slot string, change func(*record.Grant)) {
	t.Helper()
	stored, err := open(t, b).Grants(t.Context(), id)
	testenv.Must(t, err)
	change(stored.Best)
	v, err := stored.Best.Encode()
	if err == nil {
		err = raw(t, b).Set(t.Context(), record.GrantItem(idx.Store, id, slot), v)
	}
	testenv.Must(t, err)
}

// K20: copies that a killed migration left are seen and removed. What is in them
// alone, of an account that was removed since or that an older index never had,
// comes back as an account that nothing uses.
func TestDoctorOfKilledMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	p := testProvider(w.server.URL)
	p.AuthorizationEndpoint = w.server.URL + "/authorize"
	testenv.Must(t, folder.AddProvider(t.Context(), at(dir).Folder, p, keystore.NewSecret("shh")))
	for _, user := range []string{"ada", "bob"} {
		w.kept(at(dir), user)
	}
	left := cutOffMigration(t, store, at(dir))
	testenv.Must(t, testenv.Err(account.Remove(t.Context(), at(dir).Folder, "bob", account.RevokeNever)))
	wants(t, doctor.Examine(t.Context(), at(dir).Folder, false), doctor.Warning, "the keychain keystore has secrets of this folder too")
	checks := doctor.Examine(t.Context(), at(dir).Folder, true)
	wants(t, checks, doctor.OK, "was only in the other keystore; it is account \"sim-1\" here, disabled")
	wants(t, checks, doctor.OK, "removed the secrets of this folder that a migration left in the keychain keystore")
	for name := range left {
		if _, err := store.Get(t.Context(), name); !errors.Is(err, keystore.ErrNotFound) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	for _, c := range doctor.Examine(t.Context(), at(dir).Folder, false) {
		if c.Status != doctor.OK {
			t.Errorf("%+v", c)
		}
	}
	for user, want := range map[string]string{"": "ada", "sim-1": "sim-1"} {
		tok, err := at(dir).Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: user}})
		if fault.CodeOf(err) == fault.NoAccount && user != "" {
			continue // disabled
		}
		if err != nil || tok.Account.Label != want || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("%q: %v", user, err)
		}
	}
	if has, err := open(t, at(dir)).Store.HasClientSecret(t.Context(), p.Endpoint()); err != nil || !has {
		t.Errorf("the client secret: %v, %v", has, err)
	}
}

// What the other keystore has newer is no leftover: the index is from before.
func TestDoctorKeepsWhatIsNewerElsewhere(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	a := w.kept(at(dir), "ada")
	left := cutOffMigration(t, store, at(dir))
	// The file keystore goes on; then an index of before names the keychain again.
	b, idx := openedAt(t, at(dir))
	regrant(t, b, idx, a.ID, "b", func(g *record.Grant) { g.Generation++ })
	testenv.Must(t, b.Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Keystore = string(keystore.Keychain)
		return nil
	}))
	wants(t, doctor.Examine(t.Context(), at(dir).Folder, true), doctor.Fail, "the file keystore has a newer login than the keychain keystore")
	if _, err := folder.MigrateKeystore(t.Context(), at(dir).Folder, keystore.File); fault.CodeOf(err) != fault.KeystoreMismatch || !strings.Contains(err.Error(), "newer") {
		t.Errorf("migrated: %v", err)
	}
	for name := range left {
		if _, err := raw(t, b).Get(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A login that is only in the other keystore is not a leftover because index.json says
// that it is being removed, or that another account had it.
func TestDoctorBelievesNoIndexOfLeftovers(t *testing.T) {
	for name, forge := range map[string]func(i *index.Index, ada, bob string){
		"removing": func(i *index.Index, ada, _ string) { i.Account(ada).Removing = true },
		"spent": func(i *index.Index, ada, bob string) {
			i.Account(bob).Spent = []string{i.Account(ada).Fingerprint}
			i.Drop(ada)
		},
		"fingerprint": func(i *index.Index, ada, bob string) {
			i.Account(bob).Fingerprint = i.Account(ada).Fingerprint
			i.Drop(ada)
		},
	} {
		w := newWorld(t, brokertest.Config{})
		store, dir, at := pretendKeychain(t)
		var ids []string
		for _, user := range []string{"ada", "bob"} {
			a := w.kept(at(dir), user)
			ids = append(ids, a.ID)
		}
		cutOffMigration(t, store, at(dir))
		b := at(dir)
		err := open(t, b).DeleteItems(t.Context(), ids[0])
		if err == nil {
			err = b.Folder.Update(t.Context(), index.Durable, func(i *index.Index) error { forge(i, ids[0], ids[1]); return nil })
		}
		testenv.Must(t, err)
		doctor.Examine(t.Context(), at(dir).Folder, true)
		if stored, err := open(t, b).Grants(t.Context(), ids[0]); err != nil || stored.Best == nil {
			t.Errorf("%s: ada's login is gone: %v", name, err)
		}
	}
}

// Of a login with several generations the newest comes, and no other: an earlier one
// that came alone would be sent again.
func TestDoctorFetchesTheNewestState(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	a := w.kept(at(dir), "ada")
	b, idx := openedAt(t, at(dir))
	regrant(t, b, idx, a.ID, "c", func(g *record.Grant) { g.Generation = 5 })
	cutOffMigration(t, store, at(dir))
	b, idx = openedAt(t, at(dir))
	testenv.Must(t, open(t, b).DeleteItems(t.Context(), a.ID))
	if checks := doctor.Examine(t.Context(), b.Folder, true); slices.ContainsFunc(checks, func(c doctor.Check) bool { return c.Name == "leftovers" && c.Status == doctor.Fail }) {
		t.Errorf("%+v", checks)
	}
	for _, name := range record.Items(idx.Store, a.ID) {
		if _, err := raw(t, b).Get(t.Context(), name); (err == nil) != (name == record.GrantItem(idx.Store, a.ID, "c")) {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.noneLost()
}

// A client secret that no login needs yet is somebody's only copy as well.
func TestDoctorFetchesClientSecrets(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	p := testProvider(w.server.URL)
	p.AuthorizationEndpoint = w.server.URL + "/authorize"
	testenv.Must(t, folder.AddProvider(t.Context(), at(dir).Folder, p, keystore.NewSecret("shh")))
	testenv.Must(t, at(dir).Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Keystore, i.KeyFile = string(keystore.File), filepath.Join(filepath.Dir(dir), "key.txt")
		return nil
	}))
	wants(t, doctor.Examine(t.Context(), at(dir).Folder, true), doctor.OK, "a migration left in the keychain keystore")
	if has, err := open(t, at(dir)).Store.HasClientSecret(t.Context(), p.Endpoint()); err != nil || !has {
		t.Errorf("the client secret: %v, %v", has, err)
	}
}

// Nor does doctor seal anything to a key file that index.json alone names, whatever
// lies in the vault for it.
func TestDoctorSealsToAChosenKeyAlone(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, _ := pretendKeychain(t)
	b := func() *Broker {
		return New(Options{Dir: dir, OpenKeychain: func() keystore.Store { return store }})
	}
	a := w.kept(b(), "ada")
	before := itemsOf(t, dir)
	theirs := filepath.Join(t.TempDir(), "theirs.txt")
	testenv.Must(t, keystore.InitKeyFile(theirs))
	testenv.Must(t, b().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Keystore, i.KeyFile = string(keystore.File), theirs
		return nil
	}))
	forger, idx := openedAt(t, b())
	for _, plant := range []func() error{
		func() error {
			return open(t, forger).ChangeManifest(t.Context(), func(m *record.Manifest) { m.Add(a.ID) })
		},
		func() error {
			v, err := (&record.Grant{Account: a.ID, Generation: 9, Provider: "sim", RefreshToken: keystore.NewSecret("theirs")}).Encode()
			if err != nil {
				return err
			}
			return raw(t, forger).Set(t.Context(), record.GrantItem(idx.Store, a.ID, "a"), v)
		},
	} {
		testenv.Must(t, plant())
		wants(t, doctor.Examine(t.Context(), b().Folder, true), doctor.Fail, "was not chosen for what is in the keychain")
		if now := itemsOf(t, dir); !slices.Equal(now, before) {
			t.Errorf("the keychain has %q, want %q", now, before)
		}
	}
}
