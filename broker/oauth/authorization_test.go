package oauth

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// loginRig is a server, its data by discovery, and a client.
func loginRig(t *testing.T, cfg brokertest.Config) (*brokertest.Server, *Client, Provider, Endpoint) {
	t.Helper()
	s := brokertest.New(t, cfg)
	c := &Client{}
	p, err := c.Discover(t.Context(), s.URL)
	testenv.Must(t, err)
	p.Name, p.ClientID = "sim", "authferry-sim"
	return s, c, p, p.Endpoint()
}

// follow opens address as a browser does, and returns where it ends.
func follow(t *testing.T, address string) (*http.Response, string) {
	t.Helper()
	res, err := (&http.Client{}).Get(address)
	testenv.Must(t, err)
	defer res.Body.Close()
	a := readAnswer(res, true)
	return res, string(a.body)
}

func TestAuthorizationURL(t *testing.T) {
	p := Provider{AuthorizationEndpoint: "https://as.example/authorize?tenant=1", Scopes: []string{"openid", "x"},
		AuthorizeParams: map[string]string{"prompt": "consent"}}
	e := Endpoint{ClientID: "me", ClientSecret: keystore.NewSecret("afcs_secret")}
	a := NewAuthorization(p, e, "http://127.0.0.1:7/callback")
	u, err := url.Parse(a.URL())
	testenv.Must(t, err)
	q := u.Query()
	for name, want := range map[string]string{
		"tenant": "1", "response_type": "code", "client_id": "me", "redirect_uri": "http://127.0.0.1:7/callback", "scope": "openid x",
		"code_challenge_method": "S256", "prompt": "consent", "state": a.state, "nonce": a.nonce,
	} {
		if q.Get(name) != want || want == "" {
			t.Errorf("%s is %q, want %q", name, q.Get(name), want)
		}
	}
	if len(q.Get("code_challenge")) != 43 || strings.Contains(a.URL(), a.verifier.Reveal()) || strings.Contains(a.URL(), "afcs_") {
		t.Error("the verifier or the secret is in the URL, or the challenge is not")
	}
	if b := NewAuthorization(p, e, ""); b.state == a.state || b.nonce == a.nonce || b.verifier.Reveal() == a.verifier.Reveal() {
		t.Error("two logins share a random value")
	}
	p.Scopes = nil
	if NewAuthorization(p, e, "").Nonce() != "" {
		t.Error("a nonce though no ID token is asked for")
	}
}

func TestPasted(t *testing.T) {
	p := Provider{Issuer: "https://as.example", AuthorizationEndpoint: "https://as.example/authorize"}
	const page = "https://as.example/code"
	a := NewAuthorization(p, Endpoint{}, page)
	for text, want := range map[string]string{
		"CODE#" + a.state:                                         "",
		"  CODE#" + a.state + "\r\n":                              "",
		"code=CODE&state=" + a.state:                              "",
		"?state=" + a.state + "&code=CODE":                        "",
		page + "?code=CODE&state=" + a.state:                      "",
		page + "/?state=" + a.state + "&code=CODE":                "",
		"code=CODE&iss=https%3A%2F%2Fas.example&state=" + a.state: "",

		"":                      errNoCode.Error(),
		"#" + a.state:           errNoCode.Error(),
		"CODE":                  errNoState.Error(),
		"code=CODE":             errNoState.Error(),
		page + "?code=CODE":     errNoState.Error(),
		"CODE#":                 errForeign.Error(),
		"CODE#wrong":            errForeign.Error(),
		"code=CODE&state=wrong": errForeign.Error(),
		"code=CODE&state=" + a.state + "&state=" + a.state:          errForeign.Error(),
		"code=A&code=B&state=" + a.state:                            errTwice.Error(),
		"code=CODE&iss=https%3A%2F%2Fevil.example&state=" + a.state: errIssuer.Error(),
		"state=" + a.state + "&":                                    errNoCode.Error(),
		"https://evil.example/?code=CODE&state=" + a.state:          errOtherURL.Error(),
		a.URL():                                errOtherURL.Error(),
		"error=access_denied&state=" + a.state: "the login was denied",
		"error=server_error&error_description=%1b%5B2J&state=" + a.state: `the provider refused the login (server_error); it says: "\x1b[2J"`,
		"error=a+b&state=" + a.state:                                     "the provider refused the login",
	} {
		code, err := a.Pasted(text)
		switch {
		case want == "" && (err != nil || code.Reveal() != "CODE"):
			t.Errorf("%q: %v", text, err)
		case want != "" && (err == nil || err.Error() != want):
			t.Errorf("%q: %v, want %s", text, err, want)
		case err != nil && strings.Contains(err.Error(), "CODE") && err != errNoState:
			t.Errorf("%q: the code is in the error: %v", text, err)
		}
	}
	a.provider.PasteStateless = true
	if code, err := a.Pasted(" CODE\n"); err != nil || code.Reveal() != "CODE" {
		t.Errorf("a bare code where the page shows no state: %v", err)
	}
	if _, err := a.Pasted("CODE#wrong"); err != errForeign {
		t.Errorf("a wrong state there: %v", err)
	}
	a.provider.IssParameter = true
	if _, err := a.Pasted("code=CODE&state=" + a.state); err != errIssuer {
		t.Errorf("iss is missing where the server promises it: %v", err)
	}
}

