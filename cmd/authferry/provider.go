package main

import (
	"io"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

type providerCmd struct {
	List   providerListCmd   `cmd:"" help:"List the built-in providers and your own."`
	Show   providerShowCmd   `cmd:"" help:"Show a provider's data."`
	Add    providerAddCmd    `cmd:"" help:"Add a provider, or your own version of a built-in one."`
	Remove providerRemoveCmd `cmd:"" aliases:"rm" help:"Remove one of your own; a built-in of that name comes back."`
}

type providerListCmd struct{ jsonFlag }

func (c *providerListCmd) Run(a *app) error {
	ps, err := a.broker.Providers()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Providers []oauth.Provider `json:"providers"`
		}{ps.All()})
	}
	t := newTable("PROVIDER", "SOURCE", "CLIENT ID", "TOKEN ENDPOINT")
	for _, p := range ps.All() {
		t.add(p.Name, p.Source, p.ClientID, p.TokenEndpoint)
	}
	return a.show(t)
}

type providerShowCmd struct {
	jsonFlag
	Name string `arg:""`
}

func (c *providerShowCmd) Run(a *app) error {
	p, err := a.broker.Provider(c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(p)
	}
	t := newTable()
	for _, row := range [][2]string{
		{"provider", p.Name}, {"source", p.Source}, {"issuer", p.Issuer},
		{"authorization endpoint", p.AuthorizationEndpoint}, {"token endpoint", p.TokenEndpoint},
		{"device authorization endpoint", p.DeviceAuthorizationEndpoint}, {"revocation endpoint", p.RevocationEndpoint},
		{"userinfo endpoint", p.UserinfoEndpoint}, {"client id", p.ClientID}, {"token request", p.TokenRequest},
		{"redirect uri", p.RedirectURI}, {"scopes", strings.Join(p.Scopes, " ")},
		{"headers", strings.Join(p.TokenHeaders(), "; ")}, {"api origins", strings.Join(p.APIOrigins, " ")},
		{"env", strings.Join(p.Env, " ")}, {"api key env", strings.Join(p.APIKeyEnv, " ")}, {"identity from", p.IdentityFrom},
	} {
		if row[1] != "" {
			t.add(row[0], row[1])
		}
	}
	return a.show(t)
}

type providerAddCmd struct {
	jsonFlag
	Name string `arg:"" help:"What to call it: lower-case letters, digits, '-', '.', '_'."`

	From                        string   `placeholder:"BUILTIN" help:"Start from this provider's data."`
	Issuer                      string   `placeholder:"URL" help:"Read the endpoints from this issuer's discovery document."`
	AuthorizationEndpoint       string   `placeholder:"URL" help:"Where a person logs in."`
	TokenEndpoint               string   `placeholder:"URL" help:"Where tokens are issued."`
	DeviceAuthorizationEndpoint string   `placeholder:"URL" help:"Where a login by code begins."`
	RevocationEndpoint          string   `placeholder:"URL" help:"Where a login is revoked."`
	UserinfoEndpoint            string   `placeholder:"URL" help:"Where it is asked whose login it is."`
	ClientID                    string   `name:"client-id" placeholder:"ID" help:"Client id of your own registration at the provider."`
	ClientSecretStdin           bool     `help:"Read that client's secret from stdin; it is kept in the keystore."`
	Scope                       []string `sep:"none" placeholder:"SCOPE" help:"Scope to ask for; may be repeated."`
	TokenRequest                string   `enum:",form,json" default:"" placeholder:"HOW" help:"How the token endpoint is spoken to: form or json."`
	RedirectURI                 string   `name:"redirect-uri" placeholder:"URI" help:"Where the provider sends the browser back to."`
	Header                      []string `sep:"none" placeholder:"'NAME: VALUE'" help:"Header that a request needs, with {token} in it; may be repeated."`
	APIOrigin                   []string `name:"api-origin" sep:"none" placeholder:"URL" help:"Where tokens may be sent; may be repeated."`
	Env                         []string `sep:"none" placeholder:"NAME" help:"Variable that exec puts the token in, called …_TOKEN, _KEY, _SECRET, _PASSWORD or _PAT; may be repeated."`
	IdentityFrom                string   `enum:",id-token,userinfo,response" default:"" placeholder:"WHERE" help:"Where a login's identity stands: id-token, userinfo or response."`
}

