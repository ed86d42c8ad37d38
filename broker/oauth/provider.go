package oauth

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Provider is how to log in to an authorization server and how its tokens are
// used; or a service that issues API keys, without a token endpoint. It is data
// alone: no client secret, nothing about an account.
type Provider struct {
	Name   string `toml:"-" json:"name"`
	Source string `toml:"-" json:"source,omitempty"` // SourceBuiltin or SourceOwn

	Issuer string `toml:"issuer,omitempty" json:"issuer,omitempty"`
	// IssuerAliases are other names that the server has for itself: Google's ID tokens
	// name accounts.google.com, without a scheme, as well.
	IssuerAliases               []string `toml:"issuer_aliases,omitempty" json:"issuer_aliases,omitempty"`
	AuthorizationEndpoint       string   `toml:"authorization_endpoint,omitempty" json:"authorization_endpoint,omitempty"`
	TokenEndpoint               string   `toml:"token_endpoint,omitempty" json:"token_endpoint,omitempty"`
	DeviceAuthorizationEndpoint string   `toml:"device_authorization_endpoint,omitempty" json:"device_authorization_endpoint,omitempty"`
	RevocationEndpoint          string   `toml:"revocation_endpoint,omitempty" json:"revocation_endpoint,omitempty"`
	UserinfoEndpoint            string   `toml:"userinfo_endpoint,omitempty" json:"userinfo_endpoint,omitempty"`

	ClientID     string   `toml:"client_id,omitempty" json:"client_id,omitempty"`
	AuthStyle    string   `toml:"auth_style,omitempty" json:"auth_style,omitempty"`       // an Auth… constant; empty: params, or what a login finds out
	TokenRequest string   `toml:"token_request,omitempty" json:"token_request,omitempty"` // an Encoding… constant; empty: form
	Scopes       []string `toml:"scopes,omitempty" json:"scopes,omitempty"`

	// RedirectURI is a loopback one (any port if it names none). PasteRedirectURI
	// is a page of the provider that shows the code to be copied; PasteStateless:
	// without the state beside it.
	RedirectURI      string `toml:"redirect_uri,omitempty" json:"redirect_uri,omitempty"`
	PasteRedirectURI string `toml:"paste_redirect_uri,omitempty" json:"paste_redirect_uri,omitempty"`
	PasteStateless   bool   `toml:"paste_stateless,omitempty" json:"paste_stateless,omitempty"`
	// AuthorizeParams go into the authorization request besides the standard's.
	AuthorizeParams map[string]string `toml:"extra_authorize_params,omitempty" json:"extra_authorize_params,omitempty"`
	// SelectAccount: asked with prompt=select_account (OpenID Connect Core §3.1.2.1), the
	// server lets the person choose among the accounts that the browser is logged in to.
	SelectAccount bool `toml:"select_account,omitempty" json:"select_account,omitempty"`
	// IssParameter: the redirect names the issuer (RFC 9207), so it must.
	IssParameter bool   `toml:"iss_parameter,omitempty" json:"iss_parameter,omitempty"`
	IdentityFrom string `toml:"identity_from,omitempty" json:"identity_from,omitempty"` // an Identity… constant

	// Headers and APIKeyHeaders are templates, "authorization: Bearer {token}".
	Headers       []string `toml:"headers,omitempty" json:"headers,omitempty"`
	APIKeyHeaders []string `toml:"api_key_headers,omitempty" json:"api_key_headers,omitempty"`
	APIOrigins    []string `toml:"api_origins,omitempty" json:"api_origins,omitempty"`         // where tokens may be sent
	APIBase       string   `toml:"api_base,omitempty" json:"api_base,omitempty"`               // as in API
	APIPaths      []string `toml:"api_paths,omitempty" json:"api_paths,omitempty"`             // likewise
	APIKeyOrigins []string `toml:"api_key_origins,omitempty" json:"api_key_origins,omitempty"` // APIs that take API keys alone, and no login's token
	ListHeaders   []string `toml:"list_headers,omitempty" json:"list_headers,omitempty"`       // headers whose value is a list
	Env           []string `toml:"env,omitempty" json:"env,omitempty"`                         // variables for the token in exec
	APIKeyEnv     []string `toml:"api_key_env,omitempty" json:"api_key_env,omitempty"`         // likewise for an API key
	DeadCodes     []string `toml:"dead_codes,omitempty" json:"dead_codes,omitempty"`           // as in Endpoint

	// Prefixes are how this provider's credentials begin, TokenLifetime how long a
	// long-lived token lasts, and TokenCommand what makes one.
	Prefixes      map[Credential][]string `toml:"prefixes,omitempty" json:"prefixes,omitempty"`
	TokenLifetime string                  `toml:"token_lifetime,omitempty" json:"token_lifetime,omitempty"`
	TokenCommand  string                  `toml:"token_command,omitempty" json:"token_command,omitempty"`

	// MCP is the address of the remote MCP server that this provider's tokens are for,
	// and Resource its name for itself (RFC 8707). Registration is how ClientID came to
	// be; empty: a person gave it.
	MCP          string `toml:"mcp,omitempty" json:"mcp,omitempty"`
	Resource     string `toml:"resource,omitempty" json:"resource,omitempty"`
	Registration string `toml:"registration,omitempty" json:"registration,omitempty"` // a Registration… constant

	TermsURL    string `toml:"terms_url,omitempty" json:"terms_url,omitempty"`
	TermsNotice string `toml:"terms_notice,omitempty" json:"terms_notice,omitempty"` // what a person should know of them
}

