package brokertest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

const verifier = "a-verifier-of-at-least-forty-three-characters-x"

func authorizePath(pairs ...string) string {
	q := url.Values{
		"response_type": {"code"}, "client_id": {"authferry-sim"}, "redirect_uri": {"http://127.0.0.1:54321/cb"},
		"state": {"st"}, "scope": {"openid email"}, "nonce": {"n1"},
		"code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	}
	for i := 0; i < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return "/authorize?" + q.Encode()
}

func landed(t *testing.T, g got) url.Values {
	t.Helper()
	expect(t, "authorize", g, 302)
	to, err := url.Parse(g.header.Get("Location"))
	testenv.Must(t, err)
	return to.Query()
}

func exchange(t *testing.T, s *Server, code string, pairs ...string) got {
	t.Helper()
	return mustPost(t, s, "/token", append([]string{
		"grant_type", "authorization_code", "client_id", "authferry-sim", "code", code,
		"redirect_uri", "http://127.0.0.1:54321/cb", "code_verifier", verifier,
	}, pairs...)...)
}

func TestAuthorizationCode(t *testing.T) {
	s := New(t, Config{})
	q := landed(t, get(t, s, authorizePath(), ""))
	if q.Get("state") != "st" || q.Get("iss") != s.URL {
		t.Errorf("state %q, iss %q", q.Get("state"), q.Get("iss"))
	}
	g := exchange(t, s, q.Get("code"))
	expect(t, "exchange", g, 200)
	if sub := verified(t, s, g.text("id_token"))["sub"]; sub != Subject(ada) {
		t.Errorf("sub %v", sub)
	}
	if who := get(t, s, "/userinfo", g.text("access_token")); who.text("email") != ada || who.text("sub") != Subject(ada) {
		t.Errorf("userinfo: %s", who.body)
	}
	expect(t, "the code again", exchange(t, s, q.Get("code")), 400)
	expect(t, "what the code had made", get(t, s, "/userinfo", g.text("access_token")), 401)
	expect(t, "its refresh token", refresh(t, s, g.text("refresh_token")), 400)
	if n := s.Ledger().Revoked(); n != 1 {
		t.Errorf("%d logins revoked", n)
	}
}

// verified checks an ID token's signature against the published key.
func verified(t *testing.T, s *Server, token string) map[string]any {
	t.Helper()
	var set struct{ Keys []struct{ N, E, Kid string } }
	if err := json.Unmarshal(get(t, s, "/.well-known/jwks.json", "").body, &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("jwks: %v", err)
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("an ID token of %d parts", len(parts))
	}
	decode := func(text string) []byte {
		b, err := base64.RawURLEncoding.DecodeString(text)
		testenv.Must(t, err)
		return b
	}
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(decode(set.Keys[0].N)), E: int(new(big.Int).SetBytes(decode(set.Keys[0].E)).Int64())}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], decode(parts[2])); err != nil {
		t.Fatalf("ID token: %v", err)
	}
	var body map[string]any
	testenv.Must(t, json.Unmarshal(decode(parts[1]), &body))
	if body["iss"] != s.URL || body["aud"] != "authferry-sim" || body["nonce"] != "n1" {
		t.Errorf("claims: %v", body)
	}
	return body
}

func TestAuthorizeRefusals(t *testing.T) {
	for _, c := range []struct {
		name  string
		cfg   Config
		pairs []string
		code  int
		err   string
	}{
		{"denied", Config{Consent: Deny}, nil, 302, "access_denied"},
		{"no challenge", Config{}, []string{"code_challenge", ""}, 302, "invalid_request"},
		{"plain challenge", Config{}, []string{"code_challenge_method", "plain"}, 302, "invalid_request"},
		{"implicit", Config{}, []string{"response_type", "token"}, 302, "unsupported_response_type"},
		{"unknown client", Config{}, []string{"client_id", "x"}, 400, ""},
		{"foreign redirect", Config{}, []string{"redirect_uri", "https://evil.example/cb"}, 400, ""},
		{"redirect with fragment", Config{}, []string{"redirect_uri", "http://127.0.0.1:1/cb#x"}, 400, ""},
		{"registered redirect", Config{RedirectURIs: []string{"https://app.example/cb"}}, []string{"redirect_uri", "https://app.example/cb"}, 302, ""},
		{"IPv6 loopback", Config{}, []string{"redirect_uri", "http://[::1]:4/cb"}, 302, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(t, c.cfg)
			g := get(t, s, authorizePath(c.pairs...), "")
			expect(t, "authorize", g, c.code)
			if c.code == 302 {
				if q := landed(t, g); q.Get("error") != c.err || q.Get("iss") != s.URL {
					t.Errorf("answer: %v", q)
				}
			}
		})
	}
}

