package main

import (
	"cmp"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// remoteFlags say how to log in to a remote MCP server.
type remoteFlags struct {
	Issuer   string   `placeholder:"URL" help:"MCP server: its authorization server has to be this one."`
	Scope    []string `sep:"none" placeholder:"SCOPE" help:"MCP server: ask for this scope, in place of what the server wants; may be repeated."`
	Register bool     `help:"MCP server: register authferry again, as when the server has forgotten its client."`
}

func (f remoteFlags) set() bool { return f.Issuer != "" || len(f.Scope) > 0 || f.Register }

// isAddress reports whether s is a remote MCP server's address, not a provider's name.
func isAddress(word string) bool { return strings.Contains(word, "://") }

// remote finds the MCP server that the login is for, shows it, and asks if a person has to
// decide; nil: the login is not for one.
func (c *loginCmd) remote(a *app) (*account.Remote, error) {
	req := account.RemoteRequest{Provider: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Scopes: c.Scope, Label: c.Label, Renew: c.Renew, Register: c.Register, Service: c.Flow == string(account.FlowClient)}
	if isAddress(c.Provider) {
		req.Address = c.Provider
	} else {
		p, err := a.folder.Provider(c.Provider)
		if err != nil {
			return nil, err
		}
		switch {
		case p.MCP != "" && (c.Name == "" || c.Name == p.Name):
			req.Provider = p.Name
		case c.set() || c.Name != "":
			return nil, &fault.Error{Code: fault.Usage, Message: "--name, --issuer, --scope and --register are for logging in to a remote MCP server; " + p.Name + " is none"}
		default:
			return nil, nil //nolint:nilnil // another kind of provider
		}
	}
	if c.APIKeyStdin || c.TokenStdin {
		return nil, &fault.Error{Code: fault.Usage, Message: "a remote MCP server takes a login, and neither --api-key-stdin nor --token-stdin"}
	}
	r, err := account.FindRemote(a.ctx, a.folder, req)
	if err != nil {
		return nil, err
	}
	return r, agreed(a, r, c.Issuer, c.JSON)
}

// agreed shows what a login would do. It asks whether the authorization server is right if
// only the server's word says so.
func agreed(a *app, r *account.Remote, issuer string, asJSON bool) error {
	scopes := strings.Join(r.Scopes, " ")
	if asJSON {
		if err := a.printJSON(serverDoc{"server", r.Server.Resource, r.Server.Provider.Issuer, append([]string{}, r.Scopes...), r.Registration}); err != nil {
			return err
		}
	}
	name := ""
	if r.Server.Name != "" {
		name = ` ("` + r.Server.Name + `")`
	}
	a.term.note("MCP server:            %s%s", r.Server.Address, name)
	a.term.note("authorization server:  %s", r.Server.Provider.Issuer)
	if scopes == "" {
		scopes = "(none named)"
	}
	a.term.note("scopes:                %s", scopes)
	var question string
	switch {
	case issuer == r.Server.Provider.Issuer:
		return nil
	case r.Former != "":
		question = fmt.Sprintf("%s used to send logins to %s, and now to %s.", r.Provider, r.Former, r.Server.Provider.Issuer)
	case r.Unrelated:
		question = fmt.Sprintf("%s sends the login to another domain, %s.", r.Server.Address, r.Server.Provider.Issuer)
	default:
		return nil
	}
	if !a.present() {
		return &fault.Error{Code: fault.Fenced, Message: question + " This needs confirmation, but there is no terminal; nothing was changed",
			Next: []fault.Remedy{{Do: fault.Again, Name: "issuer", Value: r.Server.Provider.Issuer}}}
	}
	return a.confirm(question+" Log in there?", "--issuer")
}

// remote adds a remote MCP server, without a login.
func (c *providerAddCmd) remote(a *app) error {
	only := *c
	only.Name, only.MCP, only.Issuer, only.ClientID, only.ClientSecretStdin, only.Scope, only.jsonFlag = "", "", "", "", false, nil, jsonFlag{}
	if !reflect.ValueOf(only).IsZero() {
		return &fault.Error{Code: fault.Usage, Message: "--mcp goes with --issuer, --client-id, --client-secret-stdin and --scope alone: the server says the rest"}
	}
	r, err := account.FindRemote(a.ctx, a.folder, account.RemoteRequest{Address: c.MCP, Provider: c.Name, Issuer: c.Issuer, ClientID: c.ClientID, Scopes: c.Scope})
	if err != nil {
		return err
	}
	if err := agreed(a, r, c.Issuer, false); err != nil {
		return err
	}
	var secret keystore.Secret
	if c.ClientSecretStdin {
		if secret, err = a.readSecret("client secret"); err != nil {
			return err
		}
	}
	if err := account.AddRemote(a.ctx, a.folder, r, c.Scope, secret); err != nil {
		return err
	}
	p, err := a.folder.Provider(c.Name)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(p)
	}
	a.term.note("provider %s added; log in: authferry login %s", p.Name, p.Name)
	return nil
}

// mcpHeadersCmd is for clients that run a command to get a remote MCP server's headers.
type mcpHeadersCmd struct {
	whose
	URL string `arg:"" optional:"" help:"The server's address; by default CLAUDE_CODE_MCP_SERVER_URL."`
}

// Run prints one JSON object of headers, or nothing: then the client asks the server
// without a token.
func (c *mcpHeadersCmd) Run(a *app) error {
	// Claude Code's variable says what it will ask, whatever the argument in its
	// configuration.
	address := cmp.Or(os.Getenv("CLAUDE_CODE_MCP_SERVER_URL"), c.URL)
	if address == "" {
		if err := mustBeTold(c.selection()); err != nil {
			return inALine(a, err)
		}
	}
	if c.MinTTL < 0 {
		return &fault.Error{Code: fault.Usage, Message: "--min-ttl can't be negative"}
	}
	t, err := a.broker.Token(a.ctx, broker.TokenRequest{Selection: c.selection().resolve(), MinTTL: c.MinTTL, Server: address})
	switch {
	case err != nil && a.ctx.Err() != nil:
		return errInterrupted
	case err != nil:
		return inALine(a, err)
	case t.Resource == "":
		return &fault.Error{Code: fault.Fenced, Message: fmt.Sprintf("account %q is not for a remote MCP server; nothing was printed", t.Account.Label)}
	case c.URL != "" && !oauth.Covers(t.Resource, c.URL):
		return &fault.Error{Code: fault.Fenced, Message: fmt.Sprintf("account %q is not for %s; nothing was printed", t.Account.Label, c.URL)}
	}
	return a.printJSON(newTokenDoc(t, time.Now()).Headers)
}
