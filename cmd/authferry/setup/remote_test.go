package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"
	"pgregory.net/rapid"

	"github.com/authferry/authferry/testenv"
)

// serverFiles are what clients may find where they have remote MCP servers, as files are.
var serverFiles = map[string][]string{
	"opencode":       {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}", "{\"mcpServers\":{},\"servers\":{\"a\":{}},\"mcp\":{ },\"context_servers\": {\n\t\"b\": {\"command\": \"x\"}\n}}"},
	"cursor":         {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}", "{\"mcpServers\":{},\"servers\":{\"a\":{}},\"mcp\":{ },\"context_servers\": {\n\t\"b\": {\"command\": \"x\"}\n}}"},
	"vscode":         {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}", "{\"mcpServers\":{},\"servers\":{\"a\":{}},\"mcp\":{ },\"context_servers\": {\n\t\"b\": {\"command\": \"x\"}\n}}"},
	"claude-desktop": {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}", "{\"mcpServers\":{},\"servers\":{\"a\":{}},\"mcp\":{ },\"context_servers\": {\n\t\"b\": {\"command\": \"x\"}\n}}"},
	"zed":            {"{}", "{\n}\n", "{\n  // a comment\n  \"model\": \"opus\", /* another */\n  \"env\": {}\n}\n", "{ \"a\": 1, }", "\n{\n    \"a\": [\n        1\n    ]\n}", "{\"mcpServers\":{},\"servers\":{\"a\":{}},\"mcp\":{ },\"context_servers\": {\n\t\"b\": {\"command\": \"x\"}\n}}"},
	"goose": {
		"", "# mine\nGOOSE_PROVIDER: x\n", "extensions: {}\n", "GOOSE_MODEL: m\nextensions: {}", "extensions:\nGOOSE_MODEL: m\n", "extensions: null\n",
		"extensions:\n  # the first\n  developer:\n    bundled: true\n    type: builtin\n\n  \"other one\": \n    type: stdio\n    cmd: x\n    args:\n    - mcp\n    - connect\n    description: |\n      a: b\n\n      # c\nGOOSE_MODEL: m\n",
		"---\nextensions:\n    wide:\n        type: builtin\n", "GOOSE_PROVIDER: a", "extensions:\n  a:\n    type: builtin",
	},
	"claude-code": files["claude-code"],
	"codex":       files["codex"],
}

var server = Server{Name: "docs.example", Address: "https://docs.example/mcp"}

// reaching is the client as one that is set up for a remote MCP server alone, where its
// program says that version.
func reaching(c Client, version string) Client {
	return Client{Name: c.Name, Files: func(m Machine, ch Choice) ([]File, error) {
		if ch.Server = (Server{Name: server.Name}); ch.Account != "" {
			ch.Server = server
		}
		m.LookPath = func(program string) (string, error) { return "/bin/" + program, nil }
		m.Version = func(string) string { return version }
		f, err := c.Remote(m, ch)
		return []File{f}, err
	}}
}

// Whatever is in the file already, the server goes in and comes out, as a helper's and as
// the bridge's, and what setup claude-code and setup codex put there isn't touched.
func TestServerThereAndBack(t *testing.T) {
	for _, c := range Clients() {
		if c.Remote == nil {
			continue
		}
		versions := []string{""}
		if c.Name == "claude-code" || c.Name == "codex" {
			versions = []string{"2.1.332 (Claude Code)", "2.1.220", "codex-cli 0.171.0", "codex-cli 0.168.9", ""}
		}
		for _, version := range versions {
			for i, text := range append([]string{"no file"}, serverFiles[c.Name]...) {
				for style, write := range styles {
					if c.Name == "goose" && style == "tabs" {
						continue
					}
					t.Run(fmt.Sprint(c.Name, "/", version, "/", i, "/", style), func(t *testing.T) {
						t.Parallel()
						thereAndBack(t, reaching(c, version), i == 0, write(text))
					})
				}
			}
		}
	}
}

