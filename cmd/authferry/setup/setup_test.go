package setup

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Alone(m).Run()) }

// machine is a home of its own, with the programs that this machine has.
func machine(t *testing.T, env ...string) Machine {
	t.Helper()
	home := t.TempDir()
	bin := filepath.Join(home, "bin")
	testenv.Must(t, os.Mkdir(bin, 0o700))
	binary := filepath.Join(bin, "authferry")
	testenv.Must(t, os.WriteFile(binary, []byte("#!/bin/sh\nexit 1\n"), 0o700))
	vars := map[string]string{"PATH": bin, "AppData": filepath.Join(home, "AppData"), "APPDATA": filepath.Join(home, "AppData")}
	for _, v := range env {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return Machine{
		OS: runtime.GOOS, Home: home, Binary: binary,
		Getenv:   func(name string) string { return vars[name] },
		LookPath: exec.LookPath,
	}
}

var choice = Choice{
	Provider: "sim", Account: "acc_aaaaaaaaaaaaaaaa", Pool: "sim",
	Origins: []string{"https://one.example"}, For: []string{"claude-code", "codex", "opencode"},
}

// put makes a plan and carries it out.
func put(t *testing.T, c Client, m Machine, choice Choice, undo bool) []Change {
	t.Helper()
	changes, err := c.Plan(m, choice, undo)
	testenv.Must(t, err)
	testenv.Must(t, ApplyAll(changes))
	return changes
}

func state(t *testing.T, c Client, m Machine, want State) {
	t.Helper()
	got, err := c.State(m)
	if err != nil || got != want {
		t.Errorf("state is %q, %v, want %q", got, err, want)
	}
}

// files are what a client may find, by client: it gets each of them, in each of
// the ways in which files are written.
var files = map[string][]string{
	"git":         {"", "[user]\n\tname = A # me\n", "[credential]\n\thelper = store\n[credential \"https://other.example\"]\n\thelper = x\n", "\n\n"},
	"go":          {"", "# mine\nGOFLAGS=-mod=mod\n", "GOAUTH=netrc\nGOPRIVATE=a.example\n", "GOPRIVATE=a\nGOAUTH=git /home/me/src; netrc\n", "GOAUTH=netrc\n# between\nGOAUTH=other helper\n"},
	"docker":      {"{}", "{\n}\n", "{ }", "{\n\t\"auths\": {\n\t\t\"r.example\": {\"auth\": \"c2VjcmV0\"}\n\t}\n}\n", `{"credHelpers":{}}`, `{"credHelpers":{ }}`, "{\n  \"credHelpers\": {\n    \"gcr.io\": \"gcloud\"\n  },\n  \"credsStore\": \"desktop\"\n}\n", `{"a":1}`},
	"claude-code": {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{\"permissions\":{\"allow\":[\"x\"]}}", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}"},
	"codex":       {"", "# top\nmodel = \"gpt-5\"\n\n[profiles.a]\nmodel = 'x'\n", "[model_providers.other]\nname = \"o\"\n", "a = \"\"\"\nlong\n\"\"\"\n", "[mcp_servers.x]\ncommand = \"y\"\n"},
	"mcp":         {"", "# c\nmodel = \"gpt-5\"\n[mcp_servers.other]\ncommand = \"x\"\n"},
	"kubernetes": {
		"", "apiVersion: v1\nkind: Config\nusers: []\n", "users: null # none yet\nkind: Config\n", "users:\nkind: Config\n",
		"# mine\napiVersion: v1\nkind: Config\ncurrent-context: a\nusers:\n# the first\n- name: a\n  user:\n    token: secret\ncontexts: []\n",
		"kind: Config\nusers:\n  - name: a\n    user: {}\n", "kind: Config\n", "---\nkind: Config\nusers: ~\n", "users:\n", "kind: Config\nclusters:\n- cluster:\n    certificate-authority-data: |\n      AAAA\n  name: c\n",
	},
	"cargo": {
		"[registries.mine]\nindex = \"sparse+https://one.example/index/\"\n", "# c\n[build]\njobs = 1\n[registries.\"mine\"] # here\nindex = 'sparse+https://one.example/'\n[registries.other]\nindex = \"https://other.example\"\ntoken = \"x\"\n",
		"[registries.a]\nindex = \"sparse+https://one.example/a/\"\n\n[registries.b]\nindex = \"sparse+https://ONE.example/b/\"\n[net]\noffline = true\n",
	},
	"terraform": {"", "# c\nplugin_cache_dir = \"$HOME/.cache\" // x\ncredentials \"app.example\" {\n  token = \"s{ecret\"\n}\n", "/* { */\nprovider_installation {\n  direct {}\n}\n"},
}

// edited are the clients whose own files are changed.
func edited() []Client {
	return slices.DeleteFunc(Clients(), func(c Client) bool { return files[c.Name] == nil })
}

// styles are how one text may be written.
var styles = map[string]func(string) string{
	"as it is":         func(s string) string { return s },
	"CRLF":             func(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") },
	"no final newline": func(s string) string { return strings.TrimRight(s, "\n") },
	"CRLF, none at the end": func(s string) string {
		return strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\r\n")
	},
	"byte order mark": func(s string) string { return byteOrderMark + s },
	"tabs":            func(s string) string { return strings.ReplaceAll(s, "  ", "\t") },
	"mixed":           func(s string) string { return strings.Replace(s, "\n", "\r\n", 1) },
}

// What setup puts into a file it takes out again so that the file is as it was,
// byte for byte, and what it puts in twice changes nothing the second time.
func TestThereAndBack(t *testing.T) {
	for _, c := range edited() {
		for i, text := range append([]string{"no file"}, files[c.Name]...) {
			for style, write := range styles {
				if (c.Name == "kubernetes" || c.Name == "git") && style == "tabs" {
					continue
				}
				t.Run(fmt.Sprint(c.Name, "/", i, "/", style), func(t *testing.T) {
					t.Parallel()
					thereAndBack(t, c, i == 0, write(text))
				})
			}
		}
	}
}

func needs(t *testing.T, client string) {
	t.Helper()
	if _, err := exec.LookPath("git"); client == "git" && err != nil {
		t.Skip("needs git: apt-get install git")
	}
}

func thereAndBack(t *testing.T, c Client, absent bool, text string) {
	if c.Name == "cargo" && absent {
		return // there is no registry then
	}
	needs(t, c.Name)
	m := machine(t)
	all, err := c.Files(m, choice)
	testenv.Must(t, err)
	before := map[string][]byte{}
	for _, f := range all {
		if f.Link != "" || absent {
			continue
		}
		content := text
		if c.Name == "mcp" && !strings.HasSuffix(f.Path, ".toml") {
			content = "{\n  \"mcpServers\": {}\n}"
		}
		write(t, f.Path, content)
		before[f.Path] = []byte(content)
	}
	state(t, c, m, Absent)
	changes := put(t, c, m, choice, false)
	if len(changes) == 0 {
		t.Fatal("nothing was changed")
	}
	state(t, c, m, Current)
	if again := put(t, c, m, choice, false); len(again) > 0 {
		t.Errorf("the second time changed:\n%s", again[0].Diff())
	}
	other := m
	other.Binary = filepath.Join(filepath.Dir(m.Binary), "authferry-2")
	if c.Name != "docker" && c.Name != "terraform" || runtime.GOOS != "windows" {
		state(t, c, other, Outdated)
		put(t, c, other, choice, false)
		state(t, c, other, Current)
	}
	put(t, c, other, Choice{}, true)
	state(t, c, m, Absent)
	for _, f := range all {
		now, err := read(f.Path, f.Link)
		if err != nil || !same(now, before[f.Path]) {
			t.Errorf("%s, %v:\n%q\nwas:\n%q", f.Path, err, now, before[f.Path])
		}
	}
	if more := put(t, c, m, Choice{}, true); len(more) > 0 {
		t.Errorf("undoing twice changed:\n%s", more[0].Diff())
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	testenv.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testenv.Must(t, os.WriteFile(path, []byte(content), 0o640))
}

// A file that can't be read, or in which somebody else stands where authferry
// would have to, is left as it is, and the reason shows no secret.
func TestRefusals(t *testing.T) {
	for _, test := range []struct{ client, content, want string }{
		{"git", "[user\nname = x\n", "can't read"},
		{"git", "[credential \"https://one.example\"]\n\thelper = \"!f() { echo password=canary; }; f\"\n", "already has the helper"},
		{"go", "GOAUTH=off\n", "GOAUTH is off"},
		{"docker", `{"auths": {"x": "canary"}`, "not JSON"},
		{"docker", "", "not JSON"},
		{"docker", "\xff\xfe{\x00}\x00", "UTF-16"},
		{"git", "[user]\n\x00\x00", "NULs"},
		{"docker", "[]", "not a JSON object"},
		{"docker", `{"credHelpers": {"one.example": "ecr canary"}}`, `already has the helper "ecr canary"`},
		{"docker", `{"credHelpers": ["canary"]}`, "not an object"},
		{"claude-code", `{"apiKeyHelper": "echo sk-canary"}`, `apiKeyHelper is "echo" already`},
		{"claude-code", `{"apiKeyHelper": 1}`, "a value of the wrong kind"},
		{"claude-code", `{"apiKeyHelper": "x}`, "not JSON"},
		{"codex", "[model_providers.authferry]\nname = \"canary\"\n", "has a table [model_providers.authferry]"},
		{"codex", "key = canary\n", "not TOML"},
		{"codex", "model_providers = { x = {} }\n", "can't be added"},
		{"mcp", `{"mcpServers": {"authferry": {"command": "/bin/other", "env": {"K": "canary"}}}}`, `starts "/bin/other" already`},
		{"kubernetes", "users:\n- name: authferry\n  user:\n    token: canary\n", "called authferry already"},
		{"kubernetes", "{\"users\": []}", "JSON"},
		{"kubernetes", "users: [{name: a, user: {token: canary}}]\n", "way of their own"},
		{"kubernetes", "users:\n\t- name: x\n", "tab"},
		{"kubernetes", "kind: Config\n---\nkind: Config\n", "several documents"},
		{"cargo", "[registries.mine]\nindex = \"sparse+https://one.example/\"\ncredential-provider = \"cargo:token\"\n", "has a credential-provider"},
		{"cargo", "[registries.mine]\nindex = \"sparse+https://one.example/\"\ntoken = \"canary\"\n", "without a token"},
		{"cargo", "[registries]\nmine = {index = \"sparse+https://one.example/\"}\n", "table of its own"},
		{"cargo", "[registries.mine]\nindex = \"sparse+https://one.example.org/\"\n", "no registry"},
		{"cargo", "[registries.mine\n", "not TOML"},
		{"terraform", "credentials_helper \"other\" {\n}\n", `helper "other" already`},
		{"terraform", "credentials \"x\" {\n  token = \"canary\"\n", "not HCL"},
		{"terraform", "a = \"canary\n", "not HCL"},
		{"terraform", "{\"credentials\": {}}", "JSON"},
	} {
		t.Run(test.client+" "+test.want, func(t *testing.T) {
			needs(t, test.client)
			c := client(t, test.client)
			m := machine(t)
			all, err := c.Files(m, choice)
			testenv.Must(t, err)
			write(t, all[0].Path, test.content)
			changes, err := c.Plan(m, choice, false)
			refusal, ok := errors.AsType[*Refusal](err)
			if !ok || !strings.Contains(refusal.Why, test.want) {
				t.Fatalf("got %v and %d changes, want %q", err, len(changes), test.want)
			}
			if leak := refusal.Why + refusal.Edit; strings.Contains(leak, "canary") && !strings.Contains(test.want, "canary") {
				t.Errorf("the reason shows what stands there: %s", leak)
			}
			if now, _ := os.ReadFile(all[0].Path); string(now) != test.content {
				t.Errorf("the file was changed: %q", now)
			}
		})
	}
}

func client(t *testing.T, name string) Client {
	t.Helper()
	i := slices.IndexFunc(Clients(), func(c Client) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("no client %s", name)
	}
	return Clients()[i]
}

// The link that a dotfile manager made stays a link, and what it leads to changes.
func TestLinkedFile(t *testing.T) {
	m := machine(t)
	real := filepath.Join(m.Home, "dotfiles", "claude.json")
	write(t, real, "{}\n")
	path := filepath.Join(m.Home, ".claude", "settings.json")
	testenv.Must(t, os.Mkdir(filepath.Dir(path), 0o700))
	err := os.Symlink(filepath.Join("..", "dotfiles", "claude.json"), path)
	if _, readErr := os.Readlink(path); runtime.GOOS == "windows" && (err != nil || readErr != nil) {
		t.Skip("needs links: a Windows without developer mode has none")
	}
	testenv.Must(t, err)
	put(t, client(t, "claude-code"), m, choice, false)
	if target, err := os.Readlink(path); err != nil || filepath.Base(target) != "claude.json" {
		t.Errorf("the link is %q, %v", target, err)
	}
	if now, _ := os.ReadFile(real); !bytes.Contains(now, []byte("apiKeyHelper")) {
		t.Errorf("what it leads to is %q", now)
	}
	info, err := os.Stat(real)
	if err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", info.Mode(), err)
	}
	put(t, client(t, "claude-code"), m, choice, true)
	if now, _ := os.ReadFile(real); string(now) != "{}\n" {
		t.Errorf("undone, it is %q", now)
	}
}

// A file that changed after the plan was made, or that is read-only, is left alone;
// of several changes all are made or none.
func TestNotMine(t *testing.T) {
	m := machine(t)
	c := client(t, "mcp")
	all, err := c.Files(m, choice)
	testenv.Must(t, err)
	write(t, all[0].Path, "{}\n")
	changes, err := c.Plan(m, choice, false)
	testenv.Must(t, err)
	last := all[len(all)-1].Path
	write(t, last, "{\"mine\": 1}\n")
	if err := ApplyAll(changes); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v, want ErrChanged", err)
	}
	for path, want := range map[string]string{all[0].Path: "{}\n", last: "{\"mine\": 1}\n"} {
		if now, _ := os.ReadFile(path); string(now) != want {
			t.Errorf("%s is %q, want %q", path, now, want)
		}
	}
	if _, err := os.Stat(all[1].Path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s was left there: %v", all[1].Path, err)
	}
	testenv.Must(t, os.Chmod(last, 0o400))
	if changes, err = c.Plan(m, choice, false); err != nil {
		t.Fatal(err)
	}
	if err := ApplyAll(changes); !errors.Is(err, errReadOnly) {
		t.Errorf("got %v, want that it is read-only", err)
	}
}

// What is shown of a change is only the change: the file may hold secrets.
func TestDiffShowsOnlyTheChange(t *testing.T) {
	for _, before := range []string{
		`{"auths":{"r.example":{"auth":"Y2FuYXJ5Y2FuYXJ5"}}}`,
		"{\n\t\"auths\": {\n\t\t\"r.example\": {\n\t\t\t\"auth\": \"Y2FuYXJ5\"\n\t\t}\n\t}\n}\n",
		`{"credHelpers":{"gcr.io":"gcloud"},"auths":{"r.example":{"auth":"Y2FuYXJ5Y2FuYXJ5"}}}`,
	} {
		m := machine(t)
		c := client(t, "docker")
		write(t, filepath.Join(m.Home, ".docker", "config.json"), before)
		for _, undo := range []bool{false, true} {
			var shown strings.Builder
			for _, change := range put(t, c, m, choice, undo) {
				shown.WriteString(change.Diff())
			}
			if strings.Contains(shown.String(), "Y2FuYXJ5") || !strings.Contains(shown.String(), `"one.example": "authferry"`) {
				t.Errorf("shown is:\n%s", shown.String())
			}
		}
	}
}

// Nor of a short line is shown what stays as it was: it may hold a secret too.
func TestDiffShowsNothingShort(t *testing.T) {
	for _, test := range []struct{ client, path, before string }{
		{"claude-code", ".claude/settings.json", `{"env":{"PW":"canary"}}`},
		{"claude-code", ".claude/settings.json", `{"a":"canary"}`},
		{"claude-code", ".claude/settings.json", "{\n  \"a\": \"canary\"\n}\n"},
		{"claude-code", ".claude/settings.json", "{\n  \"a\": \"canary\"}"},
		{"docker", ".docker/config.json", `{"a":"canary"}`},
		{"docker", ".docker/config.json", `{"credHelpers":{},"a":"canary"}`},
		{"mcp", ".claude.json", `{"mcpServers":{},"a":"canary"}`},
		{"mcp", ".claude.json", `{"a":"canary","mcpServers":{"x":{}}}`},
	} {
		m := machine(t)
		write(t, filepath.Join(m.Home, filepath.FromSlash(test.path)), test.before)
		for _, undo := range []bool{false, true} {
			for _, change := range put(t, client(t, test.client), m, choice, undo) {
				if shown := change.Diff(); strings.Contains(shown, "canary") {
					t.Errorf("%s of %q, undone %v: shown is\n%s", test.client, test.before, undo, shown)
				}
			}
		}
	}
	for _, test := range [][2]string{
		{"GOAUTH=netrc canary\n", "GOAUTH=netrc canary;authferry helper goauth\n"},
		{"A=1\nGOAUTH=canary;off\n", "GOAUTH=canary;authferry helper goauth\n"},
		{"a = 1\nb = canary", "# one\n# two\na = 1\nb = canary\n# three\n"},
		{"x canary\ny\n", "new\nx canary z\ny\n"},
		{`{"a":{"b":"old","c":1},"zz":"canary"}` + "\n", "{\"a\":{\"b\":\"new\",\n\"d\":2},\"zz\":\"canary\"}\n"},
	} {
		for _, c := range []Change{{Path: "f", Before: []byte(test[0]), After: []byte(test[1])}, {Path: "f", Before: []byte(test[1]), After: []byte(test[0])}} {
			if shown := c.Diff(); strings.Contains(shown, "canary") {
				t.Errorf("%q to %q: shown is\n%s", c.Before, c.After, shown)
			}
		}
	}
}

// Somebody gave authferry's own entry an environment: that goes with it, and is
// not shown.
func TestDiffHidesWhatGoesToo(t *testing.T) {
	const canary = "canary \\\" canary"
	for path, before := range map[string]string{
		".claude.json":                   `{"mcpServers":{"authferry":{"type":"stdio","command":"authferry","args":["mcp"],"env":{"A_KEY":"` + canary + `"}}}}`,
		".config/opencode/opencode.json": "{\n  \"mcp\": {\n    \"authferry\": {\n      \"command\": [\"authferry\", \"mcp\"],\n      \"environment\": {\n        \"A_KEY\": \"" + canary + "\"\n      }\n    }\n  }\n}\n",
	} {
		m := machine(t)
		write(t, filepath.Join(m.Home, filepath.FromSlash(path)), before)
		changes := put(t, client(t, "mcp"), m, choice, true)
		if len(changes) != 1 {
			t.Fatalf("%s: %d changes", path, len(changes))
		}
		if shown := changes[0].Diff(); strings.Contains(shown, "canary") || !strings.Contains(shown, `"command":`) || !strings.Contains(shown, `"…"`) {
			t.Errorf("shown is:\n%s", shown)
		}
	}
}
