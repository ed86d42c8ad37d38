package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// metadata is what is read of OpenID Connect Discovery 1.0 §3 and RFC 8414 §2.
type metadata struct {
	Issuer                      string   `json:"issuer"`
	AuthorizationEndpoint       string   `json:"authorization_endpoint"`
	TokenEndpoint               string   `json:"token_endpoint"`
	DeviceAuthorizationEndpoint string   `json:"device_authorization_endpoint"`
	RevocationEndpoint          string   `json:"revocation_endpoint"`
	UserinfoEndpoint            string   `json:"userinfo_endpoint"`
	ScopesSupported             []string `json:"scopes_supported"`
	AuthMethods                 []string `json:"token_endpoint_auth_methods_supported"`
	IssParameter                bool     `json:"authorization_response_iss_parameter_supported"`
}

const maxRedirects = 5

// Discover reads a provider's data from its issuer: OpenID Connect discovery
// first, then RFC 8414. The document must name the very issuer that was asked
// (RFC 8414 §3.3), with endpoints that a secret may be sent to; redirects are
// followed within the issuer's origin only. The Provider has no name yet. The
// error is an *Error; nothing that is asked here carries a secret.
func (c *Client) Discover(ctx context.Context, issuer string) (Provider, error) {
	fail := func(class Class, err error) (Provider, error) { return Provider{}, &Error{Class: class, Err: err} }
	u, err := url.Parse(issuer)
	if err != nil {
		return fail(Misconfigured, errNoURL)
	}
	if err := checkParsedURL(u); err != nil {
		return fail(Misconfigured, err)
	}
	if u.RawQuery != "" {
		return fail(Misconfigured, errors.New("an issuer has no query"))
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	openID := u.Scheme + "://" + u.Host + path + "/.well-known/openid-configuration"
	plain := u.Scheme + "://" + u.Host + "/.well-known/oauth-authorization-server" + path

	doc, err := c.metadata(ctx, openID)
	fromOpenID := err == nil
	if refused, ok := errors.AsType[*Error](err); ok && refused.Status != 0 {
		var again error
		if doc, again = c.metadata(ctx, plain); again == nil {
			err = nil
		}
	}
	if err != nil {
		return Provider{}, err
	}
	if doc.Issuer != issuer {
		return fail(Misconfigured, fmt.Errorf("the document is of issuer %q; ask for that one if it is meant", shorten(doc.Issuer)))
	}
	p := doc.provider(fromOpenID)
	if err := p.checkDiscovered(loopback(u.Hostname())); err != nil {
		return fail(Misconfigured, err)
	}
	return p, nil
}

// metadata reads one document. An *Error with a Status says that the server
// answered, but not with such a document.
func (c *Client) metadata(ctx context.Context, address string) (*metadata, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, http.NoBody)
	if err != nil {
		return nil, &Error{Class: Misconfigured, Err: errNoURL}
	}
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", c.userAgent())
	origin := originOf(req.URL)
	client := &http.Client{Transport: c.transport(), CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if originOf(next.URL) != origin || len(via) > maxRedirects {
			return http.ErrUseLastResponse
		}
		return nil
	}}
	res, err := client.Do(req)
	if err != nil {
		return nil, &Error{Class: Unsent, Err: describe(err)}
	}
	defer res.Body.Close()
	a := readAnswer(res, true)
	switch {
	case a.status >= 300 && a.status <= 399:
		return nil, a.fail(Misconfigured, errors.New("it redirects to another server"))
	case a.status == http.StatusTooManyRequests || a.status >= 500:
		return nil, a.fail(Throttled, nil)
	case a.status != http.StatusOK:
		return nil, a.fail(Misconfigured, errors.New("there is no discovery document"))
	case a.cut != nil:
		return nil, a.fail(Unknown, a.cut)
	}
	var doc metadata
	if err := decodeJSON(a.body, &doc); err != nil || doc.Issuer == "" {
		return nil, a.fail(Misconfigured, errors.New("there is no discovery document"))
	}
	return &doc, nil
}

func (m *metadata) provider(openID bool) Provider {
	p := Provider{
		Issuer: m.Issuer, AuthorizationEndpoint: m.AuthorizationEndpoint, TokenEndpoint: m.TokenEndpoint,
		DeviceAuthorizationEndpoint: m.DeviceAuthorizationEndpoint, RevocationEndpoint: m.RevocationEndpoint,
		UserinfoEndpoint: m.UserinfoEndpoint, IssParameter: m.IssParameter,
	}
	switch {
	case slices.Contains(m.AuthMethods, "client_secret_post"):
		p.AuthStyle = AuthParams
	case len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic"):
		p.AuthStyle = AuthHeader // what a missing list means
	case slices.Contains(m.AuthMethods, "none"):
		p.AuthStyle = AuthNone
	}
	for _, s := range []string{"openid", "profile", "email", offlineAccess} {
		if slices.Contains(m.ScopesSupported, s) {
			p.Scopes = append(p.Scopes, s)
		}
	}
	if openID {
		p.IdentityFrom = IdentityFromIDToken
	}
	return p.withConsent()
}

// checkDiscovered holds a discovered provider to more than Validate does: a
// document from elsewhere must not point at servers of this machine.
func (p Provider) checkDiscovered(local bool) error {
	if p.TokenEndpoint == "" {
		return errors.New("the document names no token_endpoint")
	}
	for _, f := range []struct{ name, url string }{
		{"authorization_endpoint", p.AuthorizationEndpoint}, {"token_endpoint", p.TokenEndpoint},
		{"device_authorization_endpoint", p.DeviceAuthorizationEndpoint}, {"revocation_endpoint", p.RevocationEndpoint},
		{"userinfo_endpoint", p.UserinfoEndpoint},
	} {
		if f.url == "" {
			continue
		}
		if err := CheckURL(f.url); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if u, err := url.Parse(f.url); err == nil && !local && loopback(u.Hostname()) {
			return fmt.Errorf("%s: it points to this machine", f.name)
		}
	}
	return nil
}

// shorten makes a foreign text fit for a message that quotes it.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
