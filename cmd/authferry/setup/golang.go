package setup

import (
	"path/filepath"
	"strings"
)

// golang: go help goauth, go help environment. Go takes the first credential that a command
// of the list has for a URL.
var golang = Client{
	Name: "go", Title: "Go", Programs: []string{"go"},
	Files: func(m Machine, c Choice) ([]File, error) {
		path, err := goEnvFile(m)
		if err != nil {
			return nil, err
		}
		return []File{{
			Path: path, Mode: 0o644,
			Put: func(now []byte) ([]byte, error) {
				if m.Getenv("GOAUTH") != "" {
					return nil, refuse("GOAUTH is set in the environment, which overrides this file").run("unset GOAUTH")
				}
				ours, err := goCommand(m, c)
				if err != nil {
					return nil, err
				}
				return putGoAuth(now, ours)
			},
			Take: takeGoAuth,
			Current: func(now []byte) bool {
				ours, err := goCommand(m, Choice{})
				return err == nil && strings.Contains(string(now), ours)
			},
		}}, nil
	},
}

func goEnvFile(m Machine) (string, error) {
	switch path := m.Getenv("GOENV"); path {
	case "":
	case "off":
		return "", refuse("GOENV is off, so go reads no configuration").run("unset GOENV")
	default:
		return path, nil
	}
	config := filepath.Join(m.Home, ".config")
	switch {
	case m.OS == "windows":
		config = m.Getenv("AppData")
	case m.OS == "darwin":
		config = filepath.Join(m.Home, "Library", "Application Support")
	case m.Getenv("XDG_CONFIG_HOME") != "":
		config = m.Getenv("XDG_CONFIG_HOME")
	}
	return filepath.Join(config, "go", "env"), nil
}

// goCommand quotes for cmd/internal/quoted: quotes around a whole word, without escapes.
// Before that, go splits the list at every semicolon.
func goCommand(m Machine, c Choice) (string, error) {
	words := helper(m, c, "goauth")
	for i, w := range words {
		single, double := strings.Contains(w, "'"), strings.Contains(w, `"`)
		switch {
		case strings.ContainsAny(w, ";\n\r"), single && double:
			return "", refuse("go can't run a command with %q in it", w).instead("choose the account with --account")
		case single:
			words[i] = `"` + w + `"`
		case double, strings.ContainsAny(w, " \t"):
			words[i] = "'" + w + "'"
		}
	}
	return strings.Join(words, " "), nil
}

var goAuthLine = pattern(`(?m)^GOAUTH=([^\r\n]*)`)

// putGoAuth adds our command before the existing ones, or adds a line.
func putGoAuth(now []byte, ours string) ([]byte, error) {
	mark, text := cutMark(now)
	r, err := findBlock(text, "go")
	if err != nil {
		return nil, err
	}
	if r != nil {
		if _, err := takeGoAuth(now); err != nil {
			return nil, err
		}
		return putBlock(now, "go", []string{"GOAUTH=" + ours + "; netrc"}, 0)
	}
	found := goAuthLine().FindAllStringSubmatchIndex(text, -1)
	if len(found) == 0 {
		return putBlock(now, "go", []string{"GOAUTH=" + ours + "; netrc"}, len(text))
	}
	at := found[len(found)-1] // the last line counts
	commands := text[at[2]:at[3]]
	if strings.TrimSpace(commands) == "off" {
		return nil, refuse("GOAUTH is off there, which rules out any other method").run("go env -u GOAUTH")
	}
	first, rest, listed := strings.Cut(commands, "; ")
	if listed && goCallsUs(first) {
		commands = rest
	}
	if strings.TrimSpace(commands) == "" {
		return nil, refuse("GOAUTH is empty there, which is netrc alone").run("go env -u GOAUTH")
	}
	return []byte(mark + text[:at[2]] + ours + "; " + commands + text[at[3]:]), nil
}

func takeGoAuth(now []byte) ([]byte, error) {
	mark, text := cutMark(now)
	r, err := findBlock(text, "go")
	if err != nil {
		return nil, err
	}
	if r != nil {
		value, ok := strings.CutPrefix(strings.Join(r.body, "\n"), "GOAUTH=")
		if first, _, _ := strings.Cut(value, ";"); !ok || !goCallsUs(first) {
			return nil, refuse("GOAUTH, which authferry set, has been changed since").instead("edit it by hand")
		}
		return takeBlock(now, "go")
	}
	found := goAuthLine().FindAllStringSubmatchIndex(text, -1)
	if len(found) == 0 {
		return now, nil
	}
	at := found[len(found)-1]
	commands := text[at[2]:at[3]]
	first, rest, listed := strings.Cut(commands, "; ")
	if !listed || !goCallsUs(first) {
		return now, nil
	}
	return []byte(mark + text[:at[2]] + rest + text[at[3]:]), nil
}

func goCallsUs(command string) bool { return callsUs(command, "goauth") }
