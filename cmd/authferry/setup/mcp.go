package setup

import (
	"cmp"
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// mcpServer enters authferry's MCP server with the clients that are installed, or
// that the choice names.
var mcpServer = Client{
	Name: "mcp", Title: "MCP server, for Claude Code, Codex and OpenCode", Programs: mcpPrograms,
	Files: func(m Machine, c Choice) ([]File, error) {
		words := append([]string{m.Binary, "mcp"}, c.selection()...)
		for _, name := range c.For {
			if !slices.Contains(mcpClients, name) {
				return nil, refuse("%q is not a client that can be set up for the MCP server", name).instead("--for takes %s", strings.Join(mcpClients, ", "))
			}
		}
		wanted := func(client, program string, f File) File {
			put := f.Put
			f.Optional = true
			f.Put = func(now []byte) ([]byte, error) {
				if len(c.For) == 0 && (Client{Programs: mcpPrograms}).Installed(m) == "" {
					return nil, refuse("none of the clients is installed").instead("name one with --for %s", strings.Join(mcpClients, ", "))
				}
				_, err := m.LookPath(program)
				if len(c.For) > 0 && !slices.Contains(c.For, client) || len(c.For) == 0 && err != nil {
					return now, nil
				}
				return put(now)
			}
			return f
		}
		return []File{
			wanted("claude-code", "claude", mcpJSON(m, claudeState(m), []string{"mcpServers", "authferry"}, struct {
				Type    string   `json:"type"`
				Command string   `json:"command"`
				Args    []string `json:"args"`
			}{"stdio", words[0], words[1:]}, map[string]any{"command": words[0], "args": words[1:]})),
			wanted("codex", "codex", File{
				Path: codexConfig(m), Mode: 0o600,
				Put: func(now []byte) ([]byte, error) {
					return putTables(now, "mcp", []string{"mcp_servers", "authferry"}, []string{
						"[mcp_servers.authferry]", "command = " + quoted(words[0]), "args = " + quotedList(words[1:]),
					})
				},
				Take:    func(now []byte) ([]byte, error) { return takeTables(now, "mcp") },
				Current: func(now []byte) bool { return blockHas(now, "mcp", "command = "+quoted(m.Binary)) },
			}),
			wanted("opencode", "opencode", mcpJSON(m, openCodeConfig(m), []string{"mcp", "authferry"}, struct {
				Type    string   `json:"type"`
				Command []string `json:"command"`
				Enabled bool     `json:"enabled"`
			}{"local", words, true}, map[string]any{"command": words})),
		}, nil
	},
}

var (
	mcpClients  = []string{"claude-code", "codex", "opencode"}
	mcpPrograms = []string{"claude", "codex", "opencode"}
)

// claudeState is where `claude mcp add --scope user` writes.
func claudeState(m Machine) string {
	return filepath.Join(cmp.Or(m.Getenv("CLAUDE_CONFIG_DIR"), m.Home), ".claude.json")
}

// openCodeConfig is the one that is there, of the names that OpenCode reads.
func openCodeConfig(m Machine) string {
	dir := filepath.Join(cmp.Or(m.Getenv("XDG_CONFIG_HOME"), filepath.Join(m.Home, ".config")), "opencode")
	if path := filepath.Join(dir, "opencode.jsonc"); exists(path) {
		return path
	}
	return filepath.Join(dir, "opencode.json")
}

// mcpJSON is a file in which the member at path tells how to start the server. An
// entry that is there already gets the members of call alone: the others may be
// somebody's own.
func mcpJSON(m Machine, file string, path []string, entry any, call map[string]any) File {
	ours := func(now []byte) (starts string, there bool, err error) {
		if now == nil {
			return "", false, nil
		}
		d, err := parseJSON(now)
		if err != nil {
			return "", false, err
		}
		var found map[string]json.RawMessage // a struct would take "Command" as well
		there, err = d.decode(path, &found)
		if err != nil {
			return "", there, err
		}
		var words []string
		if json.Unmarshal(found["command"], &words) != nil || len(words) == 0 {
			words = []string{""}
			_ = json.Unmarshal(found["command"], &words[0]) // no text is nobody's program
		}
		return words[0], there, nil
	}
	return File{
		Path: file, Mode: 0o600,
		Private: func(now []byte) []string { return othersIn(now, path, "type", "command", "args", "enabled") },
		Put: func(now []byte) ([]byte, error) {
			starts, there, err := ours(now)
			if err != nil {
				return nil, err
			}
			if !there {
				return setJSON(now, path, entry)
			}
			if !isOurs(starts) {
				return nil, refuse("%s starts %q already", strings.Join(path, "."), program(starts)).instead("take %s out of that file", strings.Join(path, "."))
			}
			for _, name := range slices.Sorted(maps.Keys(call)) {
				if now, err = setJSON(now, append(slices.Clone(path), name), call[name]); err != nil {
					return nil, err
				}
			}
			return now, nil
		},
		Take: func(now []byte) ([]byte, error) {
			starts, there, err := ours(now)
			if err != nil || !there || !isOurs(starts) {
				return now, err
			}
			return dropJSON(now, path)
		},
		Current: func(now []byte) bool {
			starts, _, err := ours(now)
			return err == nil && starts == m.Binary
		},
	}
}
