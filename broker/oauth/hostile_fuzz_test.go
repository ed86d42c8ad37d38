package oauth

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
	"github.com/authferry/authferry/testenv"
)

// says is a server that has one answer to everything.
type says struct {
	status int
	body   []byte
}

func (s says) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: s.status, Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(s.body)), Request: r, ProtoMajor: 1, ProtoMinor: 1}, nil
}

func (s says) client() *Client {
	return &Client{Transport: func() http.RoundTripper { return s }}
}

// Whatever a provider answers: to a refresh, for discovery, for a device code, at
// userinfo, as an ID token. The same answer goes to each reader.
func FuzzAnswer(f *testing.F) {
	const date = "Mon, 23 Nov 2026 09:00:00 GMT"
	for i, s := range []string{
		`{"access_token":"a","refresh_token":"r","expires_in":3600,"token_type":"Bearer"}`, `{"access_token":"a","expires_in":"1e18"}`,
		`{"access_token":"a","refresh_token":"r","expires_in":1e400`, "\ufeff{}", `access_token=a&refresh_token=r&expires_in=5`, "\x1f\x8b",
		`{"access_token":"a\nb","refresh_token":"\ud800"}`, `{"access_token":"a","access_token":null}`,

		`{"error":"invalid_grant"}`, `{"error":{"code":"refresh_token_reused"}}`, `{"error":{"type":"invalid_grant","message":"m"}}`, `{"error":{"code":"hush_secret"}}`,
		`{"error":"\u001b[0m"}`, `{"message":"gone"}`, "gone", `error=invalid_grant`, `{"error":{"error":{}}}`,

		`{"issuer":"https://as.example","token_endpoint":"https://as.example/t","scopes_supported":["openid","offline_access"],"token_endpoint_auth_methods_supported":["none"]}`,
		`{"issuer":"https://evil.example","token_endpoint":"https://as.example/t"}`, `{"issuer":"https://as.example","token_endpoint":"http://127.0.0.1:1/t"}`,
		`{"issuer":"https://as.example","token_endpoint":"http://as.example/t"}`, `{"issuer":"https://as.example","token_endpoint":"https://a@as.example/t"}`,
		`{"issuer":"https://as.example","token_endpoint":"https://as.example/t","userinfo_endpoint":"file:///etc/passwd"}`,
		`{"issuer":"https://as.example","token_endpoint":"https://[::1]/t","authorization_endpoint":"javascript:x"}`,

		`{"device_code":"afdc_x","user_code":"AB-CD","verification_uri":"https://as.example/d","expires_in":600,"interval":5}`,
		`{"device_code":"afdc_x","user_code":"A","verification_url":"https://as.example/d","verification_uri_complete":"javascript:1"}`,
		`{"device_code":"afdc_x","user_code":"A","verification_uri":"file:///x","expires_in":1e400}`, `{"device_code":1}`,
		`{"device_code":"afdc_x","user_code":"A","verification_uri":"https://as.example/d","interval":-1e18,"expires_in":"9e99"}`,

		`{"sub":"1","email":"a@b.example"}`, `{"id":7,"login":"ada"}`, `{"account":{"uuid":"u","email_address":"a"},"organization":{"uuid":"o"}}`,
		`{"sub":"hush_secret","name":"\u001b[2J\n"}`, `{"id":1e99}`, `{"sub":{}}`,
		`{"iss":"https://as.example","aud":["me"],"sub":"x","exp":99999999999,"nonce":"N","https://api.openai.com/auth":{"chatgpt_account_id":"o"}}`,

		"device_code=d&user_code=U&verification_uri=as.example%2Fd", `{"data":{"deviceCode":1,"userCode":2,"verificationUrl":"//as.example"}}`,
		`{"errors":[{"errorType":"AuthorizationPendingException"}]}`, `"slow_down"`, `{"issuer":"https://as.example","scopes_supported":{},"token_endpoint":"https://as.example/t"}`,
		"<html>", "[]", "null", "",

		")]}',\n{\"access_token\":\"a\",\"refresh_token\":\"r\"}", `[{"access_token":"a","refresh_token":"r"}]`, `{"data":{"access_token":"a","refresh_token":"r"}}`,
		`"{\"access_token\":\"a\",\"refresh_token\":\"r\"}"`, `{"result":"{\"access_token\":\"a\"}"}`, `cb({access_token:'a',refresh_token:'r',expires_in:NaN,});`,
		"{\"note\":\"a\nb\",\"access_token\":\"a\",\"expires_in\":,}", `<p>{&quot;access_token&quot;:&quot;a&quot;}`, `{"a":1}{"access_token":"a"}`, `access_token=a;b&refresh_token=r%&x`,
		`{"error":"invalid_grant","detail":{"access_token":"a"}}`, "\xff\xfe{\x00}\x00", `{"\"\"":[[{"a":"\u12"`, `{"access_token":"hush_secret","refresh_token":"hush_secret"}`,
	} {
		after := []string{"", "30", "1.5", "-1", "1e400", "NaN", "Mon, 23 Nov 2026 09:00:40 GMT"}[i%7]
		for _, status := range []int{200, 302, 400, 401, 403, 408, 429, 500, 503} {
			f.Add(status, after, date, []byte(s), i%2 == 0)
		}
	}
	f.Fuzz(func(t *testing.T, status int, after, date string, body []byte, cut bool) {
		granted(t, body, cut)
		refused(t, status, body)
		h := http.Header{"Retry-After": {after}, "Date": {date}, "Retry-After-Ms": {date}}
		if d := retryAfter(h, time.Unix(0, 0)); d < 0 || d > maxRetryAfter {
			t.Fatal(d)
		}
		c := says{status, body}.client()
		discovered(t, c)
		authorized(t, c)
		if said := (&answer{status: status, body: body}).pollSays(); !slices.Contains([]string{"", pollPending, pollFaster, pollDenied, pollExpired}, said) {
			t.Errorf("a poll says %q", said)
		}
		named(t, c)
		for _, token := range []string{string(body), "e30." + base64.RawURLEncoding.EncodeToString(body) + ".e30"} {
			if id, err := identityOf(token, Provider{}, Endpoint{Issuer: "https://as.example", ClientID: "me"}, "N", time.Now()); err == nil && id.Subject == "" {
				t.Error("an ID token names nobody")
			}
		}
	})
}

