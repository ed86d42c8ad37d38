package broker

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// token keeps a long-lived token of Anthropic's.
func (w *world) token(label, token string) *index.Account {
	w.t.Helper()
	done, err := account.LoginToken(w.t.Context(), w.broker().Folder, account.LoginRequest{Provider: "anthropic", Label: label}, keystore.NewSecret(token))
	testenv.Must(w.t, err)
	return &done.Account
}

// laterUsed ends the holds of an account, as time would.
func laterUsed(w *world, id string) {
	w.t.Helper()
	w.edit(id, func(a *index.Account) {
		for i := range a.Holds {
			a.Holds[i].Until = time.Now().Add(-2 * pool.Straggler).UTC()
		}
	})
}

// What a person brings is told apart by its beginning, and what can't be used here is
// refused before anything is stored.
func TestCredentials(t *testing.T) {
	const (
		asToken = true
		asKey   = false
	)
	for _, row := range []struct {
		provider, secret string
		asToken          bool
		want             fault.Code // empty: it is kept
		kind             string     // then
		header           string
		lifetime         time.Duration
	}{
		{"anthropic", "sk-ant-oat01-x", asToken, "", index.KindOAuth, "authorization: Bearer", 365 * 24 * time.Hour},
		{"anthropic", "sk-ant-oat01-x", asKey, "", index.KindOAuth, "authorization: Bearer", 365 * 24 * time.Hour},
		{"anthropic", "gateway-x", asToken, "", index.KindOAuth, "authorization: Bearer", 0},
		{"anthropic", "gateway-x", asKey, "", index.KindAPIKey, "x-api-key:", 0},
		{"anthropic", "sk-ant-api03-x", asKey, "", index.KindAPIKey, "x-api-key:", 0},
		{"anthropic", "sk-ant-api03-x", asToken, fault.Usage, "", "", 0},
		{"anthropic", "sk-ant-ort01-x", asToken, fault.Usage, "", "", 0},
		{"anthropic", "sk-ant-ort01-x", asKey, fault.Usage, "", "", 0},
		{"anthropic", "sk-ant-admin01-x", asToken, fault.Usage, "", "", 0},
		{"anthropic", "sk-ant-admin01-x", asKey, fault.Usage, "", "", 0},
		{"anthropic", "Bearer sk-ant-ort01-x", asToken, fault.Usage, "", "", 0},
		{"anthropic", "Bearer gateway-x", asKey, fault.Usage, "", "", 0},
		{"anthropic", "CLAUDE_CODE_OAUTH_TOKEN=sk-ant-oat01-x", asToken, fault.Usage, "", "", 0},
		{"anthropic", "x-api-key:sk-ant-admin01-x", asKey, fault.Usage, "", "", 0},
		{"anthropic", "gateway=x:y==", asKey, "", index.KindAPIKey, "x-api-key:", 0},
		{"openai", "sk-admin-x", asKey, fault.Usage, "", "", 0},
		{"openai", "sk-proj-x", asKey, "", index.KindAPIKey, "authorization: Bearer", 0},
		{"google", "1//0x", asToken, fault.Usage, "", "", 0},
		{"github", "ghr_x", asKey, fault.Usage, "", "", 0},
		{"github", "github_pat_x", asToken, "", index.KindOAuth, "authorization: Bearer", 0},
	} {
		t.Run(row.provider+" "+row.secret, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{})
			b := w.broker()
			login := account.LoginKey
			if row.asToken {
				login = account.LoginToken
			}
			done, err := login(t.Context(), b.Folder, account.LoginRequest{Provider: row.provider, Label: "L"}, keystore.NewSecret(row.secret))
			if (err == nil) != (row.want == "") || err != nil && fault.CodeOf(err) != row.want {
				t.Fatalf("%v, want %q", err, row.want)
			}
			if err != nil {
				if strings.Contains(err.Error(), row.secret) {
					t.Errorf("the secret is in the error: %v", err)
				}
				if all, err := List(w.broker().Folder); err != nil || len(all) > 0 {
					t.Errorf("stored all the same: %v, %v", all, err)
				}
				return
			}
			a := done.Account
			if a.Kind != row.kind || done.LongLived != (row.kind == index.KindOAuth) {
				t.Errorf("kind %s, long-lived %v", a.Kind, done.LongLived)
			}
			if end := a.ExpiresAt; end.IsZero() != (row.lifetime == 0) || row.lifetime > 0 && time.Until(end).Round(time.Hour) != row.lifetime {
				t.Errorf("it ends %v, want %v from now", end, row.lifetime)
			}
			tok, err := w.broker().Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
			if err != nil || tok.AccessToken.Reveal() != row.secret {
				t.Fatalf("%v, %v", tok, err)
			}
			if h := tok.Headers[0]; !strings.HasPrefix(h.Name+": "+h.Value.Reveal(), row.header) {
				t.Errorf("header %s", h.Name)
			}
		})
	}
}

