package setup

import (
	"cmp"
	"path/filepath"
	"strings"
)

// claudeCode: settings.json, apiKeyHelper: a shell's command line whose output is
// the key, asked again every five minutes and after a 401. With a proxy the base URL
// is its, and so is the key.
var claudeCode = Client{
	Name: "claude-code", Title: "Claude Code", Programs: []string{"claude"}, Asks: true, Proxied: "anthropic",
	Files: func(m Machine, c Choice) ([]File, error) {
		return []File{{
			Path: filepath.Join(claudeDir(m), "settings.json"), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				if now != nil {
					if line, there, err := claudeHelper(now); err != nil {
						return nil, err
					} else if there && !callsUs(line, "api-key") && !callsUs(line, "proxy-key") {
						return nil, refuse("apiKeyHelper is %q already", program(line)).instead("take apiKeyHelper out of that file")
					}
				}
				now, err := dropClaudeBase(now)
				if err != nil {
					return nil, err
				}
				if c.Proxy == "" {
					return setJSON(now, helperPath, shellLine(m, helper(m, c, "api-key")))
				}
				if err := noClaudeKeys(now); err != nil {
					return nil, err
				}
				if now, err = setJSON(now, helperPath, shellLine(m, proxyKey(m, c))); err != nil {
					return nil, err
				}
				return setJSON(now, basePath, claudeBase(c))
			},
			Take: func(now []byte) ([]byte, error) {
				if now == nil {
					return nil, nil
				}
				line, _, err := claudeHelper(now)
				if err != nil || !callsUs(line, "api-key") && !callsUs(line, "proxy-key") {
					return now, err
				}
				if now, err = dropClaudeBase(now); err != nil {
					return nil, err
				}
				return dropJSON(now, helperPath)
			},
			Current: func(now []byte) bool {
				line, _, err := claudeHelper(now)
				if url := proxyOf(line); url != "" {
					var base string
					d, _ := parseJSON(now)
					_, _ = d.decode(basePath, &base)
					return strings.HasPrefix(line, shellLine(m, proxyKey(m, Choice{}))) && strings.HasPrefix(base, url+"/")
				}
				return err == nil && strings.HasPrefix(line, shellLine(m, helper(m, Choice{}, "api-key")))
			},
			Proxy: func(now []byte) string {
				line, _, _ := claudeHelper(now)
				return proxyOf(line)
			},
		}}, nil
	},
	Remote: claudeServer,
	Next: func(_ Machine, c Choice) []string {
		switch {
		case c.Server.Name != "":
			return []string{"to see whether it connects: claude mcp list"}
		case c.Proxy == "":
			return nil
		}
		return []string{"Claude Code then needs authferry serve to be running; to start it with every session: authferry setup serve"}
	},
}

// claudeServer: ~/.claude.json, mcpServers.NAME.headersHelper: a shell's command line
// whose output is a JSON object of headers, asked at each connection and after a 401. A
// Claude Code up to 2.1.220 makes a login of its own first, and sends the token to the
// authorization server as it does; from 2.1.332 on it is known not to.
func claudeServer(m Machine, c Choice) (File, error) {
	words := bridge(m, c)
	fields := []field{{"type", "stdio"}, {"command", words[0]}, {"args", words[1:]}}
	if takesHeaders(m, "claude", "2.1.332") {
		fields = []field{{"type", "http"}, {"url", c.Server.Address}, {"headersHelper", shellLine(m, headersHelper(m, c))}}
	}
	return serverEntry(m, c, claudeState(m), []string{"mcpServers"}, fields, "env"), nil
}

var (
	helperPath = []string{"apiKeyHelper"}
	basePath   = []string{"env", "ANTHROPIC_BASE_URL"}
)

func claudeBase(c Choice) string { return c.Proxy + "/" + c.Provider }

// dropClaudeBase takes the base URL out that belongs to a helper of a proxy.
func dropClaudeBase(now []byte) ([]byte, error) {
	if now == nil {
		return nil, nil
	}
	line, _, err := claudeHelper(now)
	url := proxyOf(line)
	if err != nil || url == "" {
		return now, err
	}
	d, err := parseJSON(now)
	if err != nil {
		return nil, err
	}
	var base string
	if there, err := d.decode(basePath, &base); err != nil || !there || !strings.HasPrefix(base, url+"/") {
		return now, err
	}
	return dropJSON(now, basePath)
}

// noClaudeKeys refuses what would win over the proxy's address and key: a real key would
// be sent in its place.
func noClaudeKeys(now []byte) error {
	if now == nil {
		return nil
	}
	d, err := parseJSON(now)
	if err != nil {
		return err
	}
	for _, name := range []string{"ANTHROPIC_BASE_URL", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_API_KEY", "CLAUDE_CODE_OAUTH_TOKEN"} {
		found, err := d.find([]string{"env", name})
		if err != nil {
			return err
		}
		if len(found) == 2 {
			return refuse("env already has %s, which would override the proxy", name).instead("take %s out of env in that file", name)
		}
	}
	return nil
}

func claudeDir(m Machine) string {
	return cmp.Or(m.Getenv("CLAUDE_CONFIG_DIR"), filepath.Join(m.Home, ".claude"))
}

func claudeHelper(now []byte) (line string, there bool, err error) {
	d, err := parseJSON(now)
	if err != nil {
		return "", false, err
	}
	there, err = d.decode(helperPath, &line)
	return line, there, err
}
