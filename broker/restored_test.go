package broker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

// A login without a refresh token is its access token: what doctor restores has it.
func TestDoctorRestoresAccessOnly(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	g := w.server.Issue("ada")
	if _, err := account.Add(t.Context(), w.broker().Folder, testLogin(w.server.URL, "ada", g.AccessToken, "", time.Hour)); err != nil {
		t.Fatal(err)
	}
	if err := index.At(w.dir).Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Accounts, i.Pools = nil, nil
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	w.doctor(true, doctor.OK, "is an account again")
	if got := w.ask(); got.err != nil || got.token != g.AccessToken {
		t.Errorf("%+v", got)
	}
	w.healthy()
}

// An index from a backup does not bring an old API key back.
func TestDoctorOfRestoredAPIKey(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	w.knows(nil)
	keep := func(req account.LoginRequest, key string) {
		req.Provider = "sim"
		if _, err := account.LoginKey(t.Context(), w.broker().Folder, req, keystore.NewSecret(key)); err != nil {
			t.Fatal(err)
		}
	}
	keep(account.LoginRequest{Label: "k"}, "old-key")
	path := filepath.Join(w.dir, "index.json")
	backup, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	keep(account.LoginRequest{Renew: "k"}, "new-key")
	if err := os.WriteFile(path, backup, 0o600); err != nil {
		t.Fatal(err)
	}
	w.doctor(false, doctor.Warning, "the index is behind the keystore")
	w.doctor(true, doctor.OK, "the index follows the keystore again")
	w.healthy()
	tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "k"}})
	if err != nil || tok.AccessToken.Reveal() != "new-key" {
		t.Errorf("%v", err)
	}
	// A vault of before: that key is the best there is, and a new one a login.
	w.change(tok.Account.ID, func(a *index.Account) { a.Generation++ })
	w.doctor(true, doctor.Warning, "this may be an API key from before")
}