// One key or token is one account, whichever way it came.
func TestSameCredentialTwice(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	login := func(asToken bool, secret string, req account.LoginRequest) error {
		req.Provider = "anthropic"
		keep := account.LoginKey
		if asToken {
			keep = account.LoginToken
		}
		_, err := keep(t.Context(), w.broker().Folder, req, keystore.NewSecret(secret))
		return err
	}
	w.token("One", "sk-ant-oat01-one")
	w.token("Two", "sk-ant-oat01-two")
	testenv.Must(t, login(false, "sk-ant-api03-key", account.LoginRequest{Label: "Key"}))
	for _, row := range []struct {
		asToken bool
		secret  string
		req     account.LoginRequest
		want    fault.Code
		names   string
	}{
		{true, "sk-ant-oat01-one", account.LoginRequest{Label: "Other"}, fault.LabelTaken, `"One"`},
		{false, "sk-ant-oat01-one", account.LoginRequest{Label: "Other"}, fault.LabelTaken, `"One"`},
		{true, "sk-ant-oat01-one", account.LoginRequest{Renew: "Two"}, fault.LabelTaken, `"One"`},
		{true, "sk-ant-oat01-one", account.LoginRequest{Renew: "One"}, "", ""},
		{false, "sk-ant-api03-key", account.LoginRequest{Label: "Other"}, fault.LabelTaken, `"Key"`},
		{true, "sk-ant-oat01-new", account.LoginRequest{Label: "one"}, fault.LabelTaken, `"One"`},
		{true, "sk-ant-oat01-new", account.LoginRequest{Renew: "Key"}, fault.Usage, `"Key"`},
		{false, "sk-ant-api03-new", account.LoginRequest{Renew: "One"}, fault.Usage, `"One"`},
		{true, "sk-ant-oat01-new", account.LoginRequest{}, fault.Usage, ""},
	} {
		err := login(row.asToken, row.secret, row.req)
		if (err == nil) != (row.want == "") || err != nil && (fault.CodeOf(err) != row.want || !strings.Contains(err.Error(), row.names)) {
			t.Errorf("%s, %+v: %v, want %q", row.secret, row.req, err, row.want)
		}
	}
	if all, err := List(w.broker().Folder); err != nil || len(all) != 3 {
		t.Errorf("%d accounts, %v", len(all), err)
	}
	ada := w.add("ada", time.Hour)
	_, err := account.LoginToken(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "anthropic", Renew: ada.Label}, keystore.NewSecret("sk-ant-oat01-new"))
	if fault.CodeOf(err) != fault.Usage {
		t.Errorf("another provider's account: %v", err)
	}
}