// Where a Provider comes from.
const (
	SourceBuiltin = "builtin"
	SourceOwn     = "own"
)

// How a client of a remote MCP server's authorization server came to be one.
const (
	RegistrationGiven    = "given"    // a person registered it
	RegistrationDocument = "document" // its id is the address of its metadata
	RegistrationDynamic  = "dynamic"  // authferry registered it (RFC 7591)
)

// Service is the remote MCP server that a login is for, and how its client came to be,
// as its grant pins it beside what its Endpoint has.
type Service struct {
	Address         string    `json:"address"`        // that a person logged in to
	Name            string    `json:"name,omitempty"` // resource_name; the server's text
	Registration    string    `json:"registration"`   // a Registration… constant
	RedirectURI     string    `json:"redirect_uri,omitempty"`
	SecretExpiresAt time.Time `json:"secret_expires_at,omitzero"` // the client's; zero: never
	Asked           []string  `json:"asked,omitempty"`            // every scope that was asked for so far
}

// IsZero reports that a login is for no remote MCP server.
func (s Service) IsZero() bool { return s.Address == "" }

// Where the identity of a login stands.
const (
	IdentityFromIDToken  = "id-token"
	IdentityFromUserinfo = "userinfo"
	IdentityFromResponse = "response" // the token endpoint's own
)

// Endpoint is what a new grant of p pins. The client's secret is not in it.
func (p Provider) Endpoint() Endpoint {
	return Endpoint{
		Issuer: p.Issuer, TokenEndpoint: p.TokenEndpoint, RevocationEndpoint: p.RevocationEndpoint, UserinfoEndpoint: p.UserinfoEndpoint,
		ClientID: p.ClientID, AuthStyle: p.AuthStyle, Encoding: p.TokenRequest, DeadCodes: slices.Clone(p.DeadCodes),
		Resource: p.Resource,
	}
}

// canonical returns p's issuer for any of the names that it has, and every other issuer
// as it is.
func (p Provider) canonical(issuer string) string {
	if p.Issuer != "" && slices.Contains(p.IssuerAliases, issuer) {
		return p.Issuer
	}
	return issuer
}

// IsIssuer reports whether issuer is a name of p's.
func (p Provider) IsIssuer(issuer string) bool {
	return issuer != "" && p.canonical(issuer) == p.Issuer
}

// TokenHeaders are the header templates for an access token.
func (p Provider) TokenHeaders() []string {
	if len(p.Headers) == 0 {
		return []string{bearer}
	}
	return slices.Clone(p.Headers)
}

// KeyHeaders are the header templates for an API key: those for a token where the
// provider has none of their own.
func (p Provider) KeyHeaders() []string {
	if len(p.APIKeyHeaders) == 0 {
		return p.TokenHeaders()
	}
	return slices.Clone(p.APIKeyHeaders)
}

// KeyEnv is Env for an API key.
func (p Provider) KeyEnv() []string {
	if len(p.APIKeyEnv) == 0 {
		return slices.Clone(p.Env)
	}
	return slices.Clone(p.APIKeyEnv)
}

// reservedParams are those that a login sets, or that would end its protection.
var reservedParams = []string{
	"client_id", "client_secret", "code_challenge", "code_challenge_method", "nonce",
	"redirect_uri", "request", "request_uri", "response_mode", "response_type", "scope", "state",
}

