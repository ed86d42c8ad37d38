package setup

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/cmd/authferry/opencode"
	"github.com/authferry/authferry/testenv"
)

func desk(t *testing.T) Machine {
	t.Helper()
	return Machine{
		OS: "linux", Home: t.TempDir(), Binary: "/opt/bin/authferry",
		Getenv: func(string) string { return "" }, LookPath: func(string) (string, error) { return "", errors.New("not here") },
	}
}

// setPluginUp sets OpenCode up, or undoes it, and says how many files changed.
func setPluginUp(t *testing.T, m Machine, c Choice, undo bool) int {
	t.Helper()
	changes, err := openCode.Plan(m, c, undo)
	testenv.Must(t, err)
	for _, change := range changes {
		testenv.Must(t, change.Apply())
	}
	return len(changes)
}

func stateOfPlugin(t *testing.T, m Machine) State {
	t.Helper()
	s, err := openCode.State(m)
	testenv.Must(t, err)
	return s
}

func pluginSettings(t *testing.T, m Machine) opencode.Settings {
	t.Helper()
	file, err := os.ReadFile(pluginPath(m))
	testenv.Must(t, err)
	s, ours := opencode.Read(file)
	if !ours {
		t.Fatalf("%s isn't authferry's", pluginPath(m))
	}
	return s
}

func TestOpenCodeComesAndGoes(t *testing.T) {
	m := desk(t)
	folder := filepath.Join(m.Home, ".config", "opencode")
	testenv.Must(t, os.MkdirAll(folder, 0o700))
	theirs := filepath.Join(folder, "opencode.jsonc")
	const config = "{ // mine\n  \"theme\": \"nord\",\n}\n"
	testenv.Must(t, os.WriteFile(theirs, []byte(config), 0o600))

	if got := stateOfPlugin(t, m); got != Absent {
		t.Errorf("before: %s", got)
	}
	if got := setPluginUp(t, m, Choice{}, false); got != 1 {
		t.Errorf("set up: %d changes, want 1", got)
	}
	if got := stateOfPlugin(t, m); got != Current {
		t.Errorf("set up: %s", got)
	}
	s := pluginSettings(t, m)
	if s.Binary != m.Binary || s.Providers["anthropic"].Provider != "anthropic" || s.Providers["openai"].Provider != "openai" {
		t.Errorf("settings %+v", s)
	}
	if _, there := s.Providers["github-copilot"]; there {
		t.Error("github-copilot is mapped; its tokens come from OpenCode's own login")
	}
	if got := setPluginUp(t, m, Choice{}, false); got != 0 {
		t.Errorf("set up again: %d changes, want none", got)
	}
	if got := setPluginUp(t, m, Choice{}, true); got != 1 {
		t.Errorf("undo: %d changes, want 1", got)
	}
	if _, err := os.Stat(pluginPath(m)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("undo left the plugin: %v", err)
	}
	if got := setPluginUp(t, m, Choice{}, true); got != 0 {
		t.Errorf("undo again: %d changes, want none", got)
	}
	if now, err := os.ReadFile(theirs); err != nil || string(now) != config {
		t.Errorf("opencode.jsonc is now %q (%v)", now, err)
	}
}

func TestOpenCodeOutdated(t *testing.T) {
	m := desk(t)
	setPluginUp(t, m, Choice{Map: map[string]string{"mine": "acme"}}, false)
	for name, change := range map[string]func([]byte) []byte{
		"by another version": func(file []byte) []byte { return append(file, "// older\n"...) },
		"without settings":   func(file []byte) []byte { return bytes.Replace(file, []byte("const SETTINGS"), []byte("const S"), 1) },
	} {
		file, err := os.ReadFile(pluginPath(m))
		testenv.Must(t, err)
		testenv.Must(t, os.WriteFile(pluginPath(m), change(file), 0o600))
		if got := stateOfPlugin(t, m); got != Outdated {
			t.Errorf("%s: %s, want outdated", name, got)
		}
		setPluginUp(t, m, Choice{}, false)
		if got := stateOfPlugin(t, m); got != Current {
			t.Errorf("%s, set up again: %s", name, got)
		}
	}

	setPluginUp(t, m, Choice{Map: map[string]string{"mine": "acme"}}, false)
	m.Binary = "/elsewhere/authferry"
	if got := stateOfPlugin(t, m); got != Outdated {
		t.Errorf("authferry moved: %s, want outdated", got)
	}
	setPluginUp(t, m, Choice{}, false)
	if s := pluginSettings(t, m); s.Binary != m.Binary || s.Providers["mine"].Provider != "acme" {
		t.Errorf("set up again: %+v, want the new path and the old map", s)
	}
}

func TestOpenCodeChoice(t *testing.T) {
	m := desk(t)
	setPluginUp(t, m, Choice{Map: map[string]string{"mine": "anthropic", "google": ""}, Provider: "anthropic", Pool: "work"}, false)
	s := pluginSettings(t, m)
	want := map[string]opencode.Selection{
		"anthropic": {Provider: "anthropic", Pool: "work"}, "mine": {Provider: "anthropic", Pool: "work"}, "openai": {Provider: "openai"},
	}
	if len(s.Providers) != len(want) {
		t.Errorf("providers %v", s.Providers)
	}
	for id, selection := range want {
		if s.Providers[id] != selection {
			t.Errorf("%s: %+v, want %+v", id, s.Providers[id], selection)
		}
	}
	setPluginUp(t, m, Choice{Provider: "anthropic"}, false)
	if s := pluginSettings(t, m); len(s.Providers) != 2 || s.Providers["mine"] != (opencode.Selection{Provider: "anthropic"}) {
		t.Errorf("for anthropic alone: %v", s.Providers)
	}
	for name, c := range map[string]Choice{
		"a provider that nothing maps to": {Provider: "github", Account: "Work"},
		"a flag for a provider":           {Map: map[string]string{"anthropic": "--verbose"}},
		"a quote in an id":                {Map: map[string]string{`a"b`: "anthropic"}},
		"no id":                           {Map: map[string]string{"": "anthropic"}},
	} {
		if _, err := openCode.Plan(m, c, false); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestOpenCodeLeavesAStrangersPlugin(t *testing.T) {
	m := desk(t)
	testenv.Must(t, os.MkdirAll(filepath.Dir(pluginPath(m)), 0o700))
	const theirs = "export default { id: 'authferry', server() {} }\n"
	testenv.Must(t, os.WriteFile(pluginPath(m), []byte(theirs), 0o600))
	if _, err := openCode.Plan(m, Choice{}, false); err == nil || !strings.Contains(err.Error(), "authferry.js") {
		t.Errorf("error %v, want one that names the file", err)
	}
	if got := setPluginUp(t, m, Choice{}, true); got != 0 {
		t.Error("undo changed somebody else's plugin")
	}
}

func TestOpenCodeFollowsXDG(t *testing.T) {
	m := desk(t)
	config := t.TempDir()
	m.Getenv = func(name string) string { return map[string]string{"XDG_CONFIG_HOME": config}[name] }
	setPluginUp(t, m, Choice{}, false)
	testenv.Check(t, testenv.Err(os.Stat(filepath.Join(config, "opencode", "plugin", "authferry.js"))))
}
