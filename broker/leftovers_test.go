package broker

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// cutOffMigration moves the accounts to the file keystore and leaves everything in
// the keychain, as a migration does that is killed right after its commit. It
// returns what is in the keychain.
func cutOffMigration(t *testing.T, store *pretended, b *Broker) map[string]keystore.Secret {
	t.Helper()
	_, idx := openedAt(t, b)
	names := []string{manifestItem(idx)}
	m, err := b.readManifest(t.Context(), idx)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range m.Clients {
		names = append(names, idx.Store+"/client/"+key)
	}
	for _, id := range m.Accounts {
		names = append(names, items(idx, id)...)
	}
	there := map[string]keystore.Secret{}
	for _, name := range names {
		if v, err := store.Get(t.Context(), name); err == nil {
			there[name] = v
		}
	}
	if _, err := b.MigrateKeystore(t.Context(), keystore.File); err != nil {
		t.Fatal(err)
	}
	for name, v := range there {
		if err := store.Set(t.Context(), name, v); err != nil {
			t.Fatal(err)
		}
	}
	return there
}

// K20: copies that a killed migration left are seen and removed. What is in them
// alone, of an account that was removed since or that an older index never had,
// comes back as an account that nothing uses.
func TestDoctorOfKilledMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	p := testProvider(w.server.URL)
	p.AuthorizationEndpoint = w.server.URL + "/authorize"
	if err := at(dir).AddProvider(t.Context(), p, keystore.NewSecret("shh")); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ada", "bob"} {
		if _, err := w.addTo(at(dir), user, time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	left := cutOffMigration(t, store, at(dir))
	if _, err := at(dir).Remove(t.Context(), "bob", RevokeNever); err != nil {
		t.Fatal(err)
	}
	wants(t, at(dir).Doctor(t.Context(), false), CheckWarning, "the keychain keystore has secrets of this folder too")
	checks := at(dir).Doctor(t.Context(), true)
	wants(t, checks, CheckOK, "was in the other keystore alone; it is an account here, as \"sim-1\", and disabled")
	wants(t, checks, CheckOK, "removed the secrets of this folder that a migration left in the keychain keystore")
	for name := range left {
		if _, err := store.Get(t.Context(), name); !unwritten(err) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
	for _, c := range at(dir).Doctor(t.Context(), false) {
		if c.Status != CheckOK {
			t.Errorf("%+v", c)
		}
	}
	for user, want := range map[string]string{"": "ada", "sim-1": "sim-1"} {
		tok, err := at(dir).Token(t.Context(), TokenRequest{Selection: Selection{Account: user}})
		if CodeOf(err) == NoAccount && user != "" {
			continue // disabled
		}
		if err != nil || tok.Account.Label != want || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("%q: %v", user, err)
		}
	}
	b, idx := openedAt(t, at(dir))
	if has, err := b.hasClientSecret(t.Context(), idx, p.Endpoint()); err != nil || !has {
		t.Errorf("the client secret: %v, %v", has, err)
	}
}

// What the other keystore has newer is no leftover: the index is from before.
func TestDoctorKeepsWhatIsNewerElsewhere(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	a, err := w.addTo(at(dir), "ada", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	left := cutOffMigration(t, store, at(dir))
	// The file keystore goes on; then an index of before names the keychain again.
	b, idx := openedAt(t, at(dir))
	stored, err := b.readGrants(t.Context(), idx, a.ID)
	if err != nil {
		t.Fatal(err)
	}
	stored.best.Generation++
	v, err := stored.best.encode()
	if err == nil {
		err = b.set(t.Context(), grantItem(idx, a.ID, "b"), v)
	}
	if err == nil {
		err = b.update(t.Context(), index.Durable, func(i *index.Index) error {
			i.Keystore = string(keystore.Keychain)
			return nil
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	wants(t, at(dir).Doctor(t.Context(), true), CheckFail, "the file keystore has a newer login than the keychain keystore")
	for name := range left {
		if _, err := b.get(t.Context(), name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
