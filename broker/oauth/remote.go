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

// Remote is a remote MCP server, by what it and its authorization server say of
// themselves. It is one login's: the next one looks again.
type Remote struct {
	Address  string // that was asked
	Resource string // what tokens are asked for (RFC 8707); covers Address
	Name     string // resource_name; the server's text, at most 200 bytes
	// Issuers are the authorization servers that the resource names; Provider is of the
	// one that was chosen.
	Issuers  []string
	Provider Provider // without a name and a client
	Scopes   []string // that the server asks a login for, or all that it knows; may be empty

	Documents    bool   // a client id may be the address of a metadata document
	registration string // endpoint (RFC 7591); empty: none
	authMethods  []string
	device       bool
	client       *Client
}

// CanRegister reports that the authorization server registers clients (RFC 7591).
func (r *Remote) CanRegister() bool { return r.registration != "" }

// Client asks r's authorization server, and no server that is nearer than r itself.
func (r *Remote) Client() *Client { return r.client }

// ErrOpen says that a server asks nobody for a token.
var ErrOpen = errors.New("the server requires no login")

// ErrNoMetadata says that a server names no authorization server, and has none itself.
var ErrNoMetadata = errors.New("the server does not say where to log in")

// NotTrustedError says that a server does not name the issuer that was asked for.
type NotTrustedError struct {
	Issuer  string
	Issuers []string // that it names
}

func (e *NotTrustedError) Error() string {
	return fmt.Sprintf("the server does not trust issuer %q", e.Issuer)
}

// ErrNoPKCE says that an authorization server does not support PKCE with S256, without
// which a code can be stolen on its way.
var ErrNoPKCE = errors.New("the authorization server does not support PKCE (S256)")

// FindRemote asks a remote MCP server which authorization server issues its tokens
// (RFC 9728), and that one for its endpoints (RFC 8414), as the MCP specification of
// 2026-07-28 has it. issuer chooses among several; empty: the first. Nothing that is
// sent carries a secret. All of it takes at most 30 seconds and 12 requests, and no
// document leads nearer to this machine than the server itself is.
//
// The error is an *Error, which may wrap ErrOpen, ErrNoMetadata, ErrNoPKCE, an
// *IssuerError, a *NotTrustedError or a *WrongResourceError.
func (c *Client) FindRemote(ctx context.Context, address, issuer string) (*Remote, error) {
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
	return r, r.take(m, openID, x)
}

// take fills in what the authorization server says.
func (r *Remote) take(m *metadata, openID bool, x *Client) error {
	if !slices.Contains(m.ChallengeMethods, "S256") {
		return &Error{Class: Misconfigured, Err: ErrNoPKCE}
	}
	r.Provider = m.provider(openID)
	r.Provider.MCP, r.Provider.Resource = r.Address, r.Resource
	// OpenID Connect is the authorization server's, not the resource's: what isn't asked
	// for can't be missing.
	r.Provider.Scopes, r.Provider.IdentityFrom, r.Provider.AuthorizeParams = nil, "", nil
	r.Documents, r.registration, r.authMethods, r.device = m.ClientDocuments, m.RegistrationEndpoint, m.AuthMethods, m.DeviceAuthorizationEndpoint != ""
	if slices.Contains(m.ScopesSupported, offlineAccess) && !slices.Contains(r.Scopes, offlineAccess) {
		r.Scopes = append(slices.Clip(r.Scopes), offlineAccess)
	}
	r.client = x.settled()
	return nil
}

// discovery is a request that each server answers in its own way and none carries out
// without a token: one of before 2026-07-28 doesn't know the method, one of after gives
// no challenge to what it takes for an older client's.
const discovery = `{"jsonrpc":"2.0","id":1,"method":"server/discover","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`

// probe asks the MCP server without a token. open: it did not ask for one.
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

// resource reads the metadata of the resource at u: where the challenge says, else at
// the well-known places. A place at another server is not asked, whoever names it: only
// the resource's own server knows. nil: there is none.
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

// server reads the metadata of an issuer where the MCP specification has it: RFC 8414,
// then OpenID Connect with the path inserted, then with it appended. openID: it was one
// of the latter two. guessed: nobody named the issuer, so it may have a slash at its end.
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
			break // nobody answers there
		}
	}
	return nil, false, first
}

// of reports whether the document is of that issuer, byte for byte (RFC 8414 §3.3).
func (m *metadata) of(issuer string) error {
	if m.Issuer == issuer {
		return nil
	}
	return &Error{Class: Misconfigured, Err: &IssuerError{Issuer: m.Issuer}}
}

// checkRemote is checkDiscovered for a login: it needs a place to log in at, too.
func (p Provider) checkRemote(near bool) error {
	err := p.checkDiscovered(near)
	if err == nil && p.AuthorizationEndpoint == "" && p.DeviceAuthorizationEndpoint == "" {
		err = errors.New("the document has no authorization_endpoint")
	}
	if err != nil {
		return &Error{Class: Misconfigured, Err: err}
	}
	return nil
}

// document gets one document, and follows redirects within its server alone.
func (c *Client) document(ctx context.Context, address string) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTime)
	defer cancel()
	return c.get(ctx, address)
}

// clip makes a server's text fit for a line that shows it; who prints it escapes it.
func clip(s string) string {
	s = strings.ToValidUTF8(s, "")
	const most = 200
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "")
	}
	return strings.TrimSpace(s)
}

// HostOf is the host of an address, for a person to read; what is none is itself.
func HostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return address
	}
	return u.Host
}
