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

// Provider says how to log in to an authorization server and how its tokens are used; or it
// is a service that issues API keys, without a token endpoint. It has no client secret and
// nothing about an account.
type Provider struct {
	Name   string `toml:"-" json:"name"`
	Source string `toml:"-" json:"source,omitempty"` // SourceBuiltin or SourceOwn

	Issuer string `toml:"issuer,omitempty" json:"issuer,omitempty"`
	// IssuerAliases are other names by which the server calls itself: Google's ID tokens
	// also have accounts.google.com, without a scheme.
	IssuerAliases               []string `toml:"issuer_aliases,omitempty" json:"issuer_aliases,omitempty"`
	AuthorizationEndpoint       string   `toml:"authorization_endpoint,omitempty" json:"authorization_endpoint,omitempty"`
	TokenEndpoint               string   `toml:"token_endpoint,omitempty" json:"token_endpoint,omitempty"`
	DeviceAuthorizationEndpoint string   `toml:"device_authorization_endpoint,omitempty" json:"device_authorization_endpoint,omitempty"`
	RevocationEndpoint          string   `toml:"revocation_endpoint,omitempty" json:"revocation_endpoint,omitempty"`
	UserinfoEndpoint            string   `toml:"userinfo_endpoint,omitempty" json:"userinfo_endpoint,omitempty"`
	// PushedAuthorizationEndpoint is where each request for consent is sent beforehand
	// (RFC 9126); empty: nowhere.
	PushedAuthorizationEndpoint string `toml:"pushed_authorization_request_endpoint,omitempty" json:"pushed_authorization_request_endpoint,omitempty"`

	ClientID     string   `toml:"client_id,omitempty" json:"client_id,omitempty"`
	AuthStyle    string   `toml:"auth_style,omitempty" json:"auth_style,omitempty"`       // an Auth… constant; empty: params, or as a login finds out
	TokenRequest string   `toml:"token_request,omitempty" json:"token_request,omitempty"` // an Encoding… constant; empty: form
	Scopes       []string `toml:"scopes,omitempty" json:"scopes,omitempty"`

	// RedirectURI is a loopback address (any port, if it has none). PasteRedirectURI is a
	// page of the provider that shows the code, to be copied. PasteStateless: it shows no
	// state.
	RedirectURI      string `toml:"redirect_uri,omitempty" json:"redirect_uri,omitempty"`
	PasteRedirectURI string `toml:"paste_redirect_uri,omitempty" json:"paste_redirect_uri,omitempty"`
	PasteStateless   bool   `toml:"paste_stateless,omitempty" json:"paste_stateless,omitempty"`
	// AuthorizeParams are additional parameters of the authorization request.
	AuthorizeParams map[string]string `toml:"extra_authorize_params,omitempty" json:"extra_authorize_params,omitempty"`
	// SelectAccount: if asked with prompt=select_account (OpenID Connect Core §3.1.2.1),
	// the server lets the person choose among the accounts that the browser is logged in
	// to.
	SelectAccount bool `toml:"select_account,omitempty" json:"select_account,omitempty"`
	// IssParameter: the redirect contains the issuer (RFC 9207), and must.
	IssParameter bool   `toml:"iss_parameter,omitempty" json:"iss_parameter,omitempty"`
	IdentityFrom string `toml:"identity_from,omitempty" json:"identity_from,omitempty"` // an Identity… constant

	// Headers and APIKeyHeaders are templates, "authorization: Bearer {token}".
	Headers       []string `toml:"headers,omitempty" json:"headers,omitempty"`
	APIKeyHeaders []string `toml:"api_key_headers,omitempty" json:"api_key_headers,omitempty"`
	APIOrigins    []string `toml:"api_origins,omitempty" json:"api_origins,omitempty"`         // where tokens may be sent
	APIBase       string   `toml:"api_base,omitempty" json:"api_base,omitempty"`               // as in API
	APIPaths      []string `toml:"api_paths,omitempty" json:"api_paths,omitempty"`             // likewise
	APIKeyOrigins []string `toml:"api_key_origins,omitempty" json:"api_key_origins,omitempty"` // APIs that take API keys only, not a login's token
	ListHeaders   []string `toml:"list_headers,omitempty" json:"list_headers,omitempty"`       // headers whose value is a list
	Env           []string `toml:"env,omitempty" json:"env,omitempty"`                         // variables for the token in exec
	APIKeyEnv     []string `toml:"api_key_env,omitempty" json:"api_key_env,omitempty"`         // likewise for an API key
	DeadCodes     []string `toml:"dead_codes,omitempty" json:"dead_codes,omitempty"`           // as in Endpoint
	// RefreshGrace is how long after its first use the server takes a refresh token again, in
	// case the answer was lost: "30s".
	RefreshGrace string `toml:"refresh_token_grace,omitempty" json:"refresh_token_grace,omitempty"`

	// Prefixes are the beginnings of this provider's credentials, TokenLifetime how long a
	// long-lived token is valid, TokenCommand the command that makes one.
	Prefixes      map[Credential][]string `toml:"prefixes,omitempty" json:"prefixes,omitempty"`
	TokenLifetime string                  `toml:"token_lifetime,omitempty" json:"token_lifetime,omitempty"`
	TokenCommand  string                  `toml:"token_command,omitempty" json:"token_command,omitempty"`

	// MCP is the address of the remote MCP server that this provider's tokens are for, and
	// Resource the server's name for itself (RFC 8707). Registration says where ClientID
	// comes from; empty: a person gave it.
	MCP          string `toml:"mcp,omitempty" json:"mcp,omitempty"`
	Resource     string `toml:"resource,omitempty" json:"resource,omitempty"`
	Registration string `toml:"registration,omitempty" json:"registration,omitempty"` // a Registration… constant

	TermsURL    string `toml:"terms_url,omitempty" json:"terms_url,omitempty"`
	TermsNotice string `toml:"terms_notice,omitempty" json:"terms_notice,omitempty"` // a notice for the person at the first login
}

