package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/authferry/authferry/keystore"
)

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
