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

// metadata has the fields that are used of OpenID Connect Discovery 1.0 §3 and RFC 8414 §2.
type metadata struct {
	Issuer                      string
	AuthorizationEndpoint       string
	TokenEndpoint               string
	DeviceAuthorizationEndpoint string
	RevocationEndpoint          string
	UserinfoEndpoint            string
	ScopesSupported             []string
	PromptValues                []string // Initiating User Registration via OpenID Connect 1.0 §4
	AuthMethods                 []string
	IssParameter                bool
	// PushedEndpoint is where the server wants each authorization request first (RFC 9126);
	// empty: it doesn't.
	PushedEndpoint string

	RegistrationEndpoint string   // RFC 7591
	ChallengeMethods     []string // of PKCE
	ClientDocuments      bool     // a client id may be the address of its metadata
}

// parseMetadata parses a document; nil: it is not one. A field of the wrong type counts as
// missing; a single value in place of a list is accepted.
func parseMetadata(body []byte) *metadata {
	var m members
	if decodeJSON(body, &m.fields) != nil || m.text("issuer") == "" {
		return nil
	}
	says := func(name string) bool { return strings.Trim(string(m.fields[name]), `"`) == "true" }
	pushed := ""
	if says("require_pushed_authorization_requests") {
		pushed = m.text("pushed_authorization_request_endpoint")
	}
	return &metadata{
		PushedEndpoint: pushed,
		Issuer:         m.text("issuer"), AuthorizationEndpoint: m.text("authorization_endpoint"), TokenEndpoint: m.text("token_endpoint"),
		DeviceAuthorizationEndpoint: m.text("device_authorization_endpoint"), RevocationEndpoint: m.text("revocation_endpoint"),
		UserinfoEndpoint: m.text("userinfo_endpoint"), ScopesSupported: strings.Fields(m.words("scopes_supported")),
		PromptValues: strings.Fields(m.words("prompt_values_supported")),
		AuthMethods:  strings.Fields(m.words("token_endpoint_auth_methods_supported")), IssParameter: says("authorization_response_iss_parameter_supported"),
		RegistrationEndpoint: m.text("registration_endpoint"), ChallengeMethods: strings.Fields(m.words("code_challenge_methods_supported")),
		ClientDocuments: says("client_id_metadata_document_supported"),
	}
}

const maxRedirects = 5

// IssuerError says that a discovery document is for another issuer than the one asked for.
// Ask is that issuer if it is at the same server; then Found is the document's data, for a
// person to decide about. Otherwise Ask is empty.
type IssuerError struct {
	Issuer, Ask string
	Found       Provider
}

func (e *IssuerError) Error() string {
	return fmt.Sprintf("the document is for issuer %q; if that is right, use it as --issuer", shorten(e.Issuer))
}