// Where a Provider comes from.
const (
	SourceBuiltin = "builtin"
	SourceOwn     = "own"
)

// Where the client of a remote MCP server's login comes from.
const (
	RegistrationGiven    = "given"    // a person registered it
	RegistrationDocument = "document" // its id is the address of its metadata
	RegistrationDynamic  = "dynamic"  // authferry registered it (RFC 7591)
)

// Service is the remote MCP server that a login is for and where its client comes from. A
// grant stores it beside its Endpoint.
type Service struct {
	Address         string    `json:"address"`        // the address that a person logged in to
	Name            string    `json:"name,omitempty"` // resource_name; text from the server
	Registration    string    `json:"registration"`   // a Registration… constant
	RedirectURI     string    `json:"redirect_uri,omitempty"`
	SecretExpiresAt time.Time `json:"secret_expires_at,omitzero"` // of the client; zero: never
	// Reach is how near the server was when it was logged in to: "public", "private" or
	// "local". What speaks for the login connects to nothing nearer; empty: it isn't known.
	Reach string   `json:"reach,omitempty"`
	Asked []string `json:"asked,omitempty"` // all scopes that were ever asked for
}

// IsZero reports whether the login is for no remote MCP server.
func (s Service) IsZero() bool { return s.Address == "" }

// Where to find the identity of a login.
const (
	IdentityFromIDToken  = "id-token"
	IdentityFromUserinfo = "userinfo"
	IdentityFromResponse = "response" // the token endpoint's own
)

// Endpoint is what a new grant of p stores. It doesn't contain the client's secret.
func (p Provider) Endpoint() Endpoint {
	return Endpoint{
		Issuer: p.Issuer, TokenEndpoint: p.TokenEndpoint, RevocationEndpoint: p.RevocationEndpoint, UserinfoEndpoint: p.UserinfoEndpoint,
		ClientID: p.ClientID, AuthStyle: p.AuthStyle, Encoding: p.TokenRequest, DeadCodes: slices.Clone(p.DeadCodes),
		Resource: p.Resource, RefreshGrace: p.refreshGrace(),
	}
}

// refreshGrace is RefreshGrace as a duration; 0: none is known.
func (p Provider) refreshGrace() time.Duration {
	d, err := time.ParseDuration(p.RefreshGrace)
	if err != nil {
		return 0
	}
	return max(d, 0)
}

// canonical returns p's issuer for any of its names, and any other issuer unchanged.
func (p Provider) canonical(issuer string) string {
	if p.Issuer != "" && slices.Contains(p.IssuerAliases, issuer) {
		return p.Issuer
	}
	return issuer
}

// IsIssuer reports whether issuer is a name of p's issuer.
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

// KeyHeaders are the header templates for an API key: those for a token, if the provider
// has no others for keys.
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

// reservedParams are set by the login itself, or would weaken its protection.
var reservedParams = []string{
	"client_id", "client_secret", "code_challenge", "code_challenge_method", "nonce",
	"redirect_uri", "request", "request_uri", "response_mode", "response_type", "scope", "state",
}

// Validate returns an error for the first invalid value in p.
func (p Provider) Validate() error {
	if err := checkName(p.Name); err != nil {
		return err
	}
	for _, f := range []struct{ name, url string }{
		{"issuer", p.Issuer}, {"authorization_endpoint", p.AuthorizationEndpoint}, {"token_endpoint", p.TokenEndpoint},
		{"device_authorization_endpoint", p.DeviceAuthorizationEndpoint}, {"revocation_endpoint", p.RevocationEndpoint},
		{"userinfo_endpoint", p.UserinfoEndpoint}, {"pushed_authorization_request_endpoint", p.PushedAuthorizationEndpoint}, {"redirect_uri", p.RedirectURI}, {"paste_redirect_uri", p.PasteRedirectURI},
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

// checkService checks that the tokens of a remote MCP server go to that server only.
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

// normal is p with its origins in canonical form; p must be valid.
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

// takenName is a command that is used where a provider's name may be used too (mcp
// connect).
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

// checkScope checks the syntax of RFC 6749 §3.3.
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

// forTokens matches the variables that a provider's data may put a token into. Too many
// other variables make some program run, load or send something. After exec --env a person
// may name any variable, but a file may not.
var forTokens = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^([A-Z_][A-Z0-9_]*_)?(TOKEN|(API)?KEY|SECRET|PASSWORD|PAT)$`)
})

func checkParam(name string) error {
	if name == "" || slices.Contains(reservedParams, name) {
		return fmt.Errorf("%q is set by the login itself", name)
	}
	return printable(name)
}
