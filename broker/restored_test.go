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
	"github.com/authferry/authferry/testenv"
)

// A login without a refresh token is its access token: what doctor restores has it.
func TestDoctorRestoresAccessOnly(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	g := w.server.Issue("ada")
	testenv.Must(t, testenv.Err(account.Add(t.Context(), w.broker().Folder, testLogin(w.server.URL, "ada", g.AccessToken, "", time.Hour))))
	testenv.Must(t, index.At(w.dir).Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Accounts, i.Pools = nil, nil
		return nil
	}))
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
		testenv.Must(t, testenv.Err(account.LoginKey(t.Context(), w.broker().Folder, req, keystore.NewSecret(key))))
	}
	keep(account.LoginRequest{Label: "k"}, "old-key")
	path := filepath.Join(w.dir, "index.json")
	backup, err := os.ReadFile(path)
	testenv.Must(t, err)
	keep(account.LoginRequest{Renew: "k"}, "new-key")
	testenv.Must(t, os.WriteFile(path, backup, 0o600))
	w.doctor(false, doctor.Warning, "the index is behind the keystore")
	w.doctor(true, doctor.OK, "the index follows the keystore again")
	w.healthy()
	tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "k"}})
	if err != nil || tok.AccessToken.Reveal() != "new-key" {
		t.Errorf("%v", err)
	}
	// A vault of before: that key is the best there is, and a new one a login.
	w.change(tok.Account.ID, func(a *index.Account) { a.Generation++ })
	w.doctor(true, doctor.Warning, "this may be an old API key")
}
