package setup

import (
	"cmp"
	"net/url"
	"path/filepath"
	"strings"
)

// codex: config.toml, [model_providers.NAME.auth]: a command whose output is the
// token, asked again at every interval and after a 401.
var codex = Client{
	Name: "codex", Title: "Codex", Programs: []string{"codex"}, Asks: true, Hosts: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: codexConfig(m), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				if len(c.Origins) == 0 {
					return nil, noHosts
				}
				if len(c.Origins) > 1 {
					return nil, refuse("the chosen account has more than one API: %s", strings.Join(c.Origins, ", ")).instead("name the one for Codex with --host URL")
				}
				words := helper(m, c, "api-key")
				return putTables(now, "codex", []string{"model_providers", "authferry"}, []string{
					"[model_providers.authferry]",
					`name = "authferry"`,
					"base_url = " + quoted(apiBase(c.Origins[0])),
					`wire_api = "responses"`,
					"[model_providers.authferry.auth]",
					"command = " + quoted(words[0]),
					"args = " + quotedList(words[1:]),
					"timeout_ms = 30000",
					"refresh_interval_ms = 300000",
				})
			},
			Take:    func(now []byte) ([]byte, error) { return takeTables(now, "codex") },
			Current: func(now []byte) bool { return blockHas(now, "codex", "command = "+quoted(m.Binary)) },
		}}, nil
	},
	Next: func(m Machine, _ Choice) []string {
		return []string{`to use it always, write model_provider = "authferry" at the top of ` + codexConfig(m), `to use it once: codex -c model_provider=authferry`}
	},
}

func codexConfig(m Machine) string {
	return filepath.Join(cmp.Or(m.Getenv("CODEX_HOME"), filepath.Join(m.Home, ".codex")), "config.toml")
}

// apiBase is where an API of OpenAI's kind begins: an origin alone means version 1.
func apiBase(origin string) string {
	if u, err := url.Parse(origin); err == nil && strings.Trim(u.Path, "/") == "" {
		return strings.TrimSuffix(origin, "/") + "/v1"
	}
	return origin
}