func TestExchange(t *testing.T) {
	for name, cfg := range map[string]brokertest.Config{
		"form": {}, "json": {TokenRequest: "json"}, "post": {ClientSecret: "afcs_s", ClientAuth: "client_secret_post"}, "basic": {ClientSecret: "afcs_s", ClientAuth: "client_secret_basic"},
	} {
		t.Run(name, func(t *testing.T) {
			s, c, p, e := loginRig(t, cfg)
			e.Encoding, e.ClientSecret = cfg.TokenRequest, keystore.NewSecret(cfg.ClientSecret)
			a := NewAuthorization(p, e, s.URL+"/code")
			res, _ := follow(t, a.URL())
			code, err := a.Pasted(res.Request.URL.String())
			testenv.Must(t, err)
			tok, err := c.Exchange(t.Context(), a, code)
			if err != nil || tok.RefreshToken.Empty() || tok.AccessToken.Empty() {
				t.Fatalf("%v", err)
			}
			id, err := c.Identify(t.Context(), p, e, tok, a.Nonce())
			if err != nil || id != (Identity{Issuer: s.URL, Subject: brokertest.Subject(ada), Name: ada}) {
				t.Errorf("%+v, %v", id, err)
			}
			// The same code again: the server takes that for theft.
			if _, err = c.Exchange(t.Context(), a, code); err == nil || classOf(own(err)) != Dead {
				t.Errorf("a code that is spent: %v", err)
			}
			if n := s.Ledger().TokenRequests; n != 2 {
				t.Errorf("%d token requests, want 2", n)
			}
		})
	}
}

func own(err error) *Error {
	e, _ := errors.AsType[*Error](err)
	return e
}

// A code is sent once, whatever becomes of it, and is in no error.
func TestExchangeFaults(t *testing.T) {
	for _, fault := range []string{"500", "reset-headers", "html", "429", "redirect-307-other", "error-rfc", "no-token"} {
		s, c, p, e := loginRig(t, brokertest.Config{})
		s.Inject(brokertest.Faults()[fault])
		a := NewAuthorization(p, e, s.URL+"/code")
		res, _ := follow(t, a.URL())
		code, err := a.Pasted(res.Request.URL.String())
		testenv.Must(t, err)
		_, err = c.Exchange(t.Context(), a, code)
		if err == nil || strings.Contains(err.Error(), code.Reveal()) || strings.Contains(err.Error(), a.verifier.Reveal()) {
			t.Errorf("%s: %v", fault, err)
		}
		if l := s.Ledger(); l.TokenRequests != 1 || l.Elsewhere != 0 {
			t.Errorf("%s: %d requests, %d elsewhere", fault, l.TokenRequests, l.Elsewhere)
		}
	}
}