// A client that was updated gets the helper in the bridge's place, and what a person
// added to the entry stays.
func TestServerChangesItsWay(t *testing.T) {
	m, c := machine(t), client(t, "claude-code")
	put(t, reaching(c, "2.1.220"), m, choice, false)
	path := claudeState(m)
	now, err := os.ReadFile(path)
	testenv.Must(t, err)
	if !strings.Contains(string(now), `"connect",`) || !strings.Contains(string(now), `"docs-example": {`) {
		t.Fatalf("%s", now)
	}
	write(t, path, strings.Replace(string(now), `"type": "stdio",`, "\"type\": \"stdio\",\n      \"headers\": {\"X\": \"canary\"},", 1))
	for _, change := range put(t, reaching(c, "2.1.332"), m, choice, false) {
		if strings.Contains(change.Diff(), "canary") {
			t.Errorf("shown is:\n%s", change.Diff())
		}
	}
	now, err = os.ReadFile(path)
	testenv.Must(t, err)
	for _, want := range []string{`"type": "http"`, `"url": "https://docs.example/mcp"`, `helper mcp-headers --account acc_aaaaaaaaaaaaaaaa https://docs.example/mcp"`, "canary"} {
		if !strings.Contains(string(now), want) {
			t.Errorf("%s is missing in\n%s", want, now)
		}
	}
	if strings.Contains(string(now), "connect") {
		t.Errorf("the bridge is left in\n%s", now)
	}
	if names := namesOf(c.Servers(m)); !slices.Equal(names, []string{"docs-example"}) {
		t.Errorf("the servers are %q", names)
	}
}

func namesOf(entries []Entry) (names []string) {
	for _, e := range entries {
		names = append(names, e.Name)
	}
	return names
}

// What an entry calls can be read back, whatever the client: whose login it is for, and of
// which folder.
func TestServerEntries(t *testing.T) {
	for _, c := range Clients() {
		if c.Remote == nil {
			continue
		}
		for _, version := range []string{"9.9.9", "0.0.1"} {
			m, odd := machine(t), choice
			m.Binary = filepath.Join(filepath.Dir(m.Binary), "it's a \"folder\"", "authferry")
			odd.Account, odd.Env = `an "account" of 'ours' \x`, []string{"OTHER=1", "AUTHFERRY_DIR=/it's ours"}
			put(t, reaching(c, version), m, odd, false)
			odd.Server = server
			want := Entry{Name: "docs-example", Dir: "/it's ours"}
			got := c.Servers(m)
			if len(got) != 1 {
				t.Errorf("%s %s: %q", c.Name, version, got)
				continue
			}
			if want.Words = headersHelper(m, odd); got[0].Words[1] == "mcp" {
				want.Words = bridge(m, odd)
			}
			if !reflect.DeepEqual(got[0], want) {
				t.Errorf("%s %s:\n%q\nwant\n%q", c.Name, version, got[0], want)
			}
		}
	}
}

// A line for a shell has the words that it was made of.
func TestWordsOf(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := Machine{OS: rapid.SampledFrom([]string{"linux", "windows"}).Draw(t, "os")}
		words := rapid.SliceOfN(rapid.StringMatching(`[a'" /.@-]{0,6}`), 1, 5).Draw(t, "words")
		if got := wordsOf(shellLine(m, words)); !slices.Equal(got, words) {
			t.Fatalf("%s: %q, want %q", shellLine(m, words), got, words)
		}
	})
	for _, line := range []string{"", "'", `"`, `\`, "a '", `a "\`} {
		_ = wordsOf(line) // and ends
	}
}

