package main

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

type providerCmd struct {
	List   providerListCmd   `cmd:"" help:"List the built-in providers and your own."`
	Show   providerShowCmd   `cmd:"" help:"Show a provider's data."`
	Add    providerAddCmd    `cmd:"" help:"Add a provider, or your own version of a built-in one."`
	Remove providerRemoveCmd `cmd:"" aliases:"rm" help:"Remove one of your own; a built-in of that name comes back."`
}

type providerListCmd struct{ jsonFlag }

type providersDoc struct {
	Providers []oauth.Provider `json:"providers"`
}

func (c *providerListCmd) Run(a *app) error {
	ps, err := a.folder.Providers()
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(providersDoc{ps.All()})
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
	p, err := a.folder.Provider(c.Name)
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
		{"userinfo endpoint", p.UserinfoEndpoint}, {"client id", p.ClientID}, {"auth style", p.AuthStyle}, {"token request", p.TokenRequest},
		{"redirect uri", p.RedirectURI}, {"scopes", strings.Join(p.Scopes, " ")},
		{"headers", strings.Join(p.TokenHeaders(), "; ")}, {"api origins", strings.Join(p.APIOrigins, " ")},
		{"api base", p.APIBase}, {"api paths", strings.Join(p.APIPaths, ", ")},
		{"api key origins", strings.Join(p.APIKeyOrigins, " ")}, {"list headers", strings.Join(p.ListHeaders, " ")},
		{"mcp server", p.MCP}, {"resource", p.Resource}, {"registration", p.Registration},
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

	MCP                         string   `name:"mcp" placeholder:"URL" help:"Ask this remote MCP server where to log in; the tokens are for it alone."`
	From                        string   `placeholder:"BUILTIN" help:"Start from this provider's data. At another server, what belongs to this one's is left out."`
	Issuer                      string   `placeholder:"URL" help:"Read the endpoints from this issuer's discovery document."`
	AuthorizationEndpoint       string   `placeholder:"URL" help:"Where a person logs in."`
	TokenEndpoint               string   `placeholder:"URL" help:"Where tokens are issued."`
	DeviceAuthorizationEndpoint string   `placeholder:"URL" help:"Where a device login begins."`
	RevocationEndpoint          string   `placeholder:"URL" help:"Where a login is revoked."`
	UserinfoEndpoint            string   `placeholder:"URL" help:"Where to ask whose login it is."`
	ClientID                    string   `name:"client-id" placeholder:"ID" help:"Client id of your own registration at the provider."`
	ClientSecretStdin           bool     `help:"Read that client's secret from stdin; it is kept in the keystore."`
	AuthStyle                   string   `enum:",params,header,none" default:"" placeholder:"HOW" help:"How that secret is sent to the token endpoint: params, header (HTTP Basic) or none; by default a login finds out."`
	Scope                       []string `sep:"none" placeholder:"SCOPE" help:"Scope to ask for; may be repeated."`
	TokenRequest                string   `enum:",form,json" default:"" placeholder:"HOW" help:"Form of the token requests: form or json."`
	RedirectURI                 string   `name:"redirect-uri" placeholder:"URI" help:"Where the provider sends the browser back to."`
	Header                      []string `sep:"none" placeholder:"'NAME: VALUE'" help:"Header that a request needs, with {token} in it; may be repeated."`
	APIOrigin                   []string `name:"api-origin" sep:"none" placeholder:"URL" help:"Where tokens may be sent; may be repeated."`
	APIPath                     []string `name:"api-path" sep:"none" placeholder:"PREFIX" help:"Path of the API that the proxy passes on, by default all; may be repeated."`
	Env                         []string `sep:"none" placeholder:"NAME" help:"Variable that exec puts the token in, called …_TOKEN, _KEY, _SECRET, _PASSWORD or _PAT; may be repeated."`
	IdentityFrom                string   `enum:",id-token,userinfo,response" default:"" placeholder:"WHERE" help:"Where to find a login's identity: id-token, userinfo or response."`
}

func (c *providerAddCmd) Run(a *app) error {
	if c.MCP != "" {
		return c.remote(a)
	}
	p, left, err := c.derive(a)
	if err != nil {
		return err
	}
	if p.TokenEndpoint == "" && (p.ClientID != "" || len(p.APIOrigins) == 0) { // a provider that issues API keys has none
		return &fault.Error{
			Code: fault.Usage, Message: "a provider needs a token endpoint, or the origin of an API that takes keys" + c.notTaken(left),
			Next: []fault.Remedy{{Do: fault.Again, Name: "issuer", Value: "URL"}, {Do: fault.Again, Name: "token-endpoint", Value: "URL"}, {Do: fault.Again, Name: "api-origin", Value: "URL"}},
		}
	}
	var secret keystore.Secret
	if c.ClientSecretStdin {
		if secret, err = a.readSecret("client secret"); err != nil {
			return err
		}
	}
	if err := folder.AddProvider(a.ctx, a.folder, p, secret); err != nil {
		return err
	}
	if p, err = a.folder.Provider(c.Name); err != nil {
		return err
	}
	if len(left) > 0 {
		a.term.warn("provider " + p.Name + " is another server" + c.notTaken(left))
	}
	if len(p.APIOrigins) == 0 {
		a.term.warn("provider "+p.Name+" has no --api-origin: token and exec work, but git, docker, cargo, terraform and the proxy get no token", nameOrigin(p))
	}
	if c.JSON {
		return a.printJSON(p)
	}
	all, err := broker.List(a.folder)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(all, func(v pool.AccountView) bool { return v.Provider == p.Name }) {
		a.term.note("provider %s changed; its accounts keep the old settings until their next login", p.Name)
		return nil
	}
	login := fault.Remedy{Do: fault.Login, Provider: p.Name}
	if p.TokenEndpoint == "" {
		login.How, login.Label = fault.APIKey, "Key"
	}
	a.term.note("provider %s added; log in: %s", p.Name, a.term.hints.command(login))
	return nil
}

