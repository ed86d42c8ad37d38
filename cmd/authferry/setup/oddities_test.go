package setup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

// What a parser stumbles over may be somebody's key: the place alone is told.
func TestBrokenFileShowsNothing(t *testing.T) {
	for _, test := range []struct{ client, content, want string }{
		{"claude-code", "{\n  \"env\": {\"KEY\": \"sk-canary\\path\"}\n}", "line 2, column 18"},
		{"claude-code", "{\"KEY\": canary}", "line 1, column 9"},
		{"docker", "{\"auths\": {\"canary\\x\": 1}}", "line 1, column 12"},
		{"codex", "a = 1\nkey = \"sk-canary\\path\"\n", "line 2, column "},
		{"codex", "[canary]\n[canary]\n", "line 2, column "},
		{"kubernetes", "kind: Config\n%canary\n", "because of line 2;"},
	} {
		t.Run(test.client, func(t *testing.T) {
			c, m := client(t, test.client), machine(t)
			all, err := c.Files(m, choice)
			testenv.Must(t, err)
			write(t, all[0].Path, test.content)
			_, stateErr := c.State(m)
			_, putErr := c.Plan(m, choice, false)
			_, takeErr := c.Plan(m, choice, true)
			for _, err := range []error{stateErr, putErr, takeErr} {
				if _, ok := errors.AsType[*Refusal](err); !ok || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "canary") {
					t.Errorf("got %v, want %s and no more", err, test.want)
				}
			}
		})
	}
}

func TestProgram(t *testing.T) {
	for line, want := range map[string]string{
		"store":                            "store",
		"!PASS=canary":                     "PASS",
		"!PASS=canary helper x":            "helper",
		" ! A=1 PASS='can ary' /bin/x --y": "/bin/x",
		`PASS="can \" ary" x canary`:       "x",
		`PASS="canary x`:                   "PASS",
		"PASS=canary;x":                    "PASS",
		"!f() { echo password=canary; }":   "f()",
		"cat<<<canary":                     "cat",
		"x\tcanary":                        "x",
		"":                                 "",
	} {
		if got := program(line); got != want {
			t.Errorf("program(%q) is %q, want %q", line, got, want)
		}
	}
}

// kubectl drops the comments of a file that it changes, and the block's with them.
func TestKubectlWritesItAnew(t *testing.T) {
	for name, before := range map[string]string{
		"alone":       "apiVersion: v1\nkind: Config\ncontexts:\n- context:\n    cluster: c\n    user: a\n  name: here\ncurrent-context: here\n",
		"with others": "apiVersion: v1\nkind: Config\nusers:\n- name: a\n  user:\n    token: t\n- name: z\n  user:\n    token: t\ncontexts:\n- context:\n    cluster: c\n    user: a\n  name: here\ncurrent-context: here\n",
	} {
		for _, m := range []Machine{machine(t), awkward(t)} {
			t.Run(name, func(t *testing.T) {
				p := realClient{name: "kubectl", get: "https://kubernetes.io/docs/tasks/tools", m: m}
				c := client(t, "kubernetes")
				path := filepath.Join(m.Home, ".kube", "config")
				write(t, path, before)
				useOurs := func(context string) {
					t.Helper()
					if output, err := p.run(t, "", "config", "set-context", context, "--user=authferry"); err != nil {
						t.Fatal(output, err)
					}
					if now, err := os.ReadFile(path); err != nil || strings.Contains(string(now), "#") {
						t.Fatalf("kubectl left %s, %v", now, err)
					}
				}
				put(t, c, m, choice, false)
				useOurs("--current")
				state(t, c, m, Current)
				other := m
				other.Binary = filepath.Join(filepath.Dir(m.Binary), "authferry-2")
				state(t, c, other, Outdated)
				put(t, c, other, choice, false)
				state(t, c, other, Current)
				if again := put(t, c, other, choice, false); len(again) > 0 {
					t.Errorf("the second time changed:\n%s", again[0].Diff())
				}
				useOurs("other")
				put(t, c, other, Choice{}, true)
				state(t, c, other, Absent)
				output, err := p.run(t, "", "config", "view", "-o", "jsonpath={.users[*].name}")
				want := "a z"
				if name == "alone" {
					want = ""
				}
				if err != nil || output != want {
					t.Errorf("undone, kubectl reads the users %q, %v, want %q", output, err, want)
				}
			})
		}
	}
}