// Discover reads a provider's data from its issuer, or from the address of the document
// itself. It tries the places of OpenID Connect Discovery, then of RFC 8414, then the path
// alone. The document must name exactly the issuer that was asked (RFC 8414 §3.3), with
// endpoints that a secret may be sent to. Redirects are followed within the issuer's origin
// only. The address of a document may have a query, an issuer may not. The Provider has no
// name yet. The error is an *Error, which may wrap an *IssuerError. No request carries a
// secret.
func (c *Client) Discover(ctx context.Context, issuer string) (Provider, error) {
	fail := func(class Class, err error) (Provider, error) { return Provider{}, &Error{Class: class, Err: err} }
	u, err := url.Parse(issuer)
	if err != nil {
		return fail(Misconfigured, errNoURL)
	}
	if err := checkParsedURL(u); err != nil {
		return fail(Misconfigured, err)
	}
	server := u.Scheme + "://" + u.Host
	path, isDocument := withoutWellKnown(strings.TrimSuffix(u.EscapedPath(), "/"))
	if u.RawQuery != "" && !isDocument {
		return fail(Misconfigured, errors.New("an issuer has no query"))
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	if isDocument {
		issuer = server + path
	}
	places := []string{server + path + openIDConfiguration, server + authorizationServer + path}
	if path != "" {
		places = append(places, server+openIDConfiguration+path, server+path+authorizationServer)
	}
	if u.RawQuery != "" { // as in Azure AD B2C, which names the policy there
		places = []string{u.String()}
	}
	var first error
	for _, at := range places {
		doc, err := c.metadata(ctx, at)
		if err == nil {
			if err = doc.isOf(issuer); isDocument && doc.Issuer == issuer+"/" {
				err = nil // with or without a slash, an issuer's document has the same address
			}
		}
		if err == nil {
			p := doc.provider(strings.Contains(at, openIDConfiguration))
			if err := p.checkDiscovered(loopback(u.Hostname())); err != nil {
				return fail(Misconfigured, err)
			}
			return p, nil
		}
		if wrong, ok := errors.AsType[*IssuerError](err); ok && wrong.Ask != "" {
			if p := doc.provider(strings.Contains(at, openIDConfiguration)); p.checkDiscovered(loopback(u.Hostname())) == nil {
				wrong.Found = p
			}
		}
		if first == nil || isIssuerError(err) && !isIssuerError(first) {
			first = err
		}
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Status == 0 && !isIssuerError(err) {
			break // there is no answer there
		}
	}
	return Provider{}, first
}

// The well-known addresses of OpenID Connect Discovery §4.1 and RFC 8414 §3.1.
const (
	openIDConfiguration = "/.well-known/openid-configuration"
	authorizationServer = "/.well-known/oauth-authorization-server"
)

// withoutWellKnown removes the well-known part from the path of a document's address.
func withoutWellKnown(path string) (rest string, was bool) {
	for _, part := range []string{openIDConfiguration, authorizationServer} {
		if before, ok := strings.CutSuffix(path, part); ok {
			return before, true
		}
		if after, ok := strings.CutPrefix(path, part+"/"); ok {
			return "/" + after, true
		}
	}
	return path, false
}

// manyTenants are the placeholders for every tenant in Microsoft's addresses.
var manyTenants = []string{"common", "organizations", "consumers"}

// isOf reports whether the document is for that issuer, or for all the tenants that the
// issuer stands for.
func (m *metadata) isOf(issuer string) error {
	if m.Issuer == issuer {
		return nil
	}
	for _, all := range manyTenants {
		if strings.Contains(m.Issuer, "/"+tenant+"/") && strings.Replace(m.Issuer, tenant, all, 1) == issuer {
			return nil
		}
	}
	wrong := &IssuerError{Issuer: m.Issuer}
	if sameOrigin(m.Issuer, issuer) && CheckURL(m.Issuer) == nil {
		wrong.Ask = m.Issuer
	}
	return &Error{Class: Misconfigured, Err: wrong}
}

func isIssuerError(err error) bool {
	_, ok := errors.AsType[*IssuerError](err)
	return ok
}

// metadata gets one document. An *Error with a Status says that the server answered with
// something else.
func (c *Client) metadata(ctx context.Context, address string) (*metadata, error) {
	a, err := c.get(ctx, address)
	if err != nil {
		return nil, err
	}
	doc := parseMetadata(a.body)
	if doc == nil {
		return nil, a.fail(Misconfigured, errNoDocument)
	}
	return doc, nil
}

var errNoDocument = errors.New("there is no discovery document")

// get gets a complete document, and follows redirects within its origin.
func (c *Client) get(ctx context.Context, address string) (*answer, error) {
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
		return nil, a.fail(Misconfigured, errNoDocument)
	case a.cut != nil:
		return nil, a.fail(Unknown, a.cut)
	}
	return a, nil
}

func (m *metadata) provider(openID bool) Provider {
	p := Provider{
		Issuer: m.Issuer, AuthorizationEndpoint: m.AuthorizationEndpoint, TokenEndpoint: m.TokenEndpoint,
		DeviceAuthorizationEndpoint: m.DeviceAuthorizationEndpoint, RevocationEndpoint: m.RevocationEndpoint,
		UserinfoEndpoint: m.UserinfoEndpoint, PushedAuthorizationEndpoint: m.PushedEndpoint, IssParameter: m.IssParameter, SelectAccount: slices.Contains(m.PromptValues, selectAccount),
	}
	post, basic := slices.Contains(m.AuthMethods, "client_secret_post"), slices.Contains(m.AuthMethods, "client_secret_basic")
	switch {
	case post && basic: // often different for each client (Ory, Auth0, OneLogin): a login finds out
	case post:
		p.AuthStyle = AuthParams
	case basic:
		p.AuthStyle = AuthHeader
	case slices.Contains(m.AuthMethods, "none"):
		p.AuthStyle = AuthNone
	}
	for _, s := range []string{"openid", "profile", "email", offlineAccess} {
		// The list is optional and may be incomplete; openid makes it OpenID Connect.
		if slices.Contains(m.ScopesSupported, s) || s == "openid" && openID {
			p.Scopes = append(p.Scopes, s)
		}
	}
	if slices.Contains(p.Scopes, "openid") {
		p.IdentityFrom = IdentityFromIDToken
	}
	return p.withConsent()
}

// checkDiscovered is stricter than Validate: a document from elsewhere must not point to
// servers of this machine.
func (p Provider) checkDiscovered(local bool) error {
	if p.TokenEndpoint == "" {
		return errors.New("the document has no token_endpoint")
	}
	for _, f := range []struct{ name, url string }{
		{"authorization_endpoint", p.AuthorizationEndpoint}, {"token_endpoint", p.TokenEndpoint},
		{"device_authorization_endpoint", p.DeviceAuthorizationEndpoint}, {"revocation_endpoint", p.RevocationEndpoint},
		{"userinfo_endpoint", p.UserinfoEndpoint}, {"pushed_authorization_request_endpoint", p.PushedAuthorizationEndpoint},
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

// shorten cuts a foreign text for a message that quotes it.
func shorten(s string) string {
	const most = 200
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}
