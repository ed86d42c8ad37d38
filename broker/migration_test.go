package broker

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// itemsOf are the items of what passes for the keychain of the folder dir.
func itemsOf(t *testing.T, dir string) []string {
	t.Helper()
	home := filepath.Dir(dir)
	names, err := keystore.FileItems(filepath.Join(home, "items"), filepath.Join(home, "key.txt"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// A client secret that was on its way into a keystore while that was emptied does
// not bring it back: the logins are in the other one.
func TestClientSecretDuringMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	if _, err := w.addTo(at(dir), "bob", time.Hour); err != nil {
		t.Fatal(err)
	}
	b := at(dir)
	idx, err := b.prepare(t.Context(), func(*index.Index) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := at(dir).MigrateKeystore(t.Context(), keystore.File); err != nil {
		t.Fatal(err)
	}
	if err := b.setClientSecret(t.Context(), idx, testProvider(w.server.URL).Endpoint(), keystore.NewSecret("s")); CodeOf(err) != LockTimeout {
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
	if _, err := w.addTo(at(dir), "bob", time.Hour); err != nil {
		t.Fatal(err)
	}
	login := testLogin(w.server.URL, "ada", "at", "rt", time.Hour)
	access := login.AccessToken
	login.AccessToken = keystore.Secret{}
	a, err := at(dir).Add(t.Context(), login)
	if err != nil {
		t.Fatal(err)
	}
	if err := at(dir).update(t.Context(), index.Durable, func(i *index.Index) error { drop(i, a.ID); return nil }); err != nil {
		t.Fatal(err)
	}
	store.onSet = func(name string) {
		if strings.Contains(name, "/access:") {
			store.onSet = nil
			if _, err := at(dir).MigrateKeystore(t.Context(), keystore.File); err != nil {
				t.Error(err)
			}
		}
	}
	login.AccessToken = access
	if _, err := (&takeover{Broker: at(dir)}).adopt(t.Context(), login); CodeOf(err) != LockTimeout {
		t.Errorf("%v", err)
	}
	if tok, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
		t.Errorf("afterwards: %v", err)
	}
}
