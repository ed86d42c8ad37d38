package docs

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// recipe is the snippet of a language in a section of recipes.md.
func recipe(t *testing.T, section, language string) string {
	t.Helper()
	return snippets(t, "recipes.md", section, language)[0]
}

// snippets are those of a language in a section of a document.
func snippets(t *testing.T, file, section, language string) (all []string) {
	t.Helper()
	text, err := os.ReadFile(file)
	testenv.Must(t, err)
	_, body, _ := strings.Cut(string(text), "\n## "+section+"\n")
	body, _, _ = strings.Cut(body, "\n## ")
	for {
		_, snippet, found := strings.Cut(body, "\n```"+language+"\n")
		snippet, rest, ended := strings.Cut(snippet, "\n```\n")
		if !found || !ended {
			break
		}
		all, body = append(all, snippet+"\n"), "\n"+rest
	}
	if all == nil {
		t.Fatalf("%s has no %s in %q", file, language, section)
	}
	return all
}

// acme is a person with an account at acme in a pool, and its token.
func acme(t *testing.T, programs ...string) (p *person, server *brokertest.Server, token string) {
	t.Helper()
	p = newPerson(t, programs...)
	server = brokertest.New(t, brokertest.Config{AccessTTL: time.Hour})
	grant := server.Issue("ada")
	content, err := json.Marshal(map[string]any{"access_token": grant.AccessToken, "refresh_token": grant.RefreshToken, "expires_in": 3600})
	testenv.Must(t, err)
	p.file("grant.json", string(content), 0o600)
	sh := p.shell()
	sh.run("authferry keystore init --key-file ~/key.txt")
	sh.run("authferry provider add acme --authorization-endpoint " + server.URL + "/authorize --token-endpoint " + server.URL + "/token --client-id authferry-sim --api-origin " + server.URL)
	sh.run("authferry import grant acme --label ada --pool work <~/grant.json")
	return p, server, grant.AccessToken
}

func TestShellRecipe(t *testing.T) {
	p, server, token := acme(t, "curl")
	p.file("bin/acme-cli", "#!/bin/sh\necho \"$1 $ACME_TOKEN\"\n", 0o700)
	sh := p.shell()
	sh.run("shopt -s expand_aliases")
	sh.run(recipe(t, "Your shell", "sh"))
	if got := sh.run("acme-cli deploy"); got != "deploy "+token+"\n" {
		t.Errorf("acme-cli got %q", got)
	}
	call := strings.TrimPrefix(recipe(t, "Your shell", "console"), "$ ")
	if got := sh.run(strings.ReplaceAll(strings.TrimSpace(call), "https://api.acme.example", server.URL+"/api")); !strings.Contains(got, "ada") {
		t.Errorf("acme-api got %q", got)
	}
}

func TestDirenvRecipe(t *testing.T) {
	p, _, token := acme(t, "direnv")
	p.file("project/.envrc", recipe(t, "direnv", "sh"), 0o600)
	p.file("other/.envrc", strings.ReplaceAll(recipe(t, "direnv", "sh"), "work", "play"), 0o600)
	sh := p.shell()
	sh.run("direnv allow project; direnv allow other")
	if got := sh.run("direnv exec project authferry token"); !strings.HasSuffix(got, token+"\n") {
		t.Errorf("in the project: %q", got)
	}
	if got := sh.run("direnv exec other authferry token || true"); strings.Contains(got, token) {
		t.Error("another project gets the token of a pool that is not its")
	}
}

// The steps of the recipe do what they say on a runner with a secret.
func TestActionRecipe(t *testing.T) {
	p := newPerson(t)
	workflow := recipe(t, "A GitHub Action", "yaml")
	_, script, found := strings.Cut(workflow, "run: |\n")
	if !found {
		t.Fatal("there is no script in it")
	}
	p.file("run-the-agent", "#!/bin/sh\nenv >agent-env\n", 0o700)
	p.file("script.sh", regexp.MustCompile(`(?m)^ {10}`).ReplaceAllString(script, ""), 0o600)
	p.file("temp/empty", "", 0o600)
	p.env = append(p.env, "AUTHFERRY_KEYSTORE=file", "RUNNER_TEMP="+filepath.Join(p.home, "temp"), "ANTHROPIC_API_KEY=canary-of-the-repository")
	p.shell().run("bash -e -o pipefail script.sh")
	got, err := os.ReadFile(filepath.Join(p.home, "agent-env"))
	if err != nil || strings.Count(string(got), "canary-of-the-repository") != 1 {
		t.Errorf("%v: the agent sees\n%s", err, got)
	}
	testenv.Must(t, os.Remove(filepath.Join(p.home, "agent-env")))
	p.nowhere("canary-of-the-repository")
}

func TestActionRecipeIsAWorkflow(t *testing.T) {
	proofs.Only(t, "builds actionlint")
	file := filepath.Join(t.TempDir(), "agent.yml")
	testenv.Must(t, os.WriteFile(file, []byte(recipe(t, "A GitHub Action", "yaml")), 0o600))
	if out, err := exec.CommandContext(t.Context(), "go", "tool", "-modfile=../tools/actionlint/go.mod", "actionlint", "-shellcheck=", "-pyflakes=", file).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// systemd understands every line of the unit.
func TestSystemdRecipe(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("needs systemd-analyze: apt-get install systemd")
	}
	unit := recipe(t, "A systemd unit", "ini")
	file := filepath.Join(t.TempDir(), "agent.service")
	installed := regexp.MustCompile(`(?m)^ExecStart=\S+`).ReplaceAllString(unit, "ExecStart="+authferrytest.Built(t))
	testenv.Must(t, os.WriteFile(file, []byte(installed), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "--man=no", "verify", file).CombinedOutput()
	for line := range strings.Lines(string(out)) { // others are of the machine's own units
		if strings.Contains(line, "agent.service") && !strings.Contains(line, "Unit configuration has fatal error") {
			err = nil
			t.Errorf("%s", line)
		}
	}
	if err != nil {
		t.Logf("%v\n%s", err, out)
	}
	if !strings.Contains(unit, "StateDirectoryMode=0700") {
		t.Error("others may read authferry's folder")
	}
}
