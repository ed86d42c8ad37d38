package source

import (
	"path/filepath"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// openCode stores {"PROVIDER": {"type": "oauth" | "api" | "wellknown", …}}.
var openCode = Source{
	Name: "opencode", Title: "OpenCode", Login: "opencode auth login",
	places: func(home string) []string {
		return append([]string{filepath.Join(folder("XDG_DATA_HOME", home, ".local", "share"), "opencode", "auth.json")},
			windowsFolder("LOCALAPPDATA", "opencode", "auth.json")...)
	},
	parse: parseOpenCode,
}

func parseOpenCode(f *File) error {
	for i, m := range f.root.members {
		entry, v := m.name, m.value
		if !v.isObject() {
			f.skip(entry, "it is not an entry of OpenCode")
			continue
		}
		l := Login{Entry: entry, Provider: strings.TrimRight(entry, "/")}
		switch v.get("type").text() {
		case "oauth":
			if wrong := notText(v, "refresh", "access", "accountId", "enterpriseUrl"); wrong != "" {
				f.skip(entry, wrong)
				continue
			}
			refresh := v.get("refresh").text()
			if l.Provider == "google" {
				// Plugins store "token|project|managed project" there.
				refresh, _, _ = strings.Cut(refresh, "|")
			}
			l.RefreshToken, l.AccessToken = keystore.NewSecret(refresh), keystore.NewSecret(v.get("access").text())
			l.expires(v.get("expires"))
			l.Identity.Name = claims(l.AccessToken.Reveal()).get("https://api.openai.com/profile").get("email").text()
		case "api":
			if wrong := notText(v, "key"); wrong != "" {
				f.skip(entry, wrong)
				continue
			}
			l.APIKey = keystore.NewSecret(v.get("key").text())
		case "wellknown":
			f.skip(entry, "it is for a company's own server and only names a variable; there is no login in it")
			continue
		default:
			f.skip(entry, "OpenCode has no login of this type")
			continue
		}
		switch {
		case l.Secret().Empty():
			f.skip(entry, "it is empty")
		case strings.HasPrefix(l.Provider, "github-copilot"):
			f.skip(entry, "GitHub Copilot's login only works in its own clients, which exchange it for other tokens")
		default:
			f.take(l, item{f.root, i})
		}
	}
	return nil
}

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
