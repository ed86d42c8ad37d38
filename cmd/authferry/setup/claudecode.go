package setup

import (
	"cmp"
	"path/filepath"
	"strings"
)

// claudeCode: settings.json, apiKeyHelper: a shell's command line whose output is
// the key, asked again every five minutes and after a 401.
var claudeCode = Client{
	Name: "claude-code", Title: "Claude Code", Programs: []string{"claude"}, Asks: true,
	Files: func(m Machine, c Choice) ([]File, error) {
		path := []string{"apiKeyHelper"}
		return []File{{
			Path: filepath.Join(claudeDir(m), "settings.json"), Mode: 0o600,
			Put: func(now []byte) ([]byte, error) {
				if now != nil {
					if line, there, err := claudeHelper(now, path); err != nil {
						return nil, err
					} else if there && !callsUs(line, "api-key") {
						return nil, refuse("apiKeyHelper is %q already", program(line)).instead("take apiKeyHelper out of that file")
					}
				}
				return setJSON(now, path, shellLine(m, helper(m, c, "api-key")))
			},
			Take: func(now []byte) ([]byte, error) {
				if now == nil {
					return nil, nil
				}
				line, _, err := claudeHelper(now, path)
				if err != nil || !callsUs(line, "api-key") {
					return now, err
				}
				return dropJSON(now, path)
			},
			Current: func(now []byte) bool {
				line, _, err := claudeHelper(now, path)
				return err == nil && strings.HasPrefix(line, shellLine(m, helper(m, Choice{}, "api-key")))
			},
		}}, nil
	},
}

func claudeDir(m Machine) string {
	return cmp.Or(m.Getenv("CLAUDE_CONFIG_DIR"), filepath.Join(m.Home, ".claude"))
}

func claudeHelper(now []byte, path []string) (line string, there bool, err error) {
	d, err := parseJSON(now)
	if err != nil {
		return "", false, err
	}
	there, err = d.decode(path, &line)
	return line, there, err
}
