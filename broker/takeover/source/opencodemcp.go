package source

import (
	"path/filepath"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// openCodeMCP is OpenCode's logins at remote MCP servers: {"NAME": {"serverUrl", "tokens":
// {"accessToken", "refreshToken", "expiresAt", "scope"}, "clientInfo": {"clientId", …}}}.
var openCodeMCP = Source{
	Name: "opencode-mcp", Title: "OpenCode's MCP servers", Login: "opencode mcp auth",
	places: func(home string) []string {
		return append([]string{filepath.Join(folder("XDG_DATA_HOME", home, ".local", "share"), "opencode", "mcp-auth.json")},
			windowsFolder("LOCALAPPDATA", "opencode", "mcp-auth.json")...)
	},
	parse: parseOpenCodeMCP,
}

func parseOpenCodeMCP(f *File) error {
	for i, m := range f.root.members {
		entry, v := m.name, m.value
		tokens, client := v.get("tokens"), v.get("clientInfo")
		if tokens.absent() {
			f.skip(entry, "it has no login, only an attempt at one")
			continue
		}
		wrong := notText(v, "serverUrl")
		for name, n := range map[string]*node{"accessToken": tokens, "refreshToken": tokens, "scope": tokens, "clientId": client, "clientSecret": client} {
			if wrong == "" {
				wrong = notText(n, name)
			}
		}
		l := Login{
			Entry: entry, Label: entry, Server: v.get("serverUrl").text(), ClientID: client.get("clientId").text(),
			AccessToken: keystore.NewSecret(tokens.get("accessToken").text()), RefreshToken: keystore.NewSecret(tokens.get("refreshToken").text()),
			Scopes: strings.Fields(tokens.get("scope").text()),
		}
		l.expires(tokens.get("expiresAt"))
		switch {
		case wrong != "":
			f.skip(entry, wrong)
		case l.Server == "" || l.ClientID == "":
			f.skip(entry, "it doesn't say which server, or which client, its tokens are for")
		case strings.Contains(l.ClientID, "://"):
			f.skip(entry, "its client is OpenCode itself, and nothing else may use it")
		case client.get("clientSecret").text() != "":
			f.skip(entry, "its client has a secret: log in here instead")
		case l.Secret().Empty():
			f.skip(entry, "it is empty")
		default:
			f.take(l, item{f.root, i})
		}
	}
	return nil
}