// A user of that name that runs something else is not taken out.
func TestOtherKubeUser(t *testing.T) {
	for _, text := range []string{
		"users:\n- name: authferry\n  user:\n    exec:\n      args:\n      - helper\n      - kubernetes\n      command: /bin/other\n",
		"users:\n- name: authferry\n  user:\n    exec:\n      args:\n      - token\n      command: /bin/authferry\n",
		"users:\n- name: mine\n  user:\n    exec:\n      args: [helper, kubernetes]\n      command: /bin/authferry\n",
	} {
		if after, err := takeKubeUser([]byte(text)); err != nil || string(after) != text {
			t.Errorf("%q became %q, %v", text, after, err)
		}
	}
}

func TestGitOddFiles(t *testing.T) {
	p := realClient{name: "git", get: "apt-get install git", m: machine(t)}
	path := filepath.Join(p.m.Home, ".gitconfig")
	write(t, path, "[include]\n\tpath = other\n[user]\n\tname = Ada\n")
	write(t, filepath.Join(p.m.Home, "other"), "[user]\n\temail = ada@example.com\n")
	if runtime.GOOS != "windows" {
		p.m.Binary = filepath.Join(p.m.Home, "new\nline\\n", "authferry")
	}
	c := client(t, "git")
	if output, err := p.run(t, "", "--version"); err != nil {
		t.Fatal(output, err)
	}
	put(t, c, p.m, choice, false)
	state(t, c, p.m, Current)
	output, err := p.run(t, "", "config", "--global", "--null", "--get-all", "credential.https://one.example.helper")
	if want := "\x00" + gitHelper(p.m, choice) + "\x00"; err != nil || output != want {
		t.Errorf("git reads %q, %v, want %q", output, err, want)
	}
	if output, err := p.run(t, "", "config", "--includes", "--global", "user.email"); err != nil || output != "ada@example.com\n" {
		t.Errorf("git reads %q, %v", output, err)
	}
	put(t, c, p.m, Choice{}, true)
	state(t, c, p.m, Absent)
}

// What somebody added to the entry of the MCP server stays, and isn't shown.
func TestEntryKeepsWhatIsNotOurs(t *testing.T) {
	m, c := machine(t), client(t, "mcp")
	put(t, c, m, choice, false)
	edits := map[string][2]string{
		claudeState(m):    {"\"type\": \"stdio\",", "\"type\": \"stdio\",\n      \"env\": {\"KEY\": \"canary\"},"},
		openCodeConfig(m): {"\"enabled\": true", "\"enabled\": false,\n      \"environment\": {\"KEY\": \"canary\"}"},
	}
	for path, edit := range edits {
		now, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(now), edit[0]) {
			t.Fatalf("%s: %s, %v", path, now, err)
		}
		write(t, path, strings.Replace(string(now), edit[0], edit[1], 1))
	}
	m.Binary = filepath.Join(filepath.Dir(m.Binary), "authferry-2")
	other := choice
	other.Account = "acc_bbbbbbbbbbbbbbbb"
	for _, change := range put(t, c, m, other, false) {
		if strings.Contains(change.Diff(), "canary") {
			t.Errorf("shown is:\n%s", change.Diff())
		}
	}
	state(t, c, m, Current)
	for path, edit := range edits {
		now, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(now), edit[1]) || !strings.Contains(string(now), "authferry-2") || !strings.Contains(string(now), other.Account) {
			t.Errorf("%s: %s, %v", path, now, err)
		}
	}
}