// A long-lived token that the API refuses is held for a minute, as an API key is, however
// many callers say so. If it is refused again after that, it needs a login.
func TestLongLivedTokenRefused(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	one, two := w.token("One", "sk-ant-oat01-one"), w.token("Two", "sk-ant-oat01-two")
	refused := func(a *index.Account) ReportRequest {
		return ReportRequest{Lease: lease(a.ID, 1), Status: 401, Next: true}
	}
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			res, err := w.broker().Report(t.Context(), pool.Selection{}, refused(one))
			if err != nil || res.Action != Switch || res.Next == nil || res.Next.Account.ID != two.ID {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
	wg.Wait()
	if a := w.account(one.ID); pool.StateOf(&a, time.Now()) != pool.Held || a.Holds[0].Proven || time.Until(a.Holds[0].Until) > time.Minute {
		t.Fatalf("after the first refusal: %+v", a)
	}
	laterUsed(w, one.ID)
	if a := w.account(one.ID); pool.StateOf(&a, time.Now()) != pool.Valid {
		t.Fatal("after the hold it is not tried again")
	}
	// A success in between proves the first refusal wrong.
	w.report(pool.Selection{}, ReportRequest{Lease: lease(one.ID, 1), Status: 200})
	w.report(pool.Selection{}, refused(one))
	if a := w.account(one.ID); pool.StateOf(&a, time.Now()) != pool.Held {
		t.Fatalf("a refusal after a success: %s", pool.StateOf(&a, time.Now()))
	}
	laterUsed(w, one.ID)
	res := w.report(pool.Selection{}, refused(one))
	if res.Action != Switch || res.Next == nil || res.Next.Account.ID != two.ID || res.Account.State != pool.NeedsLogin {
		t.Fatalf("again after the hold: %+v", res)
	}
	pinned := TokenRequest{Selection: pool.Selection{Account: "One"}}
	if tok, err := w.broker().Token(t.Context(), pinned); fault.CodeOf(err) != fault.LoginNeeded {
		t.Errorf("pinned: %v, %v", tok, err)
	} else if next := err.(*fault.Error).Next; !slices.Equal(next, renewOne) {
		t.Errorf("next %v", next)
	}

	// The other one, with nobody to go on to, and without --next.
	if res := w.report(pool.Selection{}, ReportRequest{Lease: lease(two.ID, 1), Status: 401}); res.Action != Wait || res.RetryAt.IsZero() {
		t.Errorf("nothing free: %+v", res)
	}
	laterUsed(w, two.ID)
	if res := w.report(pool.Selection{}, ReportRequest{Lease: lease(two.ID, 1), Status: 401}); res.Action != LogIn || res.Hold != nil || res.Why == nil || !slices.Equal(res.Why.Next, renewOne) {
		t.Errorf("no account any more: %+v", res)
	}
	if _, err := w.broker().Token(t.Context(), TokenRequest{}); fault.CodeOf(err) != fault.LoginNeeded {
		t.Errorf("no account any more: %v", err)
	}

	// A person brings a new one, or knows better.
	done, err := account.LoginToken(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "anthropic", Renew: "One"}, keystore.NewSecret("sk-ant-oat01-three"))
	if err != nil || !done.Renewed {
		t.Fatal(err)
	}
	if tok, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil || tok.AccessToken.Reveal() != "sk-ant-oat01-three" {
		t.Errorf("after the renewal: %v, %v", tok, err)
	}
	if res := w.report(pool.Selection{}, refused(one)); res.Action != Retry || res.Next == nil || res.Next.Lease != lease(one.ID, 2) || res.Account.State != pool.Valid {
		t.Errorf("a late refusal of the old token: %+v", res)
	}
	testenv.Must(t, testenv.Err(account.ClearHolds(t.Context(), w.broker().Folder, "Two", "")))
	if a := w.account(two.ID); pool.StateOf(&a, time.Now()) != pool.Valid {
		t.Errorf("cleared: %s", pool.StateOf(&a, time.Now()))
	}
}

// token --rejected says the same as a report of 401.
func TestLongLivedTokenRejected(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	one := w.token("One", "sk-ant-oat01-one")
	rejected := TokenRequest{Rejected: lease(one.ID, 1)}
	if _, err := w.broker().Token(t.Context(), rejected); fault.CodeOf(err) != fault.AllHeld {
		t.Errorf("alone: %v", err)
	}
	laterUsed(w, one.ID)
	if _, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil {
		t.Errorf("after the hold: %v", err)
	}
	two := w.token("Two", "sk-ant-oat01-two")
	tok, err := w.broker().Token(t.Context(), rejected)
	if err != nil || tok.Account.ID != two.ID {
		t.Errorf("again: %+v, %v", tok, err)
	}
	if a := w.account(one.ID); pool.StateOf(&a, time.Now()) != pool.NeedsLogin {
		t.Errorf("again: %s", pool.StateOf(&a, time.Now()))
	}
	pinned := TokenRequest{Selection: pool.Selection{Account: "Two"}, Rejected: lease(two.ID, 1)}
	if _, err := w.broker().Token(t.Context(), pinned); fault.CodeOf(err) != fault.ProviderRefused {
		t.Errorf("pinned: %v", err)
	}
	laterUsed(w, two.ID)
	if _, err := w.broker().Token(t.Context(), pinned); fault.CodeOf(err) != fault.LoginNeeded {
		t.Errorf("pinned, again: %v", err)
	}
}

