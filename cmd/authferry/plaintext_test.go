package main

import (
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
)

// plaintext has for each section of docs/plaintext.md what a user's files hold, the
// programs that it takes, and whose account has the key afterwards.
var plaintext = []struct {
	section, label string
	programs       []string
	files          map[string]string // below HOME
}{
	{"Environment files", "Key", []string{"perl"}, map[string]string{".env": "A=1\nexport ANTHROPIC_API_KEY='" + canary + "'\nB=2\n"}},
	{"git: .git-credentials", "Forge", []string{"git"}, map[string]string{
		".git-credentials": "https://bob:other@else.example.com\nhttps://ada:" + canary + "@forge.example.com\n",
		".gitconfig":       "[credential]\n\thelper = store\n",
	}},
	{".netrc", "Forge", []string{"git", "perl", "awk"}, map[string]string{
		".netrc": "machine else.example.com login bob password other\nmachine forge.example.com\n  login ada\n  password " + canary + "\nmachine last.example.com login bob password other\n",
	}},
	{"docker: config.json", "Registry", []string{"docker", "jq"}, map[string]string{
		".docker/config.json": `{"auths":{"else.example.com":{"auth":"Ym9iOm90aGVy"},"registry.example.com":{"auth":"` + canaryEncoded + `"}}}`,
	}},
	{"npm: .npmrc", "Registry", []string{"perl"}, map[string]string{".npmrc": "//registry.example.com/:_authToken=" + canary + "\n//else.example.com/:_authToken=other\n"}},
	{"kubectl: a token in the kubeconfig", "Cluster", []string{"kubectl"}, map[string]string{".kube/config": `apiVersion: v1
kind: Config
clusters:
- {name: c, cluster: {server: "https://cluster.example.com"}}
contexts:
- {name: c, context: {cluster: c, user: work}}
current-context: c
users:
- {name: work, user: {token: ` + canary + `}}
- {name: else, user: {token: other}}
`}},
	{"Terraform: credentials.tfrc.json", "Terraform", []string{"terraform", "jq"}, map[string]string{
		".terraform.d/credentials.tfrc.json": `{"credentials":{"else.example.com":{"token":"other"},"app.example.com":{"token":"` + canary + `"}}}`,
	}},
	{"cargo: credentials.toml", "Crates", []string{"cargo"}, map[string]string{
		".cargo/credentials.toml": "[registries.else]\ntoken = \"other\"\n\n[registries.forge]\ntoken = \"" + canary + "\"\n",
		".cargo/config.toml":      "[registries.forge]\nindex = \"sparse+https://crates.example.com/index/\"\n\n[registries.else]\nindex = \"sparse+https://else.example.com/index/\"\n",
	}},
}

// canary is a key, and canaryEncoded as docker writes it with the user's name.
const canary, canaryEncoded = "canary-plaintext", "YWRhOmNhbmFyeS1wbGFpbnRleHQ="

// What docs/plaintext.md says takes the key out of the file and leaves the others
// there, and authferry hands it out.
func TestPlaintext(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs Unix: the shell that the document is written for")
	}
	text, err := os.ReadFile("../../docs/plaintext.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := map[string]string{}
	for part := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(part, "\n")
		sections[title] = body
	}
	for _, row := range plaintext {
		t.Run(row.section, func(t *testing.T) {
			for _, program := range append(row.programs, "bash") {
				if _, err := exec.LookPath(program); err != nil {
					t.Skipf("needs %s: install it, and this test runs it", program)
				}
			}
			steps := walk(sections[row.section])
			if len(steps) < 3 {
				t.Fatalf("only %d commands: is the document read as it should be?", len(steps))
			}
			s := newScene(t, brokertest.Config{})
			home := filepath.Join(s.root, "home")
			for name, content := range row.files {
				path := filepath.Join(home, filepath.FromSlash(name))
				if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			// The program as it is installed, beside which docker's link goes.
			program, err := built()
			if err != nil {
				t.Fatal(err)
			}
			bin := filepath.Join(home, "bin")
			if err := os.Mkdir(bin, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(program, filepath.Join(bin, "authferry")); err != nil {
				t.Fatal(err)
			}
			// rustup looks for its toolchains in the home of whoever runs this.
			own, _ := os.UserHomeDir()
			s.env = append(s.env, "PATH="+bin+strings.ReplaceAll(":"+os.Getenv("PATH"), ":"+filepath.Dir(authferryAs(t, "authferry")), ""), "RUSTUP_HOME="+cmp.Or(os.Getenv("RUSTUP_HOME"), filepath.Join(own, ".rustup")))
			sh := startShell(t, s)
			sh.run("cd")
			for _, step := range steps {
				sh.run(step.command)
			}
			if got := s.must("", "token", "--account", row.label).out; got != canary+"\n" {
				t.Errorf("authferry hands out %q", got)
			}
			if err := leaked([]string{canary, canaryEncoded}, home); err != nil {
				t.Error(err)
			}
			for name, before := range row.files {
				after, err := os.ReadFile(filepath.Join(home, filepath.FromSlash(name)))
				for _, kept := range []string{"other", "Ym9iOm90aGVy", "B=2"} {
					if strings.Contains(before, kept) && !strings.Contains(string(after), kept) {
						t.Errorf("%s: what was there besides is gone: %v\n%s", name, err, after)
					}
				}
			}
		})
	}
}
