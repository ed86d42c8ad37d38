package broker

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// What an answer leaves out is not empty: what takes its place, for every place where
// a new answer comes to an old record.
//
//	left out            login, renewal                        rotation
//	refresh token       kept, if proven to be the same        kept
//	                    login's; given up if known to be dead
//	its end             kept with it; that of another token   kept: the login goes on
//	                    is not taken over
//	its revocation      kept with it                          kept
//	scopes              those that were asked for; in an      kept
//	                    import those that are stored
//	identity            --renew: only where none was known    kept
//	its name            kept                                  kept
//	access token's end  unknown; that of the same token kept  unknown
//	headers, origins    of the provider's data                kept
//
// What is there replaces what was.
func TestMissingIsNotEmpty(t *testing.T) {
	ends := time.Now().Add(24 * time.Hour).UTC().Truncate(time.Second)
	who := oauth.Identity{Issuer: "https://id.example.com", Subject: "1", Organization: "o", Name: "Ada"}
	first := func() account.NewAccount {
		n := testLogin("https://id.example.com", "Ada", "at-1", "rt-1", time.Hour)
		n.Identity, n.Scopes, n.RefreshExpiresAt, n.Shared = who, []string{"a"}, ends, "/elsewhere/auth.json"
		return n
	}
	type want struct {
		refresh string
		kept    bool // with its revocation endpoint
		ends    bool // the end of the old one is there
		refused bool
	}
	for name, row := range map[string]struct {
		before func(*account.NewAccount)
		entry  func(*index.Account)
		after  func(*account.NewAccount)
		want   want
	}{
		"nothing but an access token": {nil, nil, nil, want{refresh: "rt-1", kept: true, ends: true}},
		"a new refresh token":         {nil, nil, func(n *account.NewAccount) { n.RefreshToken = keystore.NewSecret("rt-2") }, want{refresh: "rt-2"}},
		"the same refresh token":      {nil, nil, func(n *account.NewAccount) { n.RefreshToken = keystore.NewSecret("rt-1") }, want{refresh: "rt-1", ends: true}},
		"no name":                     {nil, nil, func(n *account.NewAccount) { n.Identity.Name = "" }, want{refresh: "rt-1", kept: true, ends: true}},
		"another client":              {nil, nil, func(n *account.NewAccount) { n.ClientID = "another" }, want{}},
		"another token endpoint":      {nil, nil, func(n *account.NewAccount) { n.Provider.TokenEndpoint += "/2" }, want{}},
		"another organization":        {nil, nil, func(n *account.NewAccount) { n.Identity.Organization = "p" }, want{refused: true}},
		"no organization":             {nil, nil, func(n *account.NewAccount) { n.Identity.Organization = "" }, want{refused: true}},
		"another issuer":              {nil, nil, func(n *account.NewAccount) { n.Identity.Issuer += "/" }, want{refused: true}},
		"nobody known now":            {nil, nil, func(n *account.NewAccount) { n.Identity = oauth.Identity{} }, want{refused: true}},
		"nobody known before":         {func(n *account.NewAccount) { n.Identity = oauth.Identity{} }, nil, nil, want{}},
		"nobody known at all": {func(n *account.NewAccount) { n.Identity = oauth.Identity{} }, nil,
			func(n *account.NewAccount) { n.Identity = oauth.Identity{} }, want{}},
		"nobody known, by its name the same": {func(n *account.NewAccount) { n.Identity = oauth.Identity{Name: "Ada"} }, nil,
			func(n *account.NewAccount) { n.Identity = oauth.Identity{Name: "Ada"} }, want{}},
		"dead":                   {nil, func(a *index.Account) { a.Dead = a.Fingerprint }, nil, want{}},
		"an earlier one is dead": {nil, func(a *index.Account) { a.Dead = "0123456789abcdef" }, nil, want{refresh: "rt-1", kept: true, ends: true}},
		"none before":            {func(n *account.NewAccount) { n.RefreshToken = keystore.Secret{} }, nil, nil, want{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{})
			n := first()
			if row.before != nil {
				row.before(&n)
			}
			b := w.broker()
			a, err := account.Add(t.Context(), b.Folder, n)
			testenv.Must(t, err)
			sent := index.Intent{Slot: "c", Generation: 2, Fingerprint: a.Fingerprint, Attempt: 1, PID: os.Getpid(), StartedAt: time.Now().UTC()}
			w.change(a.ID, func(a *index.Account) {
				a.Intents = []index.Intent{sent}
				if row.entry != nil {
					row.entry(a)
				}
			})
			next := first()
			next.AccessToken, next.RefreshToken = keystore.NewSecret("at-2"), keystore.Secret{}
			next.ExpiresAt, next.RefreshExpiresAt, next.Lock = time.Time{}, time.Time{}, &folder.Rotation{}
			next.Scopes = nil
			next.Provider.RevocationEndpoint = "https://evil.example.com/revoke"
			next.Provider.APIOrigins = []string{"https://api.example.com"}
			if row.after != nil {
				row.after(&next)
			}
			_, err = account.Replace(t.Context(), b.Folder, a.ID, next)
			if row.want.refused != (fault.CodeOf(err) == fault.LoginFailed) || !row.want.refused && err != nil {
				t.Fatalf("%v", err)
			}
			g, now := w.stored(a.ID), w.account(a.ID)
			if row.want.refused {
				if g.RefreshToken.Reveal() != "rt-1" || now.Generation != 1 {
					t.Errorf("something was changed: %+v", now)
				}
				return
			}
			if got := g.RefreshToken.Reveal(); got != row.want.refresh || now.Fingerprint != record.Fingerprint(g.RefreshToken) {
				t.Errorf("the refresh token is %q, want %q", got, row.want.refresh)
			}
			if got := g.RefreshExpiresAt.Equal(ends); got != row.want.ends || now.RefreshExpiresAt.IsZero() == got {
				t.Errorf("it ends at %v", g.RefreshExpiresAt)
			}
			if got := g.Endpoint.RevocationEndpoint == n.Provider.RevocationEndpoint; got != row.want.kept {
				t.Errorf("it would be revoked at %s", g.Endpoint.RevocationEndpoint)
			}
			if same := now.Fingerprint != "" && now.Fingerprint == a.Fingerprint; same != (len(now.Intents) == 1) || same != (now.Shared != "") {
				t.Errorf("what is known of the refresh token: %+v", now)
			}
			if spent := slices.Contains(g.Spent, a.Fingerprint); spent != (a.Fingerprint != "" && now.Fingerprint != a.Fingerprint) {
				t.Errorf("spent are %v", g.Spent)
			}
			if now.Dead != "" && now.Dead == now.Fingerprint || now.Generation != 3 || now.Identity == "" && n.Identity.Name != "" {
				t.Errorf("%+v", now)
			}
			if !slices.Equal(g.Scopes, []string{"a"}) || !slices.Equal(g.Origins, next.Provider.APIOrigins) {
				t.Errorf("scopes %v, origins %v", g.Scopes, g.Origins)
			}
		})
	}
}