func TestDropKeepsComments(t *testing.T) {
	const ours = `"authferry": {"command": "authferry"}`
	for before, want := range map[string]string{
		"{\n  \"mcp\": {\n    // mine\n    " + ours + "\n  }\n}\n":            "{\n  \"mcp\": {\n    // mine\n    \n  }\n}\n",
		"{\n  \"mcp\": {\n    " + ours + "\n    // mine\n  }\n}\n":            "{\n  \"mcp\": {\n    // mine\n  }\n}\n",
		"{\n  \"mcp\": {\n    " + ours + ", // mine\n  }\n}\n":                "{\n  \"mcp\": { // mine\n  }\n}\n",
		"{\n  \"mcp\": {\n    " + ours + " /* mine */,\n  }\n}\n":             "{\n  \"mcp\": { /* mine */\n  }\n}\n",
		"{\n  \"mcp\": {\n    \"a\": {}, // mine\n    " + ours + "\n  }\n}\n": "{\n  \"mcp\": {\n    \"a\": {} // mine\n\n  }\n}\n",
		"{\n  \"mcp\": {\n    " + ours + "\n  }\n}\n":                         "",
	} {
		after, err := dropJSON([]byte(before), []string{"mcp", "authferry"})
		if err != nil || string(after) != want {
			t.Errorf("%q became\n%q, %v, want\n%q", before, after, err, want)
			continue
		}
		if _, err := parseJSON(after); want != "" && err != nil {
			t.Errorf("%q can't be read: %v", after, err)
		}
	}
}

// A file that would be hours of work, or the end of the program, is left alone.
func TestFilesOutOfBounds(t *testing.T) {
	deep := `{"a":` + strings.Repeat("[", maxDepth) + strings.Repeat("]", maxDepth) + "}"
	for _, test := range []struct{ client, content, want string }{
		{"claude-code", deep, "nests more than"},
		{"docker", strings.Repeat(`{"a":`, 1<<20), "nests more than"},
		{"mcp", deep, "nests more than"},
		{"codex", strings.Repeat("[a]\n", maxTOMLKeys+1), "more than 8000 keys"},
		{"cargo", "a = {" + strings.Repeat("k=1,", maxTOMLKeys+1) + "}", "more than 8000 keys"},
		{"git", strings.Repeat("#", maxFile+1), "not a regular file of at most 32 MB"},
	} {
		t.Run(test.client, func(t *testing.T) {
			c, m := client(t, test.client), machine(t)
			all, err := c.Files(m, choice)
			testenv.Must(t, err)
			write(t, all[0].Path, test.content)
			_, stateErr := c.State(m)
			_, putErr := c.Plan(m, choice, false)
			_, takeErr := c.Plan(m, choice, true)
			for _, err := range []error{stateErr, putErr, takeErr} {
				if _, ok := errors.AsType[*Refusal](err); !ok || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want %s", err, test.want)
				}
			}
		})
	}
}

// Who changes the file at the last moment is not overwritten.
func TestChangedAtTheLastMoment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write(t, path, "old")
	c := Change{Path: path, Before: []byte("old"), After: []byte("new")}
	testenv.Must(t, c.unchanged())
	write(t, path, "theirs")
	if err := atomicfile.Write(path, c.After, 0o600, c.unchanged); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if err := c.Apply(); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
}

// A helper's link of another user's on the PATH is not taken for one's own, and is not
// relied on.
func TestLinkOfAnotherUser(t *testing.T) {
	if runtime.GOOS == "windows" || os.Geteuid() != 0 {
		t.Skip("needs root: another user's link has to be made")
	}
	theirs := t.TempDir()
	m := machine(t, "PATH="+theirs)
	link := filepath.Join(theirs, "docker-credential-authferry")
	testenv.Must(t, os.Symlink(m.Binary, link))
	c := client(t, "docker")
	state(t, c, m, Outdated) // one's own, and no host is set up
	testenv.Must(t, os.Lchown(link, 12345, 12345))
	state(t, c, m, Absent)
	if more := put(t, c, m, Choice{}, true); len(more) > 0 {
		t.Errorf("undoing changed %s", more[0].Path)
	}
	changes := put(t, c, m, choice, false)
	if len(changes) != 2 || changes[1].Path == link {
		t.Fatalf("%d changes; the link is %s", len(changes), changes[len(changes)-1].Path)
	}
	if own := filepath.Dir(m.Binary); filepath.Dir(changes[1].Path) != own {
		t.Errorf("the link is %s, want one in %s", changes[1].Path, own)
	}
	state(t, c, m, Current)
}