// Validate names the first thing in p that does not do.
func (p Provider) Validate() error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	for _, f := range []struct{ name, url string }{
		{"issuer", p.Issuer}, {"authorization_endpoint", p.AuthorizationEndpoint}, {"token_endpoint", p.TokenEndpoint},
		{"device_authorization_endpoint", p.DeviceAuthorizationEndpoint}, {"revocation_endpoint", p.RevocationEndpoint},
		{"userinfo_endpoint", p.UserinfoEndpoint}, {"redirect_uri", p.RedirectURI}, {"paste_redirect_uri", p.PasteRedirectURI},
		{"terms_url", p.TermsURL}, {"mcp", p.MCP}, {"resource", p.Resource},
	} {
		if f.url == "" {
			continue
		}
		if err := CheckURL(f.url); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	for _, f := range []struct {
		name, value string
		known       []string
	}{
		{"auth_style", p.AuthStyle, []string{AuthParams, AuthHeader, AuthNone}},
		{"token_request", p.TokenRequest, []string{EncodingForm, EncodingJSON}},
		{"registration", p.Registration, []string{RegistrationGiven, RegistrationDocument, RegistrationDynamic}},
		{"identity_from", p.IdentityFrom, []string{IdentityFromIDToken, IdentityFromUserinfo, IdentityFromResponse}},
	} {
		if f.value != "" && !slices.Contains(f.known, f.value) {
			return fmt.Errorf("%s: it is one of %s", f.name, strings.Join(f.known, ", "))
		}
	}
	for _, f := range []struct {
		name   string
		values []string
		check  func(string) error
	}{
		{"client_id", []string{p.ClientID}, printable},
		{"terms_notice", []string{p.TermsNotice}, oneLine},
		{"issuer_aliases", p.IssuerAliases, checkScope},
		{"scopes", p.Scopes, checkScope},
		{"dead_codes", p.DeadCodes, checkMessage},
		{"env", slices.Concat(p.Env, p.APIKeyEnv), checkEnv},
		{"api_origins", p.APIOrigins, func(s string) error { _, err := Origin(s); return err }},
		{"api_key_origins", p.APIKeyOrigins, func(s string) error { _, err := Origin(s); return err }},
		{"list_headers", p.ListHeaders, checkHeaderName},
		{"api_base", []string{p.APIBase}, func(s string) error { return checkBase(s, p.APIOrigins) }},
		{"api_paths", p.APIPaths, checkPath},
		{"extra_authorize_params", slices.Sorted(maps.Keys(p.AuthorizeParams)), checkParam},
		{"extra_authorize_params", slices.Sorted(maps.Values(p.AuthorizeParams)), printable},
	} {
		for _, v := range f.values {
			if err := f.check(v); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	if p.MCP != "" || p.Resource != "" {
		if err := p.checkService(); err != nil {
			return err
		}
	}
	if err := checkHeaders(p.Headers); err != nil {
		return fmt.Errorf("headers: %w", err)
	}
	if err := checkHeaders(p.APIKeyHeaders); err != nil {
		return fmt.Errorf("api_key_headers: %w", err)
	}
	return p.checkCredentials()
}

// checkService holds that a remote MCP server's tokens go to it alone.
func (p Provider) checkService() error {
	if err := CheckServer(p.MCP); err != nil {
		return fmt.Errorf("mcp: %w", err)
	}
	if !Covers(p.Resource, p.MCP) {
		return errors.New("resource: it is not that of the server at mcp")
	}
	if len(p.APIOrigins) > 0 || p.APIBase != "" {
		return errors.New("api_origins: the tokens of a remote MCP server go to that server alone")
	}
	return nil
}

// normal is p with its origins in their comparable form; p is valid.
func (p Provider) normal() Provider {
	p.APIOrigins, p.APIKeyOrigins = comparableOrigins(p.APIOrigins), comparableOrigins(p.APIKeyOrigins)
	return p
}

func comparableOrigins(raw []string) (origins []string) {
	for _, r := range raw {
		if o, err := Origin(r); err == nil && !slices.Contains(origins, o) {
			origins = append(origins, o)
		}
	}
	return origins
}

const maxName = 64

// takenName is a command's where a provider's name may stand as well (mcp connect).
const takenName = "connect"

func checkName(name string) error {
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && !strings.ContainsRune("-._", r)
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, odd) || strings.ContainsAny(name[:1], "-._") {
		return fmt.Errorf("a provider's name is 1 to %d lower-case letters, digits and any of - . _, and begins with a letter or digit", maxName)
	}
	if name == takenName {
		return fmt.Errorf("no provider can be called %s", name)
	}
	return nil
}

func printable(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) {
		return errors.New("it has characters other than printable ASCII")
	}
	return nil
}

func oneLine(s string) error {
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r >= 0x7f && r < 0xa0 }) {
		return errors.New("it has control characters")
	}
	return nil
}

// checkScope is RFC 6749 §3.3.
func checkScope(s string) error {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
		return errors.New("one scope is printable ASCII without spaces")
	}
	return nil
}

func checkMessage(s string) error {
	if s == "" || len(s) > maxMessage {
		return fmt.Errorf("a code or message has 1 to %d characters", maxMessage)
	}
	return nil
}

func checkEnv(s string) error {
	for i, r := range s {
		if r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (i == 0 || r < '0' || r > '9') {
			return errors.New("a variable's name is letters, digits and _, and begins with no digit")
		}
	}
	if s == "" {
		return errors.New("a variable needs a name")
	}
	if upper := strings.ToUpper(s); !forTokens().MatchString(upper) || strings.HasPrefix(upper, "GIT_") || strings.HasPrefix(upper, "AUTHFERRY_") {
		return fmt.Errorf("%s is not a variable for a token: those end in _TOKEN, _KEY, _SECRET, _PASSWORD or _PAT, and are neither git's nor authferry's; "+
			"where a program wants it in another one, name that at the call (exec --env NAME)", s)
	}
	return nil
}

// forTokens are the variables that a provider's data may put a token into. Of the
// others too many are run, loaded or sent somewhere by one program or another to
// list those that are: what a person types after exec --env is their own word, what
// a file says is not.
var forTokens = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Z_][A-Z0-9_]*_)?(TOKEN|(API)?KEY|SECRET|PASSWORD|PAT)$`)
})

func checkParam(name string) error {
	if name == "" || slices.Contains(reservedParams, name) {
		return fmt.Errorf("%q is set by the login itself", name)
	}
	return printable(name)
}
