package oauth

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// Remote is a remote MCP server, as it and its authorization server describe themselves. It
// is used for one login; the next one asks again.
type Remote struct {
	Address  string // the address that was asked
	Resource string // the resource that tokens are for (RFC 8707); it covers Address
	Name     string // resource_name; text from the server, at most 200 bytes
	// Issuers are the authorization servers that the resource names; Provider is that of
	// the chosen one.
	Issuers  []string
	Provider Provider // without a name and a client
	Scopes   []string // those that the server asks for, or all that it knows; may be empty

	Documents    bool   // a client id may be the address of a metadata document
	registration string // endpoint (RFC 7591); empty: none
	authMethods  []string
	device       bool
	client       *Client
}

// CanRegister reports whether the authorization server registers clients (RFC 7591).
func (r *Remote) CanRegister() bool { return r.registration != "" }

// Client returns a Client for r's authorization server, which connects to no server that is
// nearer to this machine than r itself.
func (r *Remote) Client() *Client { return r.client }

// ErrOpen says that a server requires no token.
var ErrOpen = errors.New("the server requires no login")

// ErrNoMetadata says that a server names no authorization server and is none itself.
var ErrNoMetadata = errors.New("the server does not say where to log in")

// NotTrustedError says that a server doesn't name the issuer that was asked for.
type NotTrustedError struct {
	Issuer  string
	Issuers []string // that it names
}

func (e *NotTrustedError) Error() string {
	return fmt.Sprintf("the server does not trust issuer %q", e.Issuer)
}

// ErrNoPKCE says that an authorization server doesn't support PKCE with S256, without which
// a code could be stolen on its way.
var ErrNoPKCE = errors.New("the authorization server does not support PKCE (S256)")

// FindRemote asks a remote MCP server which authorization server issues its tokens (RFC
// 9728), and that one for its endpoints (RFC 8414), as in the MCP specification of
// 2026-07-28. issuer chooses one of several; empty: the first. No request contains a
// secret. It takes at most 30 seconds and 12 requests, and no document may lead to an
// address that is nearer to this machine than the server itself.
//
// The error is an *Error, which may wrap ErrOpen, ErrNoMetadata, ErrNoPKCE, an
// *IssuerError, a *NotTrustedError or a *WrongResourceError.
func (c *Client) FindRemote(ctx context.Context, address, issuer string) (*Remote, error) {
	return c.findRemote(ctx, address, issuer, false)
}

// FindService is FindRemote for a login without a person, which needs no place to log in
// at and no PKCE.
func (c *Client) FindService(ctx context.Context, address, issuer string) (*Remote, error) {
	return c.findRemote(ctx, address, issuer, true)
}

func (c *Client) findRemote(ctx context.Context, address, issuer string, service bool) (*Remote, error) {
	if err := CheckServer(address); err != nil {
		return nil, &Error{Class: Misconfigured, Err: err}
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, &Error{Class: Misconfigured, Err: errNoURL}
	}
	ctx, cancel := context.WithTimeout(ctx, exploreTime)
	defer cancel()
	x := c.exploring()
	open, asked, err := x.probe(ctx, address)
	if err != nil {
		return nil, err
	}
	r := &Remote{Address: address, Resource: address}
	doc, err := x.resource(ctx, u, asked.ResourceMetadata)
	switch {
	case err != nil:
		return nil, err
	case doc != nil:
		if !Covers(doc.Resource, address) {
			return nil, &Error{Class: Misconfigured, Err: &WrongResourceError{address, doc.Resource}}
		}
		r.Resource, r.Name, r.Issuers, r.Scopes = doc.Resource, clip(doc.Name), doc.AuthorizationServers, doc.Scopes
	case open:
		return nil, &Error{Class: Misconfigured, Err: ErrOpen}
	}
	if len(asked.Scopes) > 0 {
		r.Scopes = asked.Scopes
	}
	if len(r.Issuers) == 0 { // as in the specification of 2025-03-26
		r.Issuers = []string{u.Scheme + "://" + u.Host}
	}
	at := cmp.Or(issuer, r.Issuers[0])
	if !slices.Contains(r.Issuers, at) {
		return nil, &Error{Class: Misconfigured, Err: &NotTrustedError{issuer, r.Issuers}}
	}
	m, openID, err := x.server(ctx, at, loopback(u.Hostname()), doc == nil)
	if err != nil {
		if failed, ok := errors.AsType[*Error](err); ok && doc == nil && failed.Status != 0 && !isIssuerError(err) {
			failed.Err = ErrNoMetadata
		}
		return nil, err
	}
	return r, r.take(m, openID, service, x)
}

// take fills in the authorization server's metadata.
func (r *Remote) take(m *metadata, openID, service bool, x *Client) error {
	switch {
	case service:
	case m.AuthorizationEndpoint == "" && m.DeviceAuthorizationEndpoint == "":
		return &Error{Class: Misconfigured, Err: errors.New("the document has no authorization_endpoint")}
	case !slices.Contains(m.ChallengeMethods, "S256"):
		return &Error{Class: Misconfigured, Err: ErrNoPKCE}
	}
	r.Provider = m.provider(openID)
	r.Provider.MCP, r.Provider.Resource = r.Address, r.Resource
	// OpenID Connect is the authorization server's business, not the resource's. A scope
	// that isn't asked for can't be missing.
	r.Provider.Scopes, r.Provider.IdentityFrom, r.Provider.AuthorizeParams = nil, "", nil
	r.Documents, r.registration, r.authMethods, r.device = m.ClientDocuments, m.RegistrationEndpoint, m.AuthMethods, m.DeviceAuthorizationEndpoint != ""
	if !service && slices.Contains(m.ScopesSupported, offlineAccess) && !slices.Contains(r.Scopes, offlineAccess) {
		r.Scopes = append(slices.Clip(r.Scopes), offlineAccess)
	}
	r.client = x.settled()
	return nil
}