// A token's end is known everywhere: a month ahead to people, and to the choice.
func TestLongLivedTokenEnds(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.token("One", "sk-ant-oat01-one")
	for _, row := range []struct {
		left  time.Duration
		soon  bool
		state pool.State
	}{
		{31 * 24 * time.Hour, false, pool.Valid},
		{29 * 24 * time.Hour, true, pool.Valid},
		{time.Second, true, pool.Valid}, // there is nothing to be refreshed
		{-time.Second, false, pool.NeedsLogin},
	} {
		now := a.ExpiresAt.Add(-row.left)
		if soon := !pool.EndsSoon(a, now).IsZero(); soon != row.soon || pool.StateOf(a, now) != row.state {
			t.Errorf("%v before: soon %v, %s", row.left, soon, pool.StateOf(a, now))
		}
	}
	if v := ViewOf(w.broker().Folder, a); !v.NoRefresh || v.ExpiresAt.IsZero() || !v.EndsSoon.IsZero() {
		t.Errorf("%+v", v)
	}
	if _, err := w.broker().Refresh(t.Context(), "One"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("refresh: %v", err)
	}
	checks := doctor.Examine(t.Context(), w.broker().Folder, false)
	for _, c := range checks {
		if c.Status != doctor.OK {
			t.Errorf("doctor: %+v", c)
		}
	}
}

// Another program's file may have a long-lived token as an API key.
func TestTakeOverLongLivedToken(t *testing.T) {
	n := newNewcomer(t, `{"anthropic":{"type":"api","key":"sk-ant-oat01-canary"},"openai":{"type":"api","key":"sk-admin-canary"}}`)
	testenv.Must(t, testenv.Err(n.takeOver(true)))
	all := n.accounts()
	if len(all) != 1 || all[0].Kind != index.KindOAuth || !pool.LongLived(&all[0]) || !all[0].ExpiresAt.IsZero() {
		t.Fatalf("%+v", all)
	}
	tok, err := n.b.Token(t.Context(), TokenRequest{})
	if err != nil || len(tok.Headers) != 2 || tok.Headers[0].Name != "authorization" {
		t.Errorf("%v, %v", tok, err)
	}
	again, err := n.takeOver(false)
	if err != nil || len(again.Accounts) > 0 || again.Removed != 1 {
		t.Errorf("%+v, %v", again, err)
	}
	if left := n.content(); strings.Contains(left, "sk-ant-oat") || !strings.Contains(left, "sk-admin-canary") {
		t.Errorf("the file: %s", left)
	}
}

// A login with a refresh token that still works isn't given up for a token.
func TestTokenInPlaceOfALogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	p, err := w.broker().Folder.Provider("anthropic")
	testenv.Must(t, err)
	for label, refresh := range map[string]string{"Whole": "refresh", "Access": ""} {
		n := account.NewAccount{Provider: p, ClientID: "mine", Label: label, AccessToken: keystore.NewSecret("access-" + label), RefreshToken: keystore.NewSecret(refresh), ExpiresAt: time.Now().Add(time.Hour)}
		testenv.Must(t, testenv.Err(account.Add(t.Context(), w.broker().Folder, n)))
	}
	renew := func(label string) error {
		_, err := account.LoginToken(t.Context(), w.broker().Folder, account.LoginRequest{Provider: "anthropic", Renew: label}, keystore.NewSecret("sk-ant-oat01-"+label))
		return err
	}
	testenv.Check(t, renew("Access"))
	if err := renew("Whole"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("%v", err)
	}
	all, err := w.broker().Folder.ReadOrEmpty()
	testenv.Must(t, err)
	for i := range all.Accounts {
		if a := &all.Accounts[i]; a.Label == "Whole" {
			w.edit(a.ID, func(a *index.Account) { a.Dead = a.Fingerprint })
		}
	}
	testenv.Check(t, renew("Whole"))
	if tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "Whole"}}); err != nil || tok.AccessToken.Reveal() != "sk-ant-oat01-Whole" {
		t.Errorf("%v, %v", tok, err)
	}
}

var renewOne = []fault.Remedy{{Do: fault.Login, Provider: "anthropic", Account: "One", How: fault.Token}}