// hush is a secret that no text may have in it.
var hush = keystore.NewSecret("hush_secret")

// A token that is handed out can be sent, and no text has a secret in it.
func granted(t *testing.T, body []byte, cut bool) {
	t.Helper()
	a := &answer{status: 200, body: body, arrived: time.Now(), sent: true}
	if strings.HasPrefix(string(body), "\x1f\x8b") {
		a.decompress()
	}
	if cut && a.cut == nil {
		a.cut = errTooBig
	}
	tok, err := a.grant(Endpoint{}, hush)
	if tok != nil && (tok.AccessToken.Equal(hush) || tok.RefreshToken.Equal(hush)) {
		t.Fatal("what was sent is taken for new")
	}
	if err == nil {
		if CheckAccessToken(tok.AccessToken.Reveal()) != nil || CheckTokenType(tok.TokenType) != nil {
			t.Fatalf("%+v", tok)
		}
		if tok.ExpiresIn < 0 || tok.ExpiresIn > maxLifetime || tok.RefreshExpiresIn < 0 || tok.RefreshExpiresIn > maxLifetime {
			t.Fatalf("lifetimes %v and %v", tok.ExpiresIn, tok.RefreshExpiresIn)
		}
		return
	}
	e, ok := errors.AsType[*Error](err)
	if !ok || (tok != nil) != (e.Class == BadToken) || strings.Contains(e.Error(), hush.Reveal()) {
		t.Fatalf("%#v", err)
	}
}

