package main

import (
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/pool"
)

type importCmd struct {
	Grant importGrantCmd `cmd:"" help:"Read one grant as JSON from stdin."`

	OpenCode    importFileCmd `cmd:"" name:"opencode" help:"Take over the logins of OpenCode."`
	OpenCodeMCP importFileCmd `cmd:"" name:"opencode-mcp" help:"Take over OpenCode's logins at remote MCP servers."`
	ClaudeCode  importFileCmd `cmd:"" name:"claude-code" help:"Take over the login of Claude Code."`
	Codex       importFileCmd `cmd:"" name:"codex" help:"Take over the login of Codex."`
	Gemini      importFileCmd `cmd:"" name:"gemini" help:"Take over the login of Gemini CLI."`
	MultiAuth   importFileCmd `cmd:"" name:"multi-auth" help:"Take over the accounts of OpenCode's multi-auth plugin."`
	Antigravity importFileCmd `cmd:"" name:"antigravity" help:"Take over the accounts of OpenCode's Antigravity plugin."`
}

type importGrantCmd struct {
	jsonFlag
	Provider string `arg:"" help:"Provider that issued it."`
	Label    string `required:"" placeholder:"LABEL" help:"What to call the account."`
	Pool     string `placeholder:"POOL" help:"Pool to put it in; the provider's own by default."`
	ClientID string `name:"client-id" placeholder:"ID" help:"Client that it was issued to; the provider's by default."`
}

// Help is shown by --help.
func (c *importGrantCmd) Help() string {
	return `Reads {"access_token":"…","refresh_token":"…","expires_in":3600} from stdin
("expires_at" instead of "expires_in": RFC 3339, or seconds or milliseconds since
1970). UTF-8 or UTF-16.
Without a refresh token it serves until the access token expires.`
}

func (c *importGrantCmd) Run(a *app) error {
	if isTerminal(a.in) {
		a.term.note("reading a grant from the terminal; end it with Ctrl-D")
	}
	acc, err := account.ImportGrant(a.ctx, a.broker.Folder, a.input(), account.ImportOptions{Provider: c.Provider, Label: c.Label, Pool: c.Pool, ClientID: c.ClientID})
	if err != nil {
		return err
	}
	v := a.broker.ViewOf(acc)
	defer a.enter(v.Pool)
	if c.JSON {
		return a.printJSON(importedDoc{[]pool.AccountView{v}, []skippedDoc{}})
	}
	a.welcome(v.Provider, v.Label)
	a.noteEnd(v)
	return nil
}

func (a *app) keystoreName() string {
	if s, err := a.broker.Status(); err == nil && s.Keystore.Kind == "file" {
		return "sealed file keystore"
	}
	return "keychain"
}
