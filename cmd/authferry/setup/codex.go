package setup

import (
	"cmp"
	"net/url"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// codex: config.toml, [model_providers.NAME.auth]: a command whose output is the
// token, asked again at every interval and after a 401.
var codex = Client{
	Name: "codex", Title: "Codex", Programs: []string{"codex"}, Asks: true, Hosts: true, Proxied: "openai",
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: codexConfig(m), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				base, words, wait := c.Proxy+"/"+c.Provider+"/v1", proxyKey(m, c), "60000"
				switch {
				case c.Proxy != "":
				case len(c.Origins) == 0:
					return nil, ErrNoHosts
				case len(c.Origins) > 1:
					return nil, refuse("the chosen account has more than one API: %s", strings.Join(c.Origins, ", ")).instead("name the one for Codex with --host URL")
				default:
					base, words, wait = apiBase(c.Origins[0]), helper(m, c, "api-key"), "30000"
				}
				return putTables(now, "codex", []string{"model_providers", "authferry"}, []string{
					"[model_providers.authferry]",
					`name = "authferry"`,
					"base_url = " + quoted(base),
					`wire_api = "responses"`,
					"[model_providers.authferry.auth]",
					"command = " + quoted(words[0]),
					"args = " + quotedList(words[1:]),
					"timeout_ms = " + wait,
					"refresh_interval_ms = 300000",
				})
			},
			Take:    func(now []byte) ([]byte, error) { return takeTables(now, "codex") },
			Current: func(now []byte) bool { return blockHas(now, "codex", "command = "+quoted(m.Binary)) },
			Proxy: func(now []byte) string {
				_, text := cutMark(now)
				r, err := findBlock(text, "codex")
				if err != nil || r == nil {
					return ""
				}
				for _, line := range r.body {
					if _, list, ok := strings.Cut(line, `"proxy-key", "`); ok {
						url, _, _ := strings.Cut(list, `"`)
						return url
					}
				}
				return ""
			},
		}}, nil
	},
	Remote: codexServer, Clears: true,
	Next: func(m Machine, c Choice) []string {
		if c.Server.Name != "" {
			return []string{"to see what Codex reads: codex mcp get " + c.Server.entryName()}
		}
		lines := []string{`to use it always, write model_provider = "authferry" at the top of ` + codexConfig(m), `to use it once: codex -c model_provider=authferry`}
		if c.Proxy != "" {
			lines = append(lines, "Codex then needs authferry serve to be running; to start it with every session: authferry setup serve")
		}
		return lines
	},
}

// codexServer: config.toml, [mcp_servers.NAME], http_headers_helper: a shell's command
// line whose output is a JSON object of headers, asked at each connection and after a
// 401. Codex clears the environment of whatever it starts. One that doesn't know the key
// would refuse the whole file.
func codexServer(m Machine, c Choice) (File, error) {
	name := c.Server.entryName()
	block := "codex --mcp " + name
	return File{
		Path: codexConfig(m), Mode: 0o600,
		Put: func(now []byte) ([]byte, error) {
			body := []string{"[mcp_servers." + name + "]"}
			// What a shell of Windows makes of a variable before a command is not known.
			if takesHeaders(m, "codex", "0.169.0") && (m.OS != "windows" || len(c.Env) == 0) {
				words := headersHelper(m, c)
				if len(c.Env) > 0 {
					words = slices.Concat([]string{"/usr/bin/env"}, c.Env, words)
				}
				body = append(body, "url = "+quoted(c.Server.Address), "http_headers_helper = "+quoted(shellLine(m, words)))
			} else {
				words := bridge(m, c)
				body = append(body, "command = "+quoted(words[0]), "args = "+quotedList(words[1:]))
				if len(c.Env) > 0 {
					body = append(body, "[mcp_servers."+name+".env]")
				}
				for _, assignment := range c.Env {
					variable, value, _ := strings.Cut(assignment, "=")
					body = append(body, variable+" = "+quoted(value))
				}
			}
			return putTables(now, block, []string{"mcp_servers", name}, body)
		},
		Take: func(now []byte) ([]byte, error) { return takeTables(now, block) },
		Current: func(now []byte) bool {
			return blockHas(now, block, "command = "+quoted(m.Binary)) || blockHas(now, block, strings.Trim(quoted(shellLine(m, []string{m.Binary, "helper", "mcp-headers"})), `"`))
		},
		Servers: func(now []byte) (entries []Entry) {
			var file struct {
				Servers map[string]struct {
					Helper  string `toml:"http_headers_helper"`
					Command string
					Args    []string
					Env     map[string]string
				} `toml:"mcp_servers"`
			}
			_ = toml.Unmarshal([]byte(textOf(now)), &file) // what can't be read has no words
			for line := range strings.Lines(textOf(now)) {
				rest, ok := strings.CutPrefix(line, beginPrefix+"codex --mcp ")
				name, begins, _ := strings.Cut(rest, ": ")
				if !ok || !strings.HasPrefix(begins, "begin ") {
					continue
				}
				s := file.Servers[name]
				entries = append(entries, entryOf(name, cmp.Or(s.Helper, shellLine(m, append([]string{s.Command}, s.Args...))), s.Env))
			}
			return entries
		},
	}, nil
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
