package broker

import (
	"reflect"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// Where the proxy sends an account's token is pinned at its login, and comes along
// through a rotation.
func TestAPIIsPinned(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	want := oauth.API{Base: w.server.URL + "/v2", Paths: []string{"POST /chat"}}
	g := w.server.Issue("ada")
	login := testLogin(w.server.URL, "ada", g.AccessToken, g.RefreshToken, time.Hour)
	login.Provider.APIBase, login.Provider.APIPaths = want.Base, want.Paths
	ada, err := account.Add(t.Context(), w.broker().Folder, login)
	testenv.Must(t, err)
	key := account.NewAccount{Provider: login.Provider, Label: "key", APIKey: keystore.NewSecret("a-key")}
	testenv.Must(t, testenv.Err(account.Add(t.Context(), w.broker().Folder, key)))
	check := func(label string) {
		t.Helper()
		tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: label}})
		testenv.Must(t, err)
		if !reflect.DeepEqual(tok.API, want) {
			t.Errorf("%s: %+v, want %+v", label, tok.API, want)
		}
	}
	check("ada")
	check("key")
	testenv.Must(t, testenv.Err(w.broker().Refresh(t.Context(), ada.ID)))
	check("ada")
}
