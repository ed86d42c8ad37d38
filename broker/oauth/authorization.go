package oauth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/authferry/authferry/keystore"
)

// Authorization is one request for a person's consent by the authorization code
// flow (RFC 6749 §4.1) with PKCE S256 (RFC 7636), good for one code.
type Authorization struct {
	provider Provider
	endpoint Endpoint
	redirect string
	state    string
	nonce    string // empty: no ID token is asked for
	verifier keystore.Secret
}

// NewAuthorization makes a request to p whose answer comes to redirect. State, nonce and
// verifier are random. The verifier is sent only together with the code.
func NewAuthorization(p Provider, e Endpoint, redirect string) *Authorization {
	a := &Authorization{
		provider: p, endpoint: e, redirect: redirect, state: rand.Text(), verifier: keystore.NewSecret(oauth2.GenerateVerifier()),
	}
	if slices.Contains(p.Scopes, "openid") {
		a.nonce = rand.Text()
	}
	return a
}

// URL is the address that the person's browser has to open.
func (a *Authorization) URL() string {
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(a.verifier.Reveal())}
	if a.nonce != "" {
		options = append(options, oauth2.SetAuthURLParam("nonce", a.nonce))
	}
	for name, value := range a.provider.AuthorizeParams {
		options = append(options, oauth2.SetAuthURLParam(name, value))
	}
	if a.endpoint.Resource != "" {
		options = append(options, oauth2.SetAuthURLParam("resource", a.endpoint.Resource))
	}
	return a.config().AuthCodeURL(a.state, options...)
}

// config includes the client's secret, if there is one.
func (a *Authorization) config() *oauth2.Config {
	return &oauth2.Config{
		ClientID: a.endpoint.ClientID, ClientSecret: a.endpoint.secret(), RedirectURL: a.redirect, Scopes: a.provider.Scopes,
		Endpoint: oauth2.Endpoint{AuthURL: a.provider.AuthorizationEndpoint, TokenURL: a.endpoint.TokenEndpoint, AuthStyle: a.endpoint.style()},
	}
}

// RefusedError says that an authorization server, or the person there, refused a login (RFC
// 6749 §4.1.2.1, RFC 8628 §3.5).
type RefusedError struct {
	Code        string
	Description string // the server's text for people; not to be trusted
}

func (e *RefusedError) Error() string {
	s := "the provider refused the login"
	switch {
	case e.Code == "access_denied":
		s = "the login was denied"
	case e.Code == "expired_token":
		s = "the code was not entered in time"
	case e.Code != "":
		s += " (" + e.Code + ")"
	}
	if e.Description != "" {
		s += fmt.Sprintf("; it says: %q", shorten(e.Description))
	}
	return s
}

var (
	errForeign  = errors.New("this is not the answer to the login that is waiting")
	errIssuer   = errors.New("the answer comes from another issuer than the login was sent to")
	errNoCode   = errors.New("the answer has no code")
	errTwice    = errors.New("the answer has a parameter twice")
	errNoState  = errors.New("the state is missing: paste all of CODE#STATE, or the whole address of the page")
	errOtherURL = errors.New("this is not the address that the login redirects to")
)

// matches reports whether q answers this request: it has its state, exactly once.
func (a *Authorization) matches(q url.Values) bool {
	return len(q["state"]) == 1 && subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(a.state)) == 1
}

// code returns the code in the redirect's parameters. If the answer is an error of the
// server, the error is a *RefusedError.
func (a *Authorization) code(q url.Values) (keystore.Secret, error) {
	if !a.matches(q) {
		return keystore.Secret{}, errForeign
	}
	for _, name := range []string{"code", "error", "iss"} {
		if len(q[name]) > 1 {
			return keystore.Secret{}, errTwice
		}
	}
	// RFC 9207 §2.4: an answer from another issuer is discarded, even if it is an error.
	if known := a.provider.Issuer; known != "" && !strings.Contains(known, tenant) &&
		(q.Has("iss") && !a.provider.IsIssuer(q.Get("iss")) || !q.Has("iss") && a.provider.IssParameter) {
		return keystore.Secret{}, errIssuer
	}
	if code := q.Get("error"); code != "" {
		if !presentable(code, nil) {
			code = ""
		}
		return keystore.Secret{}, &RefusedError{Code: code, Description: q.Get("error_description")}
	}
	if q.Get("code") == "" {
		return keystore.Secret{}, errNoCode
	}
	return keystore.NewSecret(q.Get("code")), nil
}