// Only what was understood is definitive, and what is said of it fits on a line.
func refused(t *testing.T, status int, body []byte) {
	t.Helper()
	a := &answer{status: status, body: body, sent: true}
	got := a.refusal(Endpoint{DeadCodes: []string{"gone"}}, hush)
	text := got.Error()
	if strings.Contains(text, hush.Reveal()) || len(text) > 250 || strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) {
		t.Fatalf("%q", text)
	}
	if !slices.Contains([]Class{Throttled, Unknown, Dead, Refused, Misconfigured}, got.Class) {
		t.Fatalf("class %q", got.Class)
	}
	if got.Class == Dead && (status < 200 || status > 499 || status > 299 && status < 400) {
		t.Fatalf("status %d is definitive", status)
	}
	// A listed text is, as a whole.
	if _, err := parse(body, nil); got.Class == Dead && err != nil && strings.TrimSpace(string(body)) != "gone" {
		t.Fatalf("%q is definitive", body)
	}
}

// A provider comes of a discovery document only if it is of the issuer that was
// asked for, and every endpoint in it is https and elsewhere than on this machine.
func discovered(t *testing.T, c *Client) {
	t.Helper()
	const issuer = "https://as.example"
	p, err := c.Discover(t.Context(), issuer)
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || len(e.Error()) > 2000 {
			t.Fatalf("%#v", err)
		}
		return
	}
	if p.Issuer != issuer || p.TokenEndpoint == "" {
		t.Fatalf("%+v", p)
	}
	for _, endpoint := range []string{p.TokenEndpoint, p.AuthorizationEndpoint, p.DeviceAuthorizationEndpoint, p.RevocationEndpoint, p.UserinfoEndpoint} {
		u, err := url.Parse(endpoint)
		if endpoint != "" && (err != nil || u.Scheme != "https" || u.Hostname() == "" || u.User != nil || loopback(u.Hostname())) {
			t.Fatalf("a secret would be sent to %q", endpoint)
		}
	}
}

// A person is sent only to a web page, with a code that fits on a line, and not for
// ever.
func authorized(t *testing.T, c *Client) {
	t.Helper()
	p := Provider{DeviceAuthorizationEndpoint: "https://as.example/device"}
	d, err := c.AuthorizeDevice(t.Context(), p, Endpoint{TokenEndpoint: "https://as.example/token", ClientID: "me", ClientSecret: hush})
	if err != nil {
		if e, ok := errors.AsType[*Error](err); !ok || strings.Contains(e.Error(), hush.Reveal()) || strings.ContainsAny(e.Error(), "\r\n\x1b") {
			t.Fatalf("%v", err)
		}
		return
	}
	if d.code.Empty() || d.UserCode == "" || len(d.UserCode) > maxUserCode || d.interval < 0 || time.Until(d.ExpiresAt) > maxLifetime {
		t.Fatalf("%+v", d)
	}
	for _, address := range []string{d.VerificationURI, d.VerificationURIComplete} {
		if u, err := url.Parse(address); address != "" && (err != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname()))) {
			t.Fatalf("a person is sent to %q", address)
		}
	}
}

// A name from userinfo fits on a line, and no text has the token in it.
func named(t *testing.T, c *Client) {
	t.Helper()
	id, err := c.userinfo(t.Context(), Endpoint{UserinfoEndpoint: "https://as.example/me"}, &Token{AccessToken: hush})
	if err != nil {
		if strings.Contains(err.Error(), hush.Reveal()) || strings.ContainsAny(err.Error(), "\r\n\x1b") {
			t.Fatalf("%v", err)
		}
		return
	}
	if len(id.Name) > 300 || strings.ContainsFunc(id.Name, func(r rune) bool { return r < ' ' }) {
		t.Fatalf("%q", id.Name)
	}
}

