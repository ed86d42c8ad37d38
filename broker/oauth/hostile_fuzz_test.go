package oauth

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
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

// Whatever a discovery document says, a provider comes of it only if it is of the
// issuer that was asked for, and every endpoint in it is https or, for an issuer
// on this machine alone, loopback.
func FuzzDiscovery(f *testing.F) {
	const issuer = "https://as.example"
	for _, s := range []string{
		`{"issuer":"https://as.example","token_endpoint":"https://as.example/t","scopes_supported":["openid","offline_access"],"token_endpoint_auth_methods_supported":["none"]}`,
		`{"issuer":"https://evil.example","token_endpoint":"https://as.example/t"}`, `{"issuer":"https://as.example","token_endpoint":"http://127.0.0.1:1/t"}`,
		`{"issuer":"https://as.example","token_endpoint":"http://as.example/t"}`, `{"issuer":"https://as.example","token_endpoint":"https://a@as.example/t"}`,
		`{"issuer":"https://as.example","token_endpoint":"https://as.example/t","userinfo_endpoint":"file:///etc/passwd"}`,
		`{"issuer":"https://as.example","token_endpoint":"https://[::1]/t","authorization_endpoint":"javascript:x"}`, "\ufeff{}", "[]", "null", "",
	} {
		f.Add(200, []byte(s))
	}
	f.Add(302, []byte("{}"))
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		p, err := says{status, body}.client().Discover(t.Context(), issuer)
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
	})
}

// Whatever a device authorization endpoint answers, a person is sent only to a
// web page, with a code that fits on a line, and not for ever.
func FuzzDeviceAuthorization(f *testing.F) {
	for _, s := range []string{
		`{"device_code":"afdc_x","user_code":"AB-CD","verification_uri":"https://as.example/d","expires_in":600,"interval":5}`,
		`{"device_code":"afdc_x","user_code":"A","verification_url":"https://as.example/d","verification_uri_complete":"javascript:1"}`,
		`{"device_code":"afdc_x","user_code":"A","verification_uri":"file:///x","expires_in":1e400}`, `{"device_code":1}`, `{"error":"afdc_x"}`,
		`{"device_code":"afdc_x","user_code":"A","verification_uri":"https://as.example/d","interval":-1e18,"expires_in":"9e99"}`, "<html>", "", "null",
	} {
		f.Add(200, []byte(s))
		f.Add(400, []byte(s))
	}
	p := Provider{DeviceAuthorizationEndpoint: "https://as.example/device"}
	e := Endpoint{TokenEndpoint: "https://as.example/token", ClientID: "me", ClientSecret: keystore.NewSecret("afcs_secret")}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		d, err := says{status, body}.client().AuthorizeDevice(t.Context(), p, e)
		if err != nil {
			if e, ok := errors.AsType[*Error](err); !ok || strings.Contains(e.Error(), "afcs_secret") || strings.ContainsAny(e.Error(), "\r\n\x1b") {
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
	})
}

// Whatever a userinfo endpoint answers, a name fits on a line, and no text has
// the token in it.
func FuzzUserinfo(f *testing.F) {
	for _, s := range []string{
		`{"sub":"1","email":"a@b.example"}`, `{"id":7,"login":"ada"}`, `{"account":{"uuid":"u","email_address":"a"},"organization":{"uuid":"o"}}`,
		`{"sub":"afat_secret","name":"\u001b[2J\n"}`, `{"id":1e99}`, `{"sub":{}}`, `{"error":"afat_secret"}`, "<html>", "", "[]",
	} {
		f.Add(200, []byte(s))
		f.Add(401, []byte(s))
	}
	tok := &Token{AccessToken: keystore.NewSecret("afat_secret")}
	f.Fuzz(func(t *testing.T, status int, body []byte) {
		id, err := says{status, body}.client().userinfo(t.Context(), Endpoint{UserinfoEndpoint: "https://as.example/me"}, tok)
		if err != nil {
			if strings.Contains(err.Error(), "afat_secret") || strings.ContainsAny(err.Error(), "\r\n\x1b") {
				t.Fatalf("%v", err)
			}
			return
		}
		if len(id.Name) > 300 || strings.ContainsFunc(id.Name, func(r rune) bool { return r < ' ' }) {
			t.Fatalf("%q", id.Name)
		}
	})
}

// Whatever knocks at the listener, only a GET of its own host and path with this
// login's state ends the wait, and only once.
func FuzzCallback(f *testing.F) {
	for _, s := range [][3]string{
		{"GET", "127.0.0.1:1", "/callback?code=afac_x&state=S"}, {"POST", "127.0.0.1:1", "/callback?code=afac_x&state=S"},
		{"GET", "evil.example", "/callback?code=afac_x&state=S"}, {"GET", "127.0.0.1:1", "/other?code=afac_x&state=S"},
		{"GET", "127.0.0.1:1", "/callback?code=afac_x&state=T"}, {"GET", "127.0.0.1:1", "/callback?state=S&state=T&code=a&code=b"},
		{"GET", "127.0.0.1:1", "/callback?error=access_denied&state=S&error_description=%1b%5b2J"}, {"GET", "127.0.0.1:1", "/callback?%zz"},
	} {
		f.Add(s[0], s[1], s[2])
	}
	p := Provider{AuthorizationEndpoint: "https://as.example/a", TokenEndpoint: "https://as.example/t", ClientID: "me"}
	f.Fuzz(func(t *testing.T, method, host, target string) {
		a := NewAuthorization(p, Endpoint{TokenEndpoint: p.TokenEndpoint, ClientID: "me"}, "http://127.0.0.1:1/callback")
		u, err := url.ParseRequestURI(strings.ReplaceAll(target, "=S", "="+a.state))
		if err != nil {
			t.Skip("net/http takes no such request")
		}
		redirect, err := url.Parse("http://127.0.0.1:1/callback")
		if err != nil {
			t.Fatal(err)
		}
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
		theirs := method == http.MethodGet && strings.EqualFold(host, "127.0.0.1:1") && strings.TrimSuffix(u.Path, "/") == "/callback" && u.Query().Get("state") == a.state
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