// nameOrigin guesses where p's tokens may be sent: to its own server.
func nameOrigin(p oauth.Provider) fault.Remedy {
	r := fault.Remedy{Do: fault.AmendProvider, Provider: p.Name, Name: "api-origin"}
	if u, err := url.Parse(cmp.Or(p.Issuer, p.TokenEndpoint)); err == nil {
		r.Value, _ = oauth.Origin(u.Scheme + "://" + u.Host)
	}
	return r
}

// notTaken lists what was left out of the provider of --from.
func (c *providerAddCmd) notTaken(left []string) string {
	if len(left) == 0 {
		return ""
	}
	return "; not taken from " + c.From + ", because they belong to its server: " + strings.Join(left, ", ")
}

// derive combines what the flags name, what the issuer says about itself, and the provider
// to start from, in this order. left are the keys of the last that were left out.
func (c *providerAddCmd) derive(a *app) (p oauth.Provider, left []string, err error) {
	named := oauth.Provider{
		Issuer: c.Issuer, AuthorizationEndpoint: c.AuthorizationEndpoint, TokenEndpoint: c.TokenEndpoint,
		DeviceAuthorizationEndpoint: c.DeviceAuthorizationEndpoint, RevocationEndpoint: c.RevocationEndpoint, UserinfoEndpoint: c.UserinfoEndpoint,
		ClientID: c.ClientID, AuthStyle: c.AuthStyle, TokenRequest: c.TokenRequest, RedirectURI: c.RedirectURI, IdentityFrom: c.IdentityFrom,
		Scopes: c.Scope, Headers: c.Header, APIOrigins: c.APIOrigin, APIPaths: c.APIPath, Env: c.Env,
	}
	var found, base oauth.Provider
	if c.From != "" {
		if base, err = a.folder.Provider(c.From); err != nil {
			return p, nil, err
		}
	}
	if c.Issuer != "" && c.TokenEndpoint == "" {
		if found, err = account.Discover(a.ctx, a.folder, c.Issuer); err != nil {
			return p, nil, c.otherIssuer(a, err)
		}
		named.Issuer = found.Issuer
	}
	p, left = oauth.Derive(named, found, base)
	p.Name = c.Name
	return p, left, nil
}

// otherIssuer adds the command that asks for the document's issuer or, if that has no
// document of its own, names what this one says.
func (c *providerAddCmd) otherIssuer(a *app, err error) error {
	e, known := errors.AsType[*fault.Error](err)
	wrong, other := errors.AsType[*oauth.IssuerError](err)
	if !known || !other || wrong.Ask == "" {
		return err
	}
	meant := *c
	meant.Issuer = wrong.Ask
	if _, err := account.Discover(a.ctx, a.folder, wrong.Ask); err != nil {
		if wrong.Found.TokenEndpoint == "" {
			return e
		}
		meant.take(wrong.Found)
	}
	e.Next = []fault.Remedy{{Do: plain, Value: meant.command()}}
	return e
}

// take sets what p has and no flag names.
func (c *providerAddCmd) take(p oauth.Provider) {
	for _, f := range []struct {
		flag  *string
		found string
	}{
		{&c.AuthorizationEndpoint, p.AuthorizationEndpoint}, {&c.TokenEndpoint, p.TokenEndpoint},
		{&c.DeviceAuthorizationEndpoint, p.DeviceAuthorizationEndpoint}, {&c.RevocationEndpoint, p.RevocationEndpoint},
		{&c.UserinfoEndpoint, p.UserinfoEndpoint}, {&c.AuthStyle, p.AuthStyle}, {&c.IdentityFrom, p.IdentityFrom},
	} {
		*f.flag = cmp.Or(*f.flag, f.found)
	}
	if len(c.Scope) == 0 {
		c.Scope = p.Scopes
	}
}

// command is c as a person would type it.
func (c *providerAddCmd) command() string {
	words := []string{"authferry provider add", c.Name}
	for _, flag := range []struct {
		name   string
		values []string
	}{
		{"from", []string{c.From}}, {"issuer", []string{c.Issuer}}, {"authorization-endpoint", []string{c.AuthorizationEndpoint}},
		{"token-endpoint", []string{c.TokenEndpoint}}, {"device-authorization-endpoint", []string{c.DeviceAuthorizationEndpoint}},
		{"revocation-endpoint", []string{c.RevocationEndpoint}}, {"userinfo-endpoint", []string{c.UserinfoEndpoint}},
		{"client-id", []string{c.ClientID}}, {"auth-style", []string{c.AuthStyle}}, {"scope", c.Scope},
		{"token-request", []string{c.TokenRequest}}, {"redirect-uri", []string{c.RedirectURI}}, {"header", c.Header},
		{"api-origin", c.APIOrigin}, {"api-path", c.APIPath}, {"env", c.Env}, {"identity-from", []string{c.IdentityFrom}},
	} {
		for _, value := range flag.values {
			if value != "" {
				words = append(words, "--"+flag.name, arg(value))
			}
		}
	}
	if c.ClientSecretStdin {
		words = append(words, "--client-secret-stdin")
	}
	return strings.Join(words, " ")
}

type providerRemoveCmd struct {
	jsonFlag
	Name string `arg:""`
}

type removedDoc struct {
	Removed string `json:"removed"` // the provider's name
}

func (c *providerRemoveCmd) Run(a *app) error {
	if err := folder.RemoveProvider(a.ctx, a.folder, c.Name); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(removedDoc{c.Name})
	}
	a.term.note("provider %s removed", c.Name)
	return nil
}