// Whatever comes back from the browser. At the listener only a GET of its own host
// and path with this login's state ends the wait, and only once; what a person
// pastes is taken only with that state.
func FuzzCallback(f *testing.F) {
	for _, s := range [][3]string{
		{"GET", "127.0.0.1:1", "/callback?code=afac_x&state=S"}, {"POST", "127.0.0.1:1", "/callback?code=afac_x&state=S"},
		{"GET", "evil.example", "/callback?code=afac_x&state=S"}, {"GET", "127.0.0.1:1", "/other?code=afac_x&state=S"},
		{"GET", "127.0.0.1:1", "/callback?code=afac_x&state=T"}, {"GET", "127.0.0.1:1", "/callback?state=S&state=T&code=a&code=b"},
		{"GET", "127.0.0.1:1", "/callback?error=access_denied&state=S&error_description=%1b%5b2J"}, {"GET", "127.0.0.1:1", "/callback?%zz"},
		{"GET", "127.0.0.1:1", "/callback?code=a;b%&state=S"}, {"GET", "127.0.0.1:1", "/callback?code=C;state=S;state=T"}, {"GET", "127.0.0.1:1", "/callback?error=access_denied;state=S&x=%"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	for _, s := range []string{"C#STATE", "C", "?code=C&state=STATE", "http://127.0.0.1:1/callback?code=C&state=STATE", "%zz&", "://", "code=C&error=&state=STATE",
		"Code: C\nState: STATE", "'C#STATE'", "\x1b[200~C#STA\nTE\x1b[201~", "a (http://localhost/callback#code=C&amp;state=STATE).", "http%3A%2F%2F127.0.0.1%3A1%2Fcallback%3Fcode%3DC%26state%3DSTATE"} {
		f.Add("", "", s)
	}
	pasted := NewAuthorization(Provider{Issuer: "https://as.example"}, Endpoint{}, "http://127.0.0.1:1/callback")
	pasted.state = "STATE"
	p := Provider{AuthorizationEndpoint: "https://as.example/a", TokenEndpoint: "https://as.example/t", ClientID: "me"}
	f.Fuzz(func(t *testing.T, method, host, target string) {
		code, err := pasted.Pasted(target)
		seen := strings.ReplaceAll(strings.Join(strings.Fields(rawtext.Visible(target)), ""), "&amp;", "&") // of what a terminal wrapped
		if err == nil && (code.Empty() || !strings.Contains(seen, "STATE") && !strings.Contains(seen, "%")) {
			t.Errorf("%q is taken", target)
		}
		a := NewAuthorization(p, Endpoint{TokenEndpoint: p.TokenEndpoint, ClientID: "me"}, "http://127.0.0.1:1/callback")
		u, err := url.ParseRequestURI(strings.ReplaceAll(target, "=S", "="+a.state))
		if err != nil {
			return // net/http takes no such request
		}
		redirect, err := url.Parse("http://127.0.0.1:1/callback")
		testenv.Must(t, err)
		l := &Listener{redirect: redirect, came: make(chan *Callback, 2)}
		answered := 0
		for range 2 {
			r := &http.Request{Method: method, Host: host, URL: u, Header: http.Header{}}
			page := httptest.NewRecorder()
			done := make(chan struct{})
			go func() { defer close(done); l.knock(page, r.WithContext(t.Context()), a) }()
			select {
			case c := <-l.came:
				answered++
				c.Answer(Page{})
				<-done
				if (c.Err == nil) == c.Code.Empty() {
					t.Fatalf("%v, and a code: %v", c.Err, !c.Code.Empty())
				}
			case <-done:
				if page.Code < 400 || page.Code > 499 {
					t.Fatalf("status %d", page.Code)
				}
			}
		}
		theirs := method == http.MethodGet && strings.EqualFold(host, "127.0.0.1:1") && strings.TrimSuffix(u.Path, "/") == "/callback" && strings.Contains(u.RawQuery, "state="+a.state)
		if answered > 1 || answered == 1 && !theirs {
			t.Fatalf("%s %s %s was taken %d times", method, host, u, answered)
		}
	})
}

// A header template gives one header with the token in it, or none.
func FuzzHeaderTemplate(f *testing.F) {
	for _, s := range []string{"authorization: Bearer {token}", "x: {token}\r\nhost: evil.example", "Host: {token}", ": {token}", "x:{{token}}", "proxy-x: {token}", "x-é: 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, template string) {
		for _, h := range Expand([]string{template}, keystore.NewSecret("afat_x")) {
			if h.Name == "host" || h.Name == "" || strings.ContainsAny(h.Name+h.Value.Reveal(), "\r\n\x00") {
				t.Fatalf("%s: %q", h.Name, h.Value.Reveal())
			}
		}
	})
}