func (c *providerAddCmd) Run(a *app) error {
	p, err := c.base(a)
	if err != nil {
		return err
	}
	p.Name = c.Name
	for field, value := range map[*string]string{
		&p.AuthorizationEndpoint: c.AuthorizationEndpoint, &p.TokenEndpoint: c.TokenEndpoint,
		&p.DeviceAuthorizationEndpoint: c.DeviceAuthorizationEndpoint, &p.RevocationEndpoint: c.RevocationEndpoint,
		&p.UserinfoEndpoint: c.UserinfoEndpoint, &p.ClientID: c.ClientID, &p.TokenRequest: c.TokenRequest,
		&p.RedirectURI: c.RedirectURI, &p.IdentityFrom: c.IdentityFrom,
	} {
		if value != "" {
			*field = value
		}
	}
	for field, values := range map[*[]string][]string{&p.Scopes: c.Scope, &p.Headers: c.Header, &p.APIOrigins: c.APIOrigin, &p.Env: c.Env} {
		if values != nil {
			*field = values
		}
	}
	if p.TokenEndpoint == "" && (p.ClientID != "" || len(p.APIOrigins) == 0) { // one that issues API keys has none
		return &broker.Error{
			Code: broker.Usage, Message: "a provider needs a token endpoint, or the origin of an API that takes keys",
			Hint: "authferry provider add " + c.Name + " --issuer URL, or --token-endpoint URL, or, for API keys alone, --api-origin URL",
		}
	}
	var secret keystore.Secret
	if c.ClientSecretStdin {
		if secret, err = a.readSecret("client secret"); err != nil {
			return err
		}
	}
	if err := a.broker.AddProvider(a.ctx, p, secret); err != nil {
		return err
	}
	if p, err = a.broker.Provider(c.Name); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(p)
	}
	a.term.note("provider %s added; existing accounts keep what they were logged in with", p.Name)
	return nil
}

// base is the data that the flags are laid over.
func (c *providerAddCmd) base(a *app) (oauth.Provider, error) {
	var p oauth.Provider
	if c.From != "" {
		var err error
		if p, err = a.broker.Provider(c.From); err != nil {
			return p, err
		}
	}
	if c.Issuer == "" {
		return p, nil
	}
	if c.TokenEndpoint != "" {
		p.Issuer = c.Issuer
		return p, nil
	}
	found, err := a.broker.Discover(a.ctx, c.Issuer)
	if err != nil {
		return p, err
	}
	p.Issuer, p.AuthStyle, p.IssParameter = found.Issuer, found.AuthStyle, found.IssParameter
	p.AuthorizationEndpoint, p.TokenEndpoint = found.AuthorizationEndpoint, found.TokenEndpoint
	p.DeviceAuthorizationEndpoint, p.RevocationEndpoint = found.DeviceAuthorizationEndpoint, found.RevocationEndpoint
	p.UserinfoEndpoint = found.UserinfoEndpoint
	if len(p.Scopes) == 0 {
		p.Scopes = found.Scopes
	}
	if p.IdentityFrom == "" {
		p.IdentityFrom = found.IdentityFrom
	}
	return p, nil
}

// readSecret reads one line from stdin, at most 64 KiB; at a terminal it asks for
// what that is to be, and shows nothing of it.
func (a *app) readSecret(what string) (keystore.Secret, error) {
	if a.present() {
		return a.askHidden(strings.ToUpper(what[:1])+what[1:]+": ", what)
	}
	if isTerminal(a.in) {
		return keystore.Secret{}, &broker.Error{Code: broker.Usage, Message: "nobody can be asked for the " + what + " here", Hint: "pipe it in: … <FILE"}
	}
	data, err := io.ReadAll(io.LimitReader(a.input(), 64<<10))
	if err != nil && a.ctx.Err() != nil {
		return keystore.Secret{}, &broker.Error{Code: broker.Cancelled, Message: "interrupted; nothing was changed"}
	}
	if err != nil {
		return keystore.Secret{}, &broker.Error{Code: broker.Usage, Message: "stdin can't be read", Err: err}
	}
	s := strings.TrimRight(string(data), "\r\n")
	if s == "" || strings.ContainsAny(s, "\r\n\x00") {
		return keystore.Secret{}, &broker.Error{Code: broker.Usage, Message: "stdin holds no secret of one line"}
	}
	return keystore.NewSecret(s), nil
}

type providerRemoveCmd struct {
	jsonFlag
	Name string `arg:""`
}

func (c *providerRemoveCmd) Run(a *app) error {
	if err := a.broker.RemoveProvider(a.ctx, c.Name); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(struct {
			Removed string `json:"removed"`
		}{c.Name})
	}
	a.term.note("provider %s removed", c.Name)
	return nil
}