// The same person logs in again, and the server gives a refresh token only at the
// first consent.
func TestLoginWithoutSecondRefreshToken(t *testing.T) {
	w := newWorld(t, brokertest.Config{TokenFields: func(string) map[string]any {
		return map[string]any{"refresh_token_expires_in": 86400, "scope": "openid email"}
	}})
	w.knows(nil)
	a := w.mustLogin(ada, account.LoginRequest{}).Account
	w.set(func(c *brokertest.Config) {
		c.TokenFields = func(string) map[string]any { return map[string]any{"refresh_token": nil, "scope": nil} }
	})
	var warned []string
	b := w.broker()
	b.Folder.Warn = func(m string, _ ...fault.Remedy) { warned = append(warned, m) }
	done, err := account.Login(t.Context(), b.Folder, account.LoginRequest{Provider: "sim"}, w.browser().person())
	if err != nil || !done.Renewed || done.Account.Fingerprint != a.Fingerprint || !done.Account.RefreshExpiresAt.Equal(a.RefreshExpiresAt) || len(warned) != 0 {
		t.Fatalf("%+v, %v, %q", done, err, warned)
	}
	if g := w.stored(a.ID); !slices.Equal(g.Scopes, []string{"openid", "profile", "email", "offline_access"}) {
		t.Errorf("the scopes are those that were asked for: %v", g.Scopes)
	}
	w.set(func(c *brokertest.Config) {
		c.TokenFields = func(string) map[string]any { return map[string]any{"scope": "openid"} }
	})
	w.refreshes(a.ID)
	if g, now := w.stored(a.ID), w.account(a.ID); !slices.Equal(g.Scopes, []string{"openid"}) || !now.RefreshExpiresAt.Equal(a.RefreshExpiresAt) || now.Subject != a.Subject {
		t.Errorf("after a rotation: %v, %+v", g.Scopes, now)
	}
	if w.server.Reuse() != 0 {
		t.Error("a refresh token was used twice")
	}

	// Nobody says whose login this is: it is nobody's that is here, not even of the same name.
	w.set(func(c *brokertest.Config) {
		c.TokenFields = func(string) map[string]any { return map[string]any{"refresh_token": nil, "id_token": nil} }
	})
	done, err = account.Login(t.Context(), b.Folder, account.LoginRequest{Provider: "sim"}, w.browser().person())
	if err != nil || done.Renewed || done.Account.Fingerprint != "" || len(warned) != 2 {
		t.Fatalf("%+v, %v, %q", done, err, warned)
	}
	if _, err = account.Login(t.Context(), b.Folder, account.LoginRequest{Provider: "sim", Renew: a.ID}, w.browser().person()); fault.CodeOf(err) != fault.LoginFailed {
		t.Errorf("%v", err)
	}
	w.refreshes(a.ID)
}

