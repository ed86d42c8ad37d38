package oauth

import (
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

func sample() Provider {
	return Provider{
		Name: "my.own-1", Issuer: "https://id.example.com", IssuerAliases: []string{"id.example.com"}, AuthorizationEndpoint: "https://id.example.com/authorize", TokenEndpoint: "http://127.0.0.1:8080/token",
		DeviceAuthorizationEndpoint: "https://id.example.com/device", RevocationEndpoint: "https://id.example.com/revoke", UserinfoEndpoint: "https://id.example.com/me",
		ClientID: "abc", AuthStyle: AuthHeader, TokenRequest: EncodingJSON, Scopes: []string{"openid", "offline_access"},
		RedirectURI: "http://127.0.0.1/cb", PasteRedirectURI: "https://id.example.com/code", PasteStateless: true, AuthorizeParams: map[string]string{"prompt": "consent"},
		IssParameter: true, IdentityFrom: IdentityFromUserinfo, Headers: []string{"authorization: Bearer {token}", "x-beta: one, two"}, APIKeyHeaders: []string{"x-api-key: {token}"},
		APIOrigins: []string{"https://api.example.com"}, APIBase: "https://api.example.com/v2", APIPaths: []string{"/chat", "GET /models"}, APIKeyOrigins: []string{"https://api.example.com"}, ListHeaders: []string{"X-Flags"}, Env: []string{"A_TOKEN"}, APIKeyEnv: []string{"A_KEY"}, DeadCodes: []string{"gone for good"},
		TermsURL: "https://example.com/terms", TermsNotice: "Lies die Nutzungsbedingungen – bitte.",
	}
}

func TestValidate(t *testing.T) {
	testenv.Must(t, sample().Validate())
	if err := (Provider{Name: "keys"}).Validate(); err != nil {
		t.Errorf("a service that issues API keys: %v", err)
	}
	for _, test := range []struct {
		want   string // in the error
		change func(*Provider)
	}{
		{"name", func(p *Provider) { p.Name = "" }},
		{"name", func(p *Provider) { p.Name = "Upper" }},
		{"name", func(p *Provider) { p.Name = "a/b" }},
		{"name", func(p *Provider) { p.Name = "-a" }},
		{"name", func(p *Provider) { p.Name = ".." }},
		{"name", func(p *Provider) { p.Name = strings.Repeat("x", 65) }},
		{"token_endpoint: neither https", func(p *Provider) { p.TokenEndpoint = "http://example.com/token" }},
		{"token_endpoint: the URL contains a user name", func(p *Provider) { p.TokenEndpoint = "https://me:hush@example.com/token" }},
		{"token_endpoint: the URL has a fragment", func(p *Provider) { p.TokenEndpoint = "https://example.com/token#a" }},
		{"issuer: not a URL", func(p *Provider) { p.Issuer = "example.com" }},
		{"authorization_endpoint", func(p *Provider) { p.AuthorizationEndpoint = "javascript:alert(1)" }},
		{"device_authorization_endpoint", func(p *Provider) { p.DeviceAuthorizationEndpoint = "file:///etc/passwd" }},
		{"revocation_endpoint", func(p *Provider) { p.RevocationEndpoint = "https://exa mple.com/" }},
		{"userinfo_endpoint", func(p *Provider) { p.UserinfoEndpoint = "//example.com" }},
		{"redirect_uri", func(p *Provider) { p.RedirectURI = "http://example.com/cb" }},
		{"paste_redirect_uri", func(p *Provider) { p.PasteRedirectURI = "urn:ietf:wg:oauth:2.0:oob" }},
		{"terms_url", func(p *Provider) { p.TermsURL = "terms" }},
		{"terms_notice", func(p *Provider) { p.TermsNotice = "\x1b[31mred" }},
		{"client_id", func(p *Provider) { p.ClientID = "a\nb" }},
		{"issuer_aliases", func(p *Provider) { p.IssuerAliases = []string{""} }},
		{"auth_style", func(p *Provider) { p.AuthStyle = "auto" }},
		{"token_request", func(p *Provider) { p.TokenRequest = "xml" }},
		{"identity_from", func(p *Provider) { p.IdentityFrom = "guess" }},
		{"scopes", func(p *Provider) { p.Scopes = []string{"a b"} }},
		{"api_base: it is not on one", func(p *Provider) { p.APIBase = "https://other.example.com/v2" }},
		{"api_base: it is not a plain URL", func(p *Provider) { p.APIBase = "https://api.example.com/v2?a=b" }},
		{"api_base: it is not a plain URL", func(p *Provider) { p.APIBase = "https://me@api.example.com/v2" }},
		{"api_base: it is not a plain path", func(p *Provider) { p.APIBase = "https://api.example.com/v2/../v1" }},
		{"api_base", func(p *Provider) { p.APIBase = "http://api.example.com" }},
		{"api_paths: a path begins", func(p *Provider) { p.APIPaths = []string{"v1"} }},
		{"api_key_origins: ", func(p *Provider) { p.APIKeyOrigins = []string{"api.example.com"} }},
		{"list_headers: it is not the name", func(p *Provider) { p.ListHeaders = []string{"x-flags: a"} }},
		{"api_paths: it is not a path, nor", func(p *Provider) { p.APIPaths = []string{"FETCH /v1"} }},
		{"api_paths: a path begins", func(p *Provider) { p.APIPaths = []string{"GET  /v1"} }},
		{"api_paths: a path begins", func(p *Provider) { p.APIPaths = []string{""} }},
		{"api_paths: it is not a plain", func(p *Provider) { p.APIPaths = []string{"/v1/%2e%2e"} }},
		{"api_paths: it is not a plain", func(p *Provider) { p.APIPaths = []string{"/v1//x"} }},
		{"env", func(p *Provider) { p.Env = []string{"1A"} }},
		{"env", func(p *Provider) { p.APIKeyEnv = []string{"A=B"} }},
		{"env", func(p *Provider) { p.Env = []string{""} }},
		{"dead_codes", func(p *Provider) { p.DeadCodes = []string{""} }},
		{"api_origins", func(p *Provider) { p.APIOrigins = []string{"https://api.example.com/v1"} }},
		{"api_origins", func(p *Provider) { p.APIOrigins = []string{"api.example.com"} }},
		{"api_origins", func(p *Provider) { p.APIOrigins = []string{"http://api.example.com"} }},
		{"extra_authorize_params", func(p *Provider) { p.AuthorizeParams = map[string]string{"state": "1"} }},
		{"extra_authorize_params", func(p *Provider) { p.AuthorizeParams = map[string]string{"a": "\n"} }},
		{"headers: \"authorization\"", func(p *Provider) { p.Headers = []string{"authorization"} }},
		{"headers", func(p *Provider) { p.Headers = []string{": {token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a b: {token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a: {token}\r\nb: c"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a: \x00{token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a: {access_token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a: {token"} }},
		{"headers: none of them", func(p *Provider) { p.Headers = []string{"a: b"} }},
		{"headers: header a is given twice", func(p *Provider) { p.Headers = []string{"a: {token}", "A: x"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"Host: {token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"cookie: s={token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"proxy-authorization: {token}"} }},
		{"headers", func(p *Provider) { p.Headers = []string{"a: {token}", "b:"} }},
		{"api_key_headers", func(p *Provider) { p.APIKeyHeaders = []string{"transfer-encoding: {token}"} }},
	} {
		p := sample()
		test.change(&p)
		err := p.Validate()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("want an error about %s, got %v", test.want, err)
		} else if strings.Contains(err.Error(), "hush") {
			t.Errorf("a password stands in it: %v", err)
		}
	}
}

func TestOrigin(t *testing.T) {
	for raw, want := range map[string]string{
		"https://API.Example.com":       "https://api.example.com",
		"https://api.example.com/":      "https://api.example.com",
		"https://api.example.com:443":   "https://api.example.com",
		"https://api.example.com:8443":  "https://api.example.com:8443",
		"http://localhost:80":           "http://localhost",
		"http://127.0.0.1:443":          "http://127.0.0.1:443",
		"https://[2001:DB8::1]:443":     "https://[2001:db8::1]",
		"http://[::1]:8080":             "http://[::1]:8080",
		"https://xn--bcher-kva.example": "https://xn--bcher-kva.example",
	} {
		if got, err := Origin(raw); err != nil || got != want {
			t.Errorf("%s: %q %v", raw, got, err)
		}
		if got, err := Origin(want); err != nil || got != want {
			t.Errorf("again: %q %v", got, err)
		}
	}
	for _, raw := range []string{"", "api.example.com", "https://api.example.com/v1", "https://api.example.com?", "https://a@api.example.com", "ftp://a", "https://*"} {
		if got, err := Origin(raw); err == nil && raw != "https://*" {
			t.Errorf("%q: %q", raw, got)
		}
	}
}

func TestExpand(t *testing.T) {
	p := sample()
	got := Expand(p.TokenHeaders(), keystore.NewSecret("tok"))
	if len(got) != 2 || got[0].Name != "authorization" || got[0].Value.Reveal() != "Bearer tok" || got[1].Name != "x-beta" || got[1].Value.Reveal() != "one, two" {
		t.Errorf("%d headers", len(got))
	}
	if got := Expand(p.KeyHeaders(), keystore.NewSecret("key")); len(got) != 1 || got[0].Name != "x-api-key" || got[0].Value.Reveal() != "key" {
		t.Errorf("%d headers for a key", len(got))
	}
	for _, templates := range [][]string{Provider{}.TokenHeaders(), Provider{TokenEndpoint: "https://a.example/token"}.KeyHeaders(), {"Authorization:Bearer {token}", "broken", "host: {token}"}} {
		if got := Expand(templates, keystore.NewSecret("tok")); len(got) != 1 || got[0].Name != "authorization" || got[0].Value.Reveal() != "Bearer tok" {
			t.Errorf("%q: %d headers", templates, len(got))
		}
	}
	if got := (Provider{TokenEndpoint: "https://a.example/token", Headers: []string{"x: {token}"}}).KeyHeaders(); len(got) != 1 || got[0] != "x: {token}" {
		t.Errorf("%q are the headers for a key that has none of its own", got)
	}
	// A placeholder inside a token is part of the token.
	if got := Expand([]string{"a: {token}"}, keystore.NewSecret("{token}")); got[0].Value.Reveal() != "{token}" {
		t.Error("expanded twice")
	}
}

func TestEndpoint(t *testing.T) {
	p := sample()
	want := Endpoint{Issuer: p.Issuer, TokenEndpoint: p.TokenEndpoint, RevocationEndpoint: p.RevocationEndpoint, UserinfoEndpoint: p.UserinfoEndpoint,
		ClientID: "abc", AuthStyle: AuthHeader, Encoding: EncodingJSON, DeadCodes: p.DeadCodes}
	if got := p.Endpoint(); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v", got)
	}
	if got := p.KeyEnv(); len(got) != 1 || got[0] != "A_KEY" {
		t.Errorf("%q", got)
	}
	if got := (Provider{Env: []string{"A"}}).KeyEnv(); len(got) != 1 || got[0] != "A" {
		t.Errorf("%q", got)
	}
}

// What a provider issues becomes the value of these: none that a loader, a shell or
// an interpreter would run, none that a program would send it elsewhere by.
func TestVariablesThatSteerPrograms(t *testing.T) {
	for good, names := range map[bool]string{
		true: "TOKEN token API_KEY APIKEY PASSWORD OPENAI_API_KEY OPENAI_APIKEY GITHUB_TOKEN GH_TOKEN npm_token GOOGLE_OAUTH_ACCESS_TOKEN CLOUDSDK_AUTH_ACCESS_TOKEN " +
			"ANTHROPIC_AUTH_TOKEN AWS_SECRET_ACCESS_KEY CLIENT_SECRET DB_PASSWORD FORGE_PAT MY_PATH_TOKEN",
		false: "LD_PRELOAD ld_audit DYLD_INSERT_LIBRARIES PATH Path BASH_ENV ENV NODE_OPTIONS PERL5OPT PYTHONSTARTUP GIT_SSH_COMMAND GIT_ASKPASS EDITOR BROWSER " +
			"AUTHFERRY_KEY_FILE AUTHFERRY_KEY JAVA_TOOL_OPTIONS GIT_HTTP_USER_AGENT HTTPS_PROXY all_proxy OPENAI_BASE_URL DOCKER_HOST GIT_AUTHOR_NAME " +
			"GIT_CONFIG_PARAMETERS GIT_CONFIG_KEY_0 GIT_EXTERNAL_DIFF GIT_EXEC_PATH GIT_SSL_KEY LUA_INIT MAKEFLAGS GOFLAGS GOAUTH LESSOPEN LESSKEY RUSTC_WRAPPER CC " +
			"PERL5DB ZDOTDIR KUBECONFIG NODE_PATH OPENSSL_CONF SHELLOPTS XDG_CONFIG_HOME MAVEN_ARGS PGSSLKEY TF_TOKEN_evil_example npm_config_registry NPM_CONFIG__AUTH",
	} {
		for name := range strings.FieldsSeq(names) {
			if err := checkEnv(name); (err == nil) != good {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	builtin, err := parseProviders(builtinTOML, SourceBuiltin) // which are held to it as well
	if err != nil || len(builtin) == 0 {
		t.Error(err)
	}
}

func TestTakesKeysOnly(t *testing.T) {
	t.Parallel()
	const here, there = "https://api.example.com", "https://other.example.com"
	for _, test := range []struct {
		p    Provider
		want bool
	}{
		{Provider{APIOrigins: []string{here}}, false},
		{Provider{APIOrigins: []string{here}, APIKeyOrigins: []string{here}}, true},
		{Provider{APIOrigins: []string{there, here}, APIKeyOrigins: []string{here}}, false},
		{Provider{APIOrigins: []string{there, here}, APIKeyOrigins: []string{here}, APIBase: here + "/v2"}, true},
		{Provider{APIKeyOrigins: []string{here}}, false},
	} {
		if got := test.p.TakesKeysOnly(); got != test.want {
			t.Errorf("%+v: %t", test.p, got)
		}
	}
	builtin, err := parseBuiltins()
	if err != nil || !builtin["openai"].TakesKeysOnly() || builtin["anthropic"].TakesKeysOnly() || builtin["google"].TakesKeysOnly() {
		t.Error(err)
	}
	if got := (Provider{ListHeaders: []string{"X-Flags"}}).Lists(); !slices.Equal(got, []string{"x-flags", "anthropic-beta", "openai-beta"}) {
		t.Errorf("%q", got)
	}
}
