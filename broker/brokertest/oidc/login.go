package oidc

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// Grant is a successful answer of the token endpoint (RFC 6749, section 5.1).
type Grant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	IDToken      string `json:"id_token"`
	TokenType    string `json:"token_type"`
	ExpiresIn    int    `json:"expires_in"` // seconds
	Scope        string `json:"scope"`
}

// RefusedError is a refusal by the token endpoint (RFC 6749, section 5.2).
type RefusedError struct {
	Status int
	Code   string `json:"error"`
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("token endpoint: status %d, %s", e.Status, e.Code)
}

// Login signs user in with the authorization code flow and PKCE, through the
// provider's own pages and a listener on loopback.
func (p *Provider) Login(t testing.TB, user string) Grant {
	t.Helper()
	codes := make(chan url.Values, 1)
	listener := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		codes <- r.URL.Query()
	}))
	defer listener.Close()
	redirect := listener.URL + "/callback"
	verifier, state := rand.Text()+rand.Text(), rand.Text()
	challenge := sha256.Sum256([]byte(verifier))

	SignIn(t, p.URL+"/auth?"+url.Values{
		"response_type":         {"code"},
		"client_id":             {ClientID},
		"redirect_uri":          {redirect},
		"scope":                 {Scope},
		"prompt":                {"consent"}, // else offline_access is ignored
		"state":                 {state},
		"code_challenge":        {base64.RawURLEncoding.EncodeToString(challenge[:])},
		"code_challenge_method": {"S256"},
	}.Encode(), user)

	var answer url.Values
	select {
	case answer = <-codes:
	default:
		t.Fatal("the sign-in ended without a callback")
	}
	if answer.Get("state") != state || answer.Get("code") == "" {
		t.Fatalf("callback without the state or a code: error %q", answer.Get("error"))
	}
	grant, err := p.token(url.Values{
		"grant_type":    {"authorization_code"},
		"code":          {answer.Get("code")},
		"redirect_uri":  {redirect},
		"code_verifier": {verifier},
	})
	testenv.Must(t, err)
	return grant
}

// Refresh spends a refresh token. A refusal is a *RefusedError.
func (p *Provider) Refresh(refreshToken string) (Grant, error) {
	return p.token(url.Values{"grant_type": {"refresh_token"}, "refresh_token": {refreshToken}})
}

func (p *Provider) token(form url.Values) (Grant, error) {
	form.Set("client_id", ClientID)
	resp, err := http.PostForm(p.URL+"/token", form)
	if err != nil {
		return Grant{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		refused := &RefusedError{Status: resp.StatusCode}
		if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
			err = json.NewDecoder(resp.Body).Decode(refused)
		}
		if err != nil {
			return Grant{}, err
		}
		return Grant{}, refused
	}
	var grant Grant
	if err := json.NewDecoder(resp.Body).Decode(&grant); err != nil {
		return Grant{}, err
	}
	return grant, nil
}

// Active asks the introspection endpoint whether a token is alive (RFC 7662).
func (p *Provider) Active(t testing.TB, token string) bool {
	t.Helper()
	resp, err := http.PostForm(p.URL+"/token/introspection", url.Values{"client_id": {ClientID}, "token": {token}})
	testenv.Must(t, err)
	defer func() { _ = resp.Body.Close() }()
	var state struct {
		Active bool `json:"active"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&state); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("introspection: %s: %v", resp.Status, err)
	}
	return state.Active
}

// Subject asks the userinfo endpoint whose access token this is.
func (p *Provider) Subject(t testing.TB, accessToken string) string {
	t.Helper()
	var person struct {
		Subject string `json:"sub"`
	}
	get(t, p.URL+"/me", accessToken, &person)
	return person.Subject
}
