package broker

import (
	"os"
	"path/filepath"
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
	"github.com/authferry/authferry/testenv"
)

// Neither index.json nor its backup can be used: the vault says which store this
// is, and what is in it are accounts again.
func TestDoctorWithoutAnyIndex(t *testing.T) {
	for _, text := range []string{"", "{", "missing"} {
		w := newWorld(t, brokertest.Config{ClientSecret: "shh"})
		w.knows(nil)
		p, err := w.broker().Folder.Provider("sim")
		if err == nil {
			err = folder.AddProvider(t.Context(), w.broker().Folder, p, keystore.NewSecret("shh"))
		}
		testenv.Must(t, err)
		w.add("ada", time.Hour)
		testenv.Must(t, testenv.Err(account.LoginKey(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "sim", Label: "k"}, keystore.NewSecret("the-key"))))
		_, idx := w.opened()
		key := idx.KeyFile
		for _, name := range []string{"index.json", "index.json.bak"} {
			path := filepath.Join(w.dir, name)
			testenv.Must(t, os.Remove(path))
			if text == "missing" {
				continue
			}
			testenv.Must(t, os.WriteFile(path, []byte(text), 0o600))
		}
		w.doctor(true, doctor.Fail, "they can be rebuilt with the key file of the vault")
		examine := func(fix bool) []doctor.Check {
			return doctor.Examine(t.Context(), New(Options{Dir: w.dir, KeyFile: key}).Folder, fix)
		}
		wants(t, examine(false), doctor.Fail, "the logins in the vault can be recovered")
		wants(t, examine(true), doctor.OK, "it was rebuilt from the vault")
		w.healthy()
		b, now := w.opened()
		if now.Store != idx.Store || now.KeyFile != key || len(now.Accounts) != 2 {
			t.Errorf("%+v", now)
		}
		kinds := map[string]string{}
		for _, a := range now.Accounts {
			kinds[a.Kind] = a.ID
		}
		w.refreshes(kinds[index.KindOAuth])
		if tok, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: kinds[index.KindAPIKey]}}); err != nil || tok.AccessToken.Reveal() != "the-key" {
			t.Errorf("the API key: %v", err)
		}
		if has, err := open(t, b).Store.HasClientSecret(t.Context(), p.Endpoint()); err != nil || !has {
			t.Errorf("the client secret: %v, %v", has, err)
		}
	}
}

// What two folders left in one vault is not given to either.
func TestDoctorWithoutAnyIndexOfACopy(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.add("ada", time.Hour)
	b, idx := w.opened()
	other := *idx
	other.Store = index.NewStoreID()
	v, err := raw(t, b).Get(t.Context(), record.GrantItem(idx.Store, idx.Accounts[0].ID, "a"))
	if err == nil {
		err = raw(t, b).Set(t.Context(), record.GrantItem(other.Store, idx.Accounts[0].ID, "a"), v)
	}
	testenv.Must(t, err)
	for _, name := range []string{"index.json", "index.json.bak"} {
		testenv.Must(t, os.WriteFile(filepath.Join(w.dir, name), nil, 0o600))
	}
	b = New(Options{Dir: w.dir, KeyFile: idx.KeyFile})
	wants(t, doctor.Examine(t.Context(), b.Folder, true), doctor.Fail, "the vault has the logins of 2 folders")
	if _, err := b.Folder.Read(); fault.CodeOf(err) != fault.IndexCorrupt {
		t.Errorf("%v", err)
	}
}

// A manifest that was lost is written anew, client secrets included.
func TestDoctorOfLostManifest(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	p := testProvider(w.server.URL)
	p.AuthorizationEndpoint = w.server.URL + "/authorize"
	testenv.Must(t, folder.AddProvider(t.Context(), at(dir).Folder, p, keystore.NewSecret("shh")))
	a := w.kept(at(dir), "ada")
	for _, text := range []string{"", "{"} {
		b, idx := openedAt(t, at(dir))
		var err error
		if text == "" {
			err = raw(t, b).Delete(t.Context(), record.ManifestItem(idx.Store))
		} else {
			err = raw(t, b).Set(t.Context(), record.ManifestItem(idx.Store), keystore.NewSecret(text))
		}
		testenv.Must(t, err)
		wants(t, doctor.Examine(t.Context(), at(dir).Folder, false), doctor.Warning, "list of this folder's secrets is missing or incomplete")
		wants(t, doctor.Examine(t.Context(), at(dir).Folder, true), doctor.OK, "list of this folder's secrets is complete again")
		m, err := open(t, b).Store.Manifest(t.Context())
		if err != nil || len(m.Accounts) != 1 || m.Accounts[0] != a.ID || len(m.Clients) != 1 || m.Clients[0] != record.ClientKey(p.Endpoint()) {
			t.Errorf("%+v, %v", m, err)
		}
	}
	for _, c := range doctor.Examine(t.Context(), at(dir).Folder, false) {
		if c.Status != doctor.OK {
			t.Errorf("%+v", c)
		}
	}
}

// An index from before a migration names the keystore that this emptied.
func TestDoctorOfIndexFromBeforeMigration(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	_, dir, at := pretendKeychain(t)
	w.kept(at(dir), "ada")
	path := filepath.Join(dir, "index.json")
	for _, to := range []keystore.Kind{keystore.File, keystore.Keychain} {
		before, err := os.ReadFile(path)
		if err == nil {
			_, err = folder.MigrateKeystore(t.Context(), at(dir).Folder, to)
		}
		if err == nil {
			err = os.WriteFile(path, before, 0o600)
		}
		testenv.Must(t, err)
		wants(t, doctor.Examine(t.Context(), at(dir).Folder, false), doctor.Fail, "the logins are in the "+string(to)+" keystore")
		wants(t, doctor.Examine(t.Context(), at(dir).Folder, true), doctor.OK, "before the logins were moved to the "+string(to)+" keystore")
		if tok, err := at(dir).Token(t.Context(), TokenRequest{}); err != nil || !w.good(tok.AccessToken.Reveal()) {
			t.Errorf("%s: %v", to, err)
		}
		for _, c := range doctor.Examine(t.Context(), at(dir).Folder, false) {
			if c.Status != doctor.OK {
				t.Errorf("%s: %+v", to, c)
			}
		}
	}
}

// What a migration left in the other keystore is not taken for the logins because the
// right one has nothing at this moment.
func TestDoctorDoesNotTurnBackToLeftovers(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	store, dir, at := pretendKeychain(t)
	a := w.kept(at(dir), "ada")
	cutOffMigration(t, store, at(dir))
	if err := at(dir).Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Account(a.ID).Generation = 40 // it was refreshed since
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	removeAll(t, filepath.Join(dir, "vault")) // or not mounted
	wants(t, doctor.Examine(t.Context(), at(dir).Folder, true), doctor.Fail, "only has what a migration left there")
	if idx, err := at(dir).Folder.Read(); err != nil || idx.Keystore != string(keystore.File) {
		t.Errorf("%+v, %v", idx, err)
	}
}

// openedAt is a broker whose keystore can be opened, and the index as it is.
func openedAt(t *testing.T, b *Broker) (*Broker, *index.Index) {
	t.Helper()
	return b, open(t, b).Index
}
