package broker

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// Where an API takes API keys only, no login's token is handed out for it, whoever is
// current, named or free, and nothing is refreshed on the way.
func TestKeysOnly(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	login := w.add("ada", -time.Minute)
	keyed := func(label string) *index.Account {
		a, err := account.Add(t.Context(), w.broker().Folder, account.NewAccount{Provider: testLogin(w.server.URL, "", "", "", 0).Provider, Label: label, APIKey: keystore.NewSecret("key of " + label)})
		testenv.Must(t, err)
		return a
	}
	key, other := keyed("bob"), keyed("eve")
	b := w.broker()
	testenv.Must(t, testenv.Err(account.Use(t.Context(), b.Folder, login.ID)))
	chosen := func(s pool.Selection) (string, fault.Code) {
		t.Helper()
		s.KeysOnly = true
		idx, err := b.Folder.Read()
		testenv.Must(t, err)
		sel, err := b.rules().Resolve(idx, s)
		testenv.Must(t, err)
		c := pool.Choose(idx, sel, nil, time.Now())
		if c.Err != nil {
			return "", fault.CodeOf(c.Err)
		}
		return c.Account.Label, ""
	}
	check := func(s pool.Selection, want string, code fault.Code) {
		t.Helper()
		if got, c := chosen(s); got != want || c != code {
			t.Errorf("%+v: %q, %q; want %q, %q", s, got, c, want, code)
		}
	}
	check(pool.Selection{}, "bob", "")
	check(pool.Selection{Account: "eve"}, "eve", "")
	check(pool.Selection{Account: "ada"}, "", fault.Fenced)
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada", KeysOnly: true}}); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("a pinned login: %v", err)
	}
	hold := func(a *index.Account) *ReportResult {
		t.Helper()
		r, err := b.Report(t.Context(), pool.Selection{KeysOnly: true}, limited(a, 3600))
		testenv.Must(t, err)
		return r
	}
	if r := hold(key); r.Action != Switch {
		t.Errorf("%+v", r)
	}
	check(pool.Selection{}, "eve", "")
	if r := hold(other); r.Action != Wait || r.RetryAt.IsZero() {
		t.Errorf("%+v", r)
	}
	check(pool.Selection{}, "", fault.AllHeld)
	for _, a := range []*index.Account{key, other} {
		testenv.Must(t, testenv.Err(account.Remove(t.Context(), b.Folder, a.ID, account.RevokeNever)))
	}
	check(pool.Selection{}, "", fault.Fenced)
	if n := w.server.Ledger().TokenRequests; n != 0 {
		t.Errorf("%d refreshes", n)
	}
}

// In a pool of both kinds nobody has to say so: who names no account gets a key for an API
// that takes the keys alone, and for one that nobody knows.
func TestKeysServe(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	b := w.broker()
	p, err := b.Folder.Provider("openai")
	testenv.Must(t, err)
	p.APIOrigins = append(p.APIOrigins, "https://chat.example.com")
	for _, n := range []account.NewAccount{
		{Label: "ada", Provider: p, Imported: true, AccessToken: keystore.NewSecret("login of ada")},
		{Label: "bob", Provider: p, APIKey: keystore.NewSecret("key of bob")},
	} {
		testenv.Must(t, testenv.Err(account.Add(t.Context(), b.Folder, n)))
	}
	for _, test := range []struct {
		req  TokenRequest
		want string
	}{
		{TokenRequest{}, "bob"},
		{TokenRequest{Selection: pool.Selection{Account: "ada"}}, "ada"},
		{TokenRequest{Origin: "https://api.openai.com"}, "bob"},
		{TokenRequest{Origin: "https://chat.example.com"}, "ada"},
	} {
		tok, err := b.Token(t.Context(), test.req)
		if err != nil || tok.Account.Label != test.want {
			t.Errorf("%+v: %+v, %v; want %s", test.req, tok, err, test.want)
		}
	}
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), b.Folder, "bob")))
	if tok, err := b.Token(t.Context(), TokenRequest{}); err != nil || tok.Account.Label != "ada" {
		t.Errorf("without a key: %+v, %v", tok, err)
	}
}