func TestExchangeRefusals(t *testing.T) {
	s := New(t, Config{})
	for name, pairs := range map[string][]string{
		"wrong verifier":  {"code_verifier", "another-verifier-of-at-least-forty-three-chars"},
		"no verifier":     {"code_verifier", ""},
		"other redirect":  {"redirect_uri", "http://127.0.0.1:1/cb"},
		"unknown code":    {"code", "afac_nothing"},
		"unknown grant":   {"grant_type", "password"},
		"unknown client":  {"client_id", "x"},
		"needless secret": {"client_secret", "x"},
	} {
		t.Run(name, func(t *testing.T) {
			q := landed(t, get(t, s, authorizePath(), ""))
			if g := exchange(t, s, q.Get("code"), pairs...); g.status/100 != 4 || g.text("error") == "" {
				t.Errorf("%d %s", g.status, g.body)
			}
		})
	}
	q := landed(t, get(t, s, authorizePath(), ""))
	s.Advance(2 * time.Minute)
	expect(t, "late", exchange(t, s, q.Get("code")), 400)
}

// A person decides on a page; the form carries the request with it.
func TestConsentPage(t *testing.T) {
	s := New(t, Config{Consent: Ask})
	path := authorizePath()
	form := get(t, s, path, "")
	expect(t, "page", form, 200)
	if !strings.Contains(string(form.body), "<option>"+bob) {
		t.Errorf("the page does not offer bob: %s", form.body)
	}
	if q := landed(t, mustPost(t, s, path, "decision", "deny", "user", bob)); q.Get("error") != "access_denied" {
		t.Errorf("deny: %v", q)
	}
	q := landed(t, mustPost(t, s, path, "decision", "approve", "user", bob))
	g := exchange(t, s, q.Get("code"))
	if who := get(t, s, "/userinfo", g.text("access_token")); who.text("email") != bob {
		t.Errorf("logged in as %s", who.body)
	}
}

func TestPastePage(t *testing.T) {
	s := New(t, Config{})
	g := get(t, s, authorizePath("redirect_uri", s.URL+"/code"), "")
	q := landed(t, g)
	page := get(t, s, "/code?"+q.Encode(), "")
	if !strings.Contains(string(page.body), q.Get("code")+"#st") {
		t.Errorf("the page does not show code and state: %s", page.body)
	}
}

func TestClientAuthentication(t *testing.T) {
	secret := Config{ClientSecret: "s/e cret"}
	basic := func(id, pass string) func(*http.Request) {
		return func(r *http.Request) { r.SetBasicAuth(url.QueryEscape(id), url.QueryEscape(pass)) }
	}
	only := secret
	only.ClientAuth = "client_secret_basic"
	for _, c := range []struct {
		name   string
		cfg    Config
		form   url.Values
		set    func(*http.Request)
		status int
	}{
		{"public", Config{}, url.Values{"client_id": {"authferry-sim"}}, nil, 200},
		{"nobody", Config{}, url.Values{}, nil, 401},
		{"post", secret, url.Values{"client_id": {"authferry-sim"}, "client_secret": {"s/e cret"}}, nil, 200},
		{"post, wrong", secret, url.Values{"client_id": {"authferry-sim"}, "client_secret": {"x"}}, nil, 401},
		{"basic", secret, url.Values{}, basic("authferry-sim", "s/e cret"), 200},
		{"basic, wrong", secret, url.Values{}, basic("authferry-sim", "x"), 401},
		{"no secret", secret, url.Values{"client_id": {"authferry-sim"}}, nil, 401},
		{"only basic", only, url.Values{"client_id": {"authferry-sim"}, "client_secret": {"s/e cret"}}, nil, 401},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := New(t, c.cfg)
			c.form.Set("grant_type", "refresh_token")
			c.form.Set("refresh_token", s.Issue(ada).RefreshToken)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/token", strings.NewReader(c.form.Encode()))
			testenv.Must(t, err)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			if c.set != nil {
				c.set(r)
			}
			g, err := do(t, s, r)
			testenv.Must(t, err)
			expect(t, "token", g, c.status)
			if c.status == 401 {
				if g.text("error") != "invalid_client" || s.Ledger().Families[0].RefreshTokens[0].SpentAt != (time.Time{}) {
					t.Errorf("a refused client spent the token: %s", g.body)
				}
			}
		})
	}
}