// An entry of somebody else's is refused, and taken out by nobody.
func TestServerOfSomebodyElse(t *testing.T) {
	for name, text := range map[string]string{
		"claude-code": `{"mcpServers": {"docs-example": {"type": "http", "url": "https://docs.example/mcp", "headersHelper": "/bin/other canary"}}}`,
		"codex":       "[mcp_servers.docs-example]\nurl = \"https://docs.example/mcp\"\nbearer_token_env_var = \"canary\"\n",
	} {
		m, c := machine(t), reaching(client(t, name), "9.9.9")
		all, err := c.Files(m, choice)
		testenv.Must(t, err)
		write(t, all[0].Path, text)
		_, err = c.Plan(m, choice, false)
		if _, refused := errors.AsType[*Refusal](err); !refused || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
		if changes := put(t, c, m, Choice{}, true); len(changes) > 0 {
			t.Errorf("%s: undone is\n%s", name, changes[0].Diff())
		}
	}
}

// What programs with a window start gets the environment that authferry needs, beside
// what a person has added.
func TestServerEnvironment(t *testing.T) {
	for name, want := range map[string]string{
		"cursor":         `{"mcpServers":{"docs-example":{"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"command":"BINARY","env":{"AUTHFERRY_DIR":"/a b","OWN":"1"},"type":"stdio"}}}`,
		"vscode":         `{"servers":{"docs-example":{"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"command":"BINARY","env":{"AUTHFERRY_DIR":"/a b","OWN":"1"},"type":"stdio"}}}`,
		"claude-desktop": `{"mcpServers":{"docs-example":{"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"command":"BINARY","env":{"AUTHFERRY_DIR":"/a b","OWN":"1"}}}}`,
		"zed":            `{"context_servers":{"docs-example":{"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"command":"BINARY","env":{"AUTHFERRY_DIR":"/a b","OWN":"1"}}}}`,
		"opencode":       `{"mcp":{"docs-example":{"command":["BINARY","mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"environment":{"AUTHFERRY_DIR":"/a b","OWN":"1"},"type":"local"}}}`,
	} {
		m, c := machine(t), reaching(client(t, name), "")
		first, second := choice, choice
		first.Env, second.Env = []string{"AUTHFERRY_DIR=/old"}, []string{"AUTHFERRY_DIR=/a b"}
		put(t, c, m, first, false)
		all, err := c.Files(m, choice)
		testenv.Must(t, err)
		now, err := os.ReadFile(all[0].Path)
		testenv.Must(t, err)
		write(t, all[0].Path, strings.Replace(string(now), `"AUTHFERRY_DIR"`, `"OWN": "1", "AUTHFERRY_DIR"`, 1))
		put(t, c, m, second, false)
		now, err = os.ReadFile(all[0].Path)
		testenv.Must(t, err)
		var doc any
		testenv.Must(t, json.Unmarshal(now, &doc))
		got, err := json.Marshal(doc)
		testenv.Must(t, err)
		if want := strings.ReplaceAll(want, `"BINARY"`, compact(m.Binary)); string(got) != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
		}
	}
}

