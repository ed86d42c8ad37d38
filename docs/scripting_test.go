package docs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// limited is acme's person with a second account, bob, while the first one's requests
// hit a limit of an hour.
func limited(t *testing.T, programs ...string) (*person, *brokertest.Server) {
	t.Helper()
	p, server, _ := acme(t, programs...)
	grant := server.Issue("bob")
	p.file("bob.json", `{"access_token":"`+grant.AccessToken+`","refresh_token":"`+grant.RefreshToken+`","expires_in":3600}`, 0o600)
	p.shell().run("authferry import grant acme --label bob --pool work <~/bob.json")
	server.Inject(brokertest.Fault{On: brokertest.OnAPI, User: "ada", Status: 429, Header: map[string]string{"Retry-After": "3600"}, Times: -1})
	return p, server
}

// atServer is a snippet whose API is the server.
func atServer(snippet string, server *brokertest.Server) string {
	return strings.ReplaceAll(snippet, "https://api.acme.example", server.URL+"/api")
}

// movedOn wants a request to have hit ada's limit, and to have gone on as bob.
func movedOn(t *testing.T, p *person, server *brokertest.Server, said string) {
	t.Helper()
	held := p.shell().run("authferry holds")
	if !strings.Contains(said, "bob") || server.Ledger().API["bob"] != 1 || !strings.Contains(held, "ada") || strings.Contains(held, "bob") {
		t.Errorf("%d requests as bob: %s\nheld: %s", server.Ledger().API["bob"], said, held)
	}
}

func TestShellScripting(t *testing.T) {
	p, server := limited(t, "curl", "jq")
	sh := p.shell()
	snippets := snippets(t, "scripting.md", "Bash", "sh")
	if len(snippets) != 3 {
		t.Fatalf("%d snippets", len(snippets))
	}
	sh.run(snippets[2])
	movedOn(t, p, server, sh.run(atServer("request https://api.acme.example/v1/me", server)))
	if got := sh.run(atServer(snippets[0], server)); !strings.Contains(got, "bob") {
		t.Errorf("the API said %q", got)
	}
	sh.run("authferry disable ada; authferry disable bob")
	for _, step := range []struct{ before, code string }{
		{"true", "1"}, // disabled
		{"authferry enable bob; authferry holds add bob 1h", "75"},
		{"authferry holds clear bob", "0"},
	} {
		sh.run(step.before)
		if got := sh.run("(\n" + strings.ReplaceAll(snippets[1], "10m", "10ms") + ") && echo 0 || echo $?"); !strings.HasSuffix(got, step.code+"\n") {
			t.Errorf("after %s: %q, want %s", step.before, got, step.code)
		}
	}
	sh.run("authferry holds add bob 1h")
	if got := sh.run(atServer("request https://api.acme.example/v1/me || echo ended with $?", server)); !strings.HasSuffix(got, "ended with 5\n") {
		t.Errorf("with nobody free: %q", got)
	}
}

func TestPythonScripting(t *testing.T) {
	p, server := limited(t, "python3")
	p.file("acme.py", atServer(snippets(t, "scripting.md", "Python", "python")[0], server), 0o600)
	p.file("script.py", atServer("import acme\nprint(acme.request('https://api.acme.example/v1/me'))\n", server), 0o600)
	sh := p.shell()
	movedOn(t, p, server, sh.run("python3 script.py"))
	p.file("nobody.py", "import acme\ntry:\n    acme.request('"+server.URL+"/api')\nexcept acme.AuthferryError as e:\n    print(e.code, e.hint)\n", 0o600)
	sh.run("authferry holds add bob 1h")
	if got := sh.run("python3 nobody.py 2>/dev/null"); !strings.HasPrefix(got, "all_held authferry ") {
		t.Errorf("with nobody free: %q", got)
	}
	server.Close()
	sh.run("authferry holds clear bob")
	p.file("silent.py", "import acme\nprint(acme.send('"+server.URL+"/api', {'headers': {}}))\n", 0o600)
	if got := sh.run("python3 silent.py"); got != "(0, {}, '')\n" {
		t.Errorf("where nobody answers: %q", got)
	}
}

func TestPowerShellScripting(t *testing.T) {
	p, server := limited(t, "pwsh")
	all := snippets(t, "scripting.md", "PowerShell", "powershell")
	call := strings.Replace(atServer(all[0], server), "authferry token acme ", "authferry token acme --account bob ", 1)
	p.file("script.ps1", "$ErrorActionPreference = 'Stop'\n$me = . {\n"+call+"}\n$me.user\n$verdict = . {\n"+all[1]+"}\n$verdict.action\n", 0o600)
	if got := p.shell().run("pwsh -NoProfile -NonInteractive -File script.ps1"); got != "bob\nswitch\n" {
		t.Errorf("it said %q", got)
	}
}

// Every schema is in the table of documents.
func TestScriptingNamesEverySchema(t *testing.T) {
	text, err := os.ReadFile("scripting.md")
	testenv.Must(t, err)
	files, err := filepath.Glob(filepath.Join("schema", "*.json"))
	testenv.Must(t, err)
	for _, file := range files {
		if !strings.Contains(string(text), "("+filepath.ToSlash(file)+")") {
			t.Errorf("scripting.md doesn't name %s", file)
		}
	}
}
