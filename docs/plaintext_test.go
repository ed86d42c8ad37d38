package docs

import (
	"bytes"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// plaintext has for each section of plaintext.md what a user's files hold, the
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

// What plaintext.md says takes the key out of the file and leaves the others there,
// and authferry hands it out.
func TestPlaintext(t *testing.T) {
	text, err := os.ReadFile("plaintext.md")
	testenv.Must(t, err)
	sections := map[string]string{}
	for part := range strings.SplitSeq(string(text), "\n## ") {
		title, body, _ := strings.Cut(part, "\n")
		sections[title] = body
	}
	for _, row := range plaintext {
		t.Run(row.section, func(t *testing.T) {
			p := newPerson(t, row.programs...)
			steps := walk(sections[row.section])
			if len(steps) < 3 {
				t.Fatalf("only %d commands: is the document read as it should be?", len(steps))
			}
			for name, content := range row.files {
				p.file(name, content, 0o600)
			}
			if row.programs[0] == "cargo" {
				check := exec.Command("cargo", "--version")
				check.Env, check.Dir = p.env, p.home
				if check.Run() != nil {
					t.Skip("needs cargo: a toolchain, by rustup default stable")
				}
			}
			sh := p.shell()
			sh.run("authferry keystore init --key-file ~/key.txt")
			for _, step := range steps {
				sh.run(step.command)
			}
			if got := sh.run("authferry token --account " + row.label); got != canary+"\n" {
				t.Errorf("authferry hands out %q", got)
			}
			p.nowhere(canary, canaryEncoded)
			for name, before := range row.files {
				after, err := os.ReadFile(filepath.Join(p.home, filepath.FromSlash(name)))
				for _, kept := range []string{"other", "Ym9iOm90aGVy", "B=2"} {
					if strings.Contains(before, kept) && !strings.Contains(string(after), kept) {
						t.Errorf("%s: what was there besides is gone: %v\n%s", name, err, after)
					}
				}
			}
		})
	}
}

// nowhere wants none of the words in any file of the person.
func (p *person) nowhere(words ...string) {
	p.t.Helper()
	err := filepath.WalkDir(p.home, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, word := range words {
			if bytes.Contains(content, []byte(word)) {
				p.t.Errorf("%s is still in %s", word, path)
			}
		}
		return err
	})
	testenv.Check(p.t, err)
}
