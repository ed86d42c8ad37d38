package oauth

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/authferry/authferry/keystore"
)

// Client sends requests to authorization servers. The zero value works. Its methods are
// safe for concurrent use.
type Client struct {
	// Transport makes the transport of one request; nil: a new http.Transport with the
	// proxy of the environment. For tests that need faults.
	Transport func() http.RoundTripper
	// Timeout limits the wait for one request, in addition to the context, counted as
	// WithPatience does; zero: 3 minutes.
	Timeout time.Duration
	// Sent, unless nil, is called once the last byte of a request's body has been handed to
	// the system, and again when the request is over. With it, the system doesn't go on
	// sending after this process has died, nor (on Linux) for longer than Timeout.
	Sent func()
	// Version is this program's version in the User-Agent.
	Version string

	proxy         func(*http.Request) (*url.URL, error) // nil: the environment's
	proxyPatience time.Duration                         // zero: as for a connection
	within        *exploration                          // nil: the addresses come from a record or a person
	resolver      *net.Resolver                         // nil: the system's
}

const (
	defaultTimeout = 3 * time.Minute
	connectTimeout = 15 * time.Second
	maxHeader      = 256 << 10
)

// Refresh sends refreshToken to e's token endpoint, once (RFC 6749 §6). beforeSend, which
// may be nil, is called when the connection is open and nothing of the body has been sent.
// If it fails, nothing is sent: the error has the class Unsent and matches beforeSend's
// error. It has returned before Refresh returns.
//
// A Token without a refresh token means that the old one stays valid. The error is an
// *Error. One of class BadToken comes together with a Token whose refresh token is valid
// and whose access token is not.
func (c *Client) Refresh(ctx context.Context, e Endpoint, refreshToken keystore.Secret, beforeSend func() error) (*Token, error) {
	if refreshToken.Empty() {
		return nil, &Error{Class: Misconfigured, Err: errors.New("there is no refresh token")}
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	x := &exchange{client: c, endpoint: e, beforeSend: beforeSend, secrets: []keystore.Secret{refreshToken, e.ClientSecret}}
	conf := &oauth2.Config{
		ClientID: e.ClientID, ClientSecret: e.secret(),
		Endpoint: oauth2.Endpoint{TokenURL: e.TokenEndpoint, AuthStyle: e.style()},
	}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: x})
	_, err := conf.TokenSource(ctx, &oauth2.Token{RefreshToken: refreshToken.Reveal()}).Token()
	if err != nil && x.err == nil {
		// x/oauth2 could not even make the request. Its error would quote the URL.
		x.err = &Error{Class: Misconfigured, Err: errNoURL}
	}
	return x.token, x.err
}

func (c *Client) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	d := c.Timeout
	if d <= 0 {
		d = defaultTimeout
	}
	return WithPatience(ctx, d)
}

func (c *Client) transport() http.RoundTripper {
	if c.Transport != nil {
		return c.Transport()
	}
	r := newRoute(c.proxy)
	if c.Sent != nil {
		r.departs(c.Sent, c.Timeout)
	}
	r.within, r.resolver = c.within, c.resolver
	if c.proxyPatience > 0 {
		r.patience = c.proxyPatience
	}
	return r
}

func (c *Client) userAgent() string {
	if c.Version == "" || strings.ContainsFunc(c.Version, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "authferry"
	}
	return "authferry/" + c.Version
}