// Exchange redeems the code (RFC 6749 §4.1.3), once; a second time only if the client was
// refused and may have to send its secret in another way. The error is an *Error; its class
// is Dead for a code that is spent, too old or another client's.
func (c *Client) Exchange(ctx context.Context, a *Authorization, code keystore.Secret) (*Token, error) {
	t, err := c.redeem(ctx, a, code)
	if other, refused := a.endpoint.otherStyle(err); refused {
		before := a.endpoint
		a.endpoint = other
		if again, err := c.redeem(ctx, a, code); again != nil {
			return again, err
		}
		a.endpoint = before
	}
	return t, err
}

// AuthStyle is how the token endpoint of a accepts the client's secret.
func (a *Authorization) AuthStyle() string { return a.endpoint.AuthStyle }

func (c *Client) redeem(ctx context.Context, a *Authorization, code keystore.Secret) (*Token, error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	x := &exchange{client: c, endpoint: a.endpoint, secrets: []keystore.Secret{code, a.verifier, a.endpoint.ClientSecret}}
	options := []oauth2.AuthCodeOption{oauth2.VerifierOption(a.verifier.Reveal())}
	if a.endpoint.Encoding == EncodingJSON {
		// Servers that speak JSON here require it; others ignore it.
		options = append(options, oauth2.SetAuthURLParam("state", a.state))
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: x})
	_, err := a.config().Exchange(ctx, code.Reveal(), options...)
	if err != nil && x.err == nil {
		x.err = &Error{Class: Misconfigured, Err: errNoURL}
	}
	return x.token, x.err
}

// Nonce is the value that the ID token must repeat (OpenID Connect Core §3.1.2.1); empty:
// none is asked for.
func (a *Authorization) Nonce() string { return a.nonce }

// maxRequestURI is far above any that a server gives, and fits into an address.
const maxRequestURI = 2 << 10

// Push sends a's request to a server that wants it beforehand (RFC 9126), and returns the
// address that the person's browser has to open; to any other server nothing is sent, and
// it is a.URL(). The error is an *Error.
func (c *Client) Push(ctx context.Context, a *Authorization) (address string, err error) {
	whole := a.URL()
	if a.provider.PushedAuthorizationEndpoint == "" {
		return whole, nil
	}
	u, err := url.Parse(whole)
	if err != nil {
		return "", &Error{Class: Misconfigured, Err: errNoURL}
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	e := a.endpoint
	if !sameOrigin(a.provider.PushedAuthorizationEndpoint, e.TokenEndpoint) {
		e.ClientSecret = keystore.Secret{} // it is for the token endpoint's server
	}
	answered, err := c.pushOnce(ctx, a.provider.PushedAuthorizationEndpoint, e, u.Query())
	if other, refused := e.otherStyle(err); refused {
		if answered, err = c.pushOnce(ctx, a.provider.PushedAuthorizationEndpoint, other, u.Query()); err == nil {
			a.endpoint.AuthStyle = other.AuthStyle
		}
	}
	if err != nil {
		return "", err
	}
	at, err := url.Parse(a.provider.AuthorizationEndpoint)
	if err != nil {
		return "", &Error{Class: Misconfigured, Err: errNoURL}
	}
	query := at.Query()
	query.Set("client_id", e.ClientID)
	query.Set("request_uri", answered)
	at.RawQuery = query.Encode()
	return at.String(), nil
}

func (c *Client) pushOnce(ctx context.Context, endpoint string, e Endpoint, request url.Values) (requestURI string, err error) {
	a, err := c.ask(ctx, e, endpoint, request)
	if err != nil {
		return "", err
	}
	m := looseMembers(a)
	if a.status != http.StatusCreated && a.status != http.StatusOK || m.refuses() {
		return "", a.refusal(e, e.ClientSecret)
	}
	requestURI = m.text("request_uri")
	if requestURI == "" || len(requestURI) > maxRequestURI || strings.ContainsFunc(requestURI, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", a.fail(Unknown, errors.New("there is no request_uri in the answer"))
	}
	return requestURI, nil
}