// goose writes its file anew, without comments and in another form; two servers come and
// go in any order, and what others have there stays.
func TestGoose(t *testing.T) {
	m, c := machine(t), client(t, "goose")
	two := choice
	two.Server = Server{Name: "mail.example", Address: "https://mail.example/mcp"}
	one := choice
	one.Server, one.Env = server, []string{`AUTHFERRY_DIR=/a "b" # c`}
	path := gooseConfig(m)
	put(t, c, m, one, false)
	put(t, c, m, two, false)
	if names := namesOf(c.Servers(m)); !slices.Equal(names, []string{"docs-example", "mail-example"}) {
		t.Errorf("the servers are %q", names)
	}
	state(t, c, m, Current)
	if ruby, err := exec.LookPath("ruby"); err == nil {
		out, err := exec.CommandContext(t.Context(), ruby, "-ryaml", "-rjson", "-e", "puts JSON.dump(YAML.load_file(ARGV[0]))", path).Output()
		testenv.Must(t, err)
		want := `{"extensions":{"docs-example":{"enabled":true,"type":"stdio","name":"docs-example","description":"MCP server at https://docs.example/mcp","cmd":` + compact(m.Binary) +
			`,"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://docs.example/mcp"],"envs":{"AUTHFERRY_DIR":"/a \"b\" # c"},"timeout":300},"mail-example":{"enabled":true,"type":"stdio","name":"mail-example",` +
			`"description":"MCP server at https://mail.example/mcp","cmd":` + compact(m.Binary) + `,"args":["mcp","connect","--account","acc_aaaaaaaaaaaaaaaa","https://mail.example/mcp"],"timeout":300}}}`
		if got := strings.TrimSpace(string(out)); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
	put(t, c, m, one, true)
	put(t, c, m, two, true)
	if _, err := os.Stat(path); err == nil {
		t.Error("the file that was made is left")
	}

	again := "GOOSE_MODEL: m\nextensions:\n  mail-example:\n    enabled: false\n    type: stdio\n    cmd: '" + m.Binary + "'\n    args:\n    - mcp\n    - connect\n    - https://mail.example/mcp\n    timeout: 300\n    bundled: null\n"
	write(t, path, again)
	if names := namesOf(c.Servers(m)); !slices.Equal(names, []string{"mail-example"}) {
		t.Errorf("the servers are %q", names)
	}
	put(t, c, m, two, true)
	if now, _ := os.ReadFile(path); string(now) != "GOOSE_MODEL: m\nextensions:\n" {
		t.Errorf("%s", now)
	}
	for _, text := range []string{"extensions: {a: {type: builtin}}\n", "extensions: [a]\n", "extensions:\n  a: {type: builtin}\n", "extensions:\n  docs-example:\n    cmd: /bin/canary\n", "{\"extensions\": {}}\n", "extensions:\n\ta:\n", "a: 1\n---\nb: 1\n"} {
		write(t, path, text)
		_, err := c.Plan(m, one, false)
		if _, refused := errors.AsType[*Refusal](err); !refused || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Codex clears the environment: what it runs gets the one that authferry needs, through a
// shell as it is.
func TestCodexServerEnvironment(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a shell of Unix")
	}
	m, c := awkward(t), client(t, "codex")
	odd := choice
	odd.Env = []string{"AUTHFERRY_DIR=/home/ada/it's \"mine\" $HOME"}
	read := func(version string) (entry map[string]any) {
		t.Helper()
		put(t, reaching(c, version), m, odd, false)
		text, err := os.ReadFile(codexConfig(m))
		testenv.Must(t, err)
		var all map[string]any
		testenv.Must(t, toml.Unmarshal(text, &all))
		return table(all, "mcp_servers", "docs-example")
	}
	entry := read("codex-cli 0.171.0")
	line, _ := entry["http_headers_helper"].(string)
	cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
	testenv.Must(t, os.WriteFile(m.Binary, []byte("#!/bin/sh\nprintf '%s\\n' \"$AUTHFERRY_DIR\" \"$@\"\n"), 0o700))
	said, err := cmd.Output()
	want := strings.Join([]string{"/home/ada/it's \"mine\" $HOME", "helper", "mcp-headers", "--account", "acc_aaaaaaaaaaaaaaaa", server.Address, ""}, "\n")
	if err != nil || string(said) != want || entry["url"] != server.Address {
		t.Errorf("%v: %q, want %q\n%v", err, said, want, entry)
	}
	entry = read("codex-cli 0.150.0")
	env, _ := entry["env"].(map[string]any)
	if entry["command"] != m.Binary || fmt.Sprint(entry["args"]) != "[mcp connect --account acc_aaaaaaaaaaaaaaaa https://docs.example/mcp]" ||
		env["AUTHFERRY_DIR"] != "/home/ada/it's \"mine\" $HOME" || entry["url"] != nil {
		t.Errorf("%v", entry)
	}
}

func TestSince(t *testing.T) {
	for said, want := range map[string]bool{
		"2.1.332 (Claude Code)": true, "2.1.333": true, "2.2": true, "3.0.1": true, "v10.0.0": true,
		"2.1.331": false, "2.1": false, "1.9.999": false, "": false, "no version": false,
	} {
		if since(said, "2.1.332") != want {
			t.Errorf("%q is from 2.1.332 on: want %v", said, want)
		}
	}
}