func TestTokenRequestEncoding(t *testing.T) {
	for _, c := range []struct{ want, contentType, body string }{
		{"json", "application/json", `{"grant_type":"refresh_token","client_id":"authferry-sim","refresh_token":"%"}`},
		{"form", "application/x-www-form-urlencoded", "grant_type=refresh_token&client_id=authferry-sim&refresh_token=%"},
	} {
		for _, takes := range []string{"", "json", "form"} {
			s := New(t, Config{TokenRequest: takes})
			body := strings.Replace(c.body, "%", s.Issue(ada).RefreshToken, 1)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/token", strings.NewReader(body))
			testenv.Must(t, err)
			r.Header.Set("Content-Type", c.contentType)
			g, err := do(t, s, r)
			testenv.Must(t, err)
			if ok := g.status == 200; ok != (takes == "" || takes == c.want) {
				t.Errorf("%s at a server that takes %q: %d", c.want, takes, g.status)
			}
		}
	}
}

func TestDeviceFlow(t *testing.T) {
	s := New(t, Config{Consent: Ask, DeviceInterval: time.Second})
	begin := func() got {
		g := mustPost(t, s, "/device_authorization", "client_id", "authferry-sim", "scope", "openid")
		expect(t, "device authorization", g, 200)
		return g
	}
	poll := func(d got) got {
		return mustPost(t, s, "/token", "grant_type", deviceGrant, "client_id", "authferry-sim", "device_code", d.text("device_code"))
	}
	says := func(what string, g got, code string) {
		t.Helper()
		if g.text("error") != code {
			t.Errorf("%s: %s, want %s", what, g.body, code)
		}
	}
	d := begin()
	says("first poll", poll(d), "authorization_pending")
	says("hasty poll", poll(d), "slow_down")
	s.Advance(2 * time.Second)
	says("the interval has grown", poll(d), "slow_down")
	s.Advance(20 * time.Second)
	says("patient poll", poll(d), "authorization_pending")
	form := get(t, s, strings.TrimPrefix(d.text("verification_uri_complete"), s.URL), "")
	if !strings.Contains(string(form.body), d.text("user_code")) {
		t.Error("the page does not know the code")
	}
	expect(t, "approval", mustPost(t, s, "/device", "user_code", strings.ToLower(d.text("user_code")), "decision", "approve", "user", bob), 200)
	s.Advance(time.Minute)
	g := poll(d)
	expect(t, "approved", g, 200)
	if who := get(t, s, "/userinfo", g.text("access_token")); who.text("email") != bob {
		t.Errorf("logged in as %s", who.body)
	}
	says("redeemed", poll(d), "invalid_grant")

	denied := begin()
	testenv.Must(t, s.DecideDevice(denied.text("user_code"), ""))
	says("denied", poll(denied), "access_denied")
	late := begin()
	s.Advance(time.Hour)
	says("expired", poll(late), "expired_token")
	if err := s.DecideDevice(late.text("user_code"), ada); err == nil {
		t.Error("an expired code was approved")
	}
}

func TestMetadata(t *testing.T) {
	s := New(t, Config{})
	for _, path := range []string{"/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		g := get(t, s, path, "")
		expect(t, path, g, 200)
		if g.text("issuer") != s.URL || g.text("token_endpoint") != s.URL+"/token" {
			t.Errorf("%s: %s", path, g.body)
		}
	}
}

func TestRevocationAndIntrospection(t *testing.T) {
	s := New(t, Config{})
	g := s.Issue(ada)
	active := func(token string) bool {
		a, _ := mustPost(t, s, "/introspect", "token", token).json["active"].(bool)
		return a
	}
	if !active(g.AccessToken) || !active(g.RefreshToken) || active("nothing") {
		t.Error("introspection is wrong about fresh tokens")
	}
	expect(t, "an unknown token", mustPost(t, s, "/revoke", "client_id", "authferry-sim", "token", "nothing"), 200)
	expect(t, "access token", mustPost(t, s, "/revoke", "client_id", "authferry-sim", "token", g.AccessToken), 200)
	if active(g.AccessToken) || !active(g.RefreshToken) {
		t.Error("revoking an access token ends it and nothing else")
	}
	expect(t, "refresh token", mustPost(t, s, "/revoke", "client_id", "authferry-sim", "token", g.RefreshToken), 200)
	if active(g.RefreshToken) {
		t.Error("the refresh token is still active")
	}
	if l := s.Ledger(); l.Revocations != 3 || l.Revoked() != 1 {
		t.Errorf("ledger: %d revocations, %d revoked", l.Revocations, l.Revoked())
	}
}