// A provider that was added without prompt=consent is told of it where it matters.
func TestLoginWarnsOfMissingConsent(t *testing.T) {
	w := newWorld(t, brokertest.Config{TokenFields: func(string) map[string]any { return map[string]any{"refresh_token": nil} }})
	for want, params := range map[bool]map[string]string{true: nil, false: {"prompt": "consent"}} {
		w.knows(func(p *oauth.Provider) { p.AuthorizeParams = params })
		var warned string
		b := w.broker()
		b.Folder.Warn = func(m string, _ ...fault.Remedy) { warned += m }
		testenv.Must(t, testenv.Err(account.Login(t.Context(), b.Folder, account.LoginRequest{Provider: "sim"}, w.browser().person())))
		if !strings.Contains(warned, "no refresh token") || strings.Contains(warned, `prompt = "consent"`) != want {
			t.Errorf("%v: %s", params, warned)
		}
	}
}

// An import that brings the refresh token of an access token that is here already
// says nothing of when that ends.
func TestImportOfTheRestOfALogin(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	b := w.broker()
	n := testLogin("https://id.example.com", "Ada", "at-1", "", time.Hour)
	n.Scopes = []string{"a"}
	a, err := account.Add(t.Context(), b.Folder, n)
	testenv.Must(t, err)
	n.RefreshToken, n.ExpiresAt, n.Scopes = keystore.NewSecret("rt-1"), time.Time{}, nil
	whole, err := account.Replace(t.Context(), b.Folder, a.ID, n)
	if err != nil || !whole.ExpiresAt.Equal(a.ExpiresAt) || whole.Fingerprint == "" {
		t.Errorf("%+v, %v", whole, err)
	}
	if g := w.stored(a.ID); !slices.Equal(g.Scopes, []string{"a"}) {
		t.Errorf("%v", g.Scopes)
	}
}