// discovery is a request that servers answer in different ways, but that none carries out
// without a token. A server from before 2026-07-28 doesn't know the method; a later one
// sends no challenge to requests that look like an older client's.
const discovery = `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`

// probe asks the MCP server without a token. open: it didn't ask for one.
func (c *Client) probe(ctx context.Context, address string) (open bool, asked Challenge, err error) {
	ctx, cancel := context.WithTimeout(ctx, documentTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader([]byte(discovery)))
	if err != nil {
		return false, asked, &Error{Class: Misconfigured, Err: errNoURL}
	}
	for name, value := range map[string]string{
		"Content-Type": jsonType, "Accept": jsonType + ", text/event-stream", "User-Agent": c.userAgent(),
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "server/discover",
	} {
		req.Header.Set(name, value)
	}
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		return false, asked, &Error{Class: Unsent, Err: describe(err)}
	}
	defer res.Body.Close()
	asked, challenged := ParseChallenge(res.Header)
	return !challenged && res.StatusCode != http.StatusUnauthorized, asked, nil
}

// resource reads the metadata of the resource at u: at the address in the challenge, else
// at the well-known places. An address at another server is never asked, because only the
// resource's own server can know. nil: there is none.
func (c *Client) resource(ctx context.Context, u *url.URL, named string) (*resourceMetadata, error) {
	places := resourcePlaces(u)
	if at, err := url.Parse(named); named != "" && err == nil && checkParsedURL(at) == nil && originOf(at) == originOf(u) {
		places = append([]string{named}, slices.DeleteFunc(places, func(p string) bool { return p == named })...)
	}
	for _, at := range places {
		a, err := c.document(ctx, at)
		if err != nil {
			if failed, ok := errors.AsType[*Error](err); ok && failed.Status == 0 {
				return nil, err
			}
			continue
		}
		if doc := parseResource(a.body); doc != nil {
			return doc, nil
		}
	}
	return nil, nil //nolint:nilnil // a server of 2025-03-26 has none
}

// server reads the metadata of an issuer at the places of the MCP specification: RFC 8414,
// then OpenID Connect with the path inserted, then appended. openID: it was found at one of
// the latter two. guessed: the issuer was not named, so it may end in a slash.
func (c *Client) server(ctx context.Context, issuer string, near, guessed bool) (m *metadata, openID bool, err error) {
	u, err := url.Parse(issuer)
	if err != nil {
		return nil, false, &Error{Class: Misconfigured, Err: fmt.Errorf("the issuer: %w", errNoURL)}
	}
	if err := checkParsedURL(u); err != nil || u.RawQuery != "" {
		return nil, false, &Error{Class: Misconfigured, Err: fmt.Errorf("the issuer: %w", cmp.Or(err, errors.New("it has a query")))}
	}
	if !near && loopback(u.Hostname()) {
		return nil, false, &Error{Class: Misconfigured, Err: fmt.Errorf("the issuer: %w", errNear)}
	}
	server, path := u.Scheme+"://"+u.Host, strings.TrimSuffix(u.EscapedPath(), "/")
	places := []string{server + authorizationServer + path, server + openIDConfiguration + path}
	if path != "" {
		places = append(places, server+path+openIDConfiguration)
	}
	var first error
	for _, at := range places {
		a, err := c.document(ctx, at)
		if err == nil {
			if m = parseMetadata(a.body); m == nil {
				err = a.fail(Misconfigured, errNoDocument)
			} else if err = m.of(issuer); err == nil || guessed && m.Issuer == issuer+"/" {
				return m, strings.Contains(at, openIDConfiguration), m.provider(false).checkRemote(near)
			}
		}
		if first == nil || isIssuerError(err) && !isIssuerError(first) {
			first = err
		}
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Status == 0 && !isIssuerError(err) {
			break // there is no answer there
		}
	}
	return nil, false, first
}

// of reports whether the document is for that issuer, byte for byte (RFC 8414 §3.3).
func (m *metadata) of(issuer string) error {
	if m.Issuer == issuer {
		return nil
	}
	return &Error{Class: Misconfigured, Err: &IssuerError{Issuer: m.Issuer}}
}

// checkRemote is checkDiscovered for a login.
func (p Provider) checkRemote(near bool) error {
	if err := p.checkDiscovered(near); err != nil {
		return &Error{Class: Misconfigured, Err: err}
	}
	return nil
}

// document gets one document, and follows redirects within its server only.
func (c *Client) document(ctx context.Context, address string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTime)
	defer cancel()
	return c.get(ctx, address)
}

// clip cuts a server's text for a line that shows it. The caller escapes it.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.TrimSpace(s)
}

// HostOf is the host of an address, for people; anything else is returned unchanged.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return u.Host
}
