package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/testenv"
)

// theirSecret stands in the configuration of other programs.
const theirSecret = "canary-of-another-program"

// commandLine is a command as somebody gives it.
type commandLine struct{ stdin, args string }

// everything is every command, in ways that succeed and in ways that don't, in an
// order in which the later ones still find something.
func (s *scene) everything() []commandLine {
	grant, file, server := s.Grant("eve", time.Hour), s.foreign(), s.Server.URL
	host := strings.TrimPrefix(server, "http://")
	spoilt := strings.NewReplacer(`"afat_`, `"\r\nafat_`).Replace(grant)
	huge := `{"access_token":"afat_x","refresh_token":"afrt_` + strings.Repeat("x", 600_000) + `","expires_in":3600}`
	report := func(status int) string {
		return fmt.Sprintf(`{"lease":"acc_aaaaaaaaaaaaaaaa.1","status":%d,"headers":{"authorization":"Bearer afat_x"},"body":"afat_x"}`, status)
	}
	remoteCalls := `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}` + "\n" + `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`
	git := "protocol=http\nhost=" + host + "\nusername=u\npassword=afat_x\n"
	docker := fmt.Sprintf(`{"ServerURL":%q,"Username":"u","Secret":"afat_x"}`, server)
	cargo := func(kind string) string {
		return fmt.Sprintf(`{"v":1,"kind":%q,"token":"afat_x","operation":"read","registry":{"index-url":"sparse+%s/","name":"r"},"args":["--account","Ada"]}`, kind, server) + "\n"
	}
	lines := []commandLine{
		{args: "token --account Ada"}, {args: "token --account Bob"}, {args: "token sim --min-ttl 2h"}, {args: "token --rejected acc_aaaaaaaaaaaaaaaa.1"},
		{args: "token"}, {args: "token --account Key --pool sim"},
		{args: "header --account Ada"}, {args: "header --account Bob"},
		{args: "status"}, {args: "status --short"}, {args: "list"}, {args: "ls"}, {args: "info Ada"}, {args: "show Bob"}, {args: "info nobody"}, {args: "info"}, {args: "info 2"}, {args: "whoami"}, {args: "whoami --account Bob --json"}, {args: "use 1"}, {args: "report Ada --status 429 --next"}, {args: "token Ada afat_x"},
		{args: "refresh Ada"}, {args: "refresh Bob"}, {args: "rotate acc_aaaaaaaaaaaaaaaa 1"},
		{grant, "import grant sim --label Eve"}, {grant, "import grant sim --label Again"}, {spoilt, "import grant sim --label Odd"}, {huge, "import grant sim --label Huge"},
		{grant[:len(grant)-5], "import grant sim --label Half"}, {`[` + grant + `]`, "import grant sim --label List"}, {grant, "import grant nowhere --label Eve"},
		{args: "import opencode " + file + " --dry-run"}, {args: "import opencode " + file + " --keep"}, {args: "import opencode " + file + " --move"},
		{args: "import codex " + file + " --move"}, {args: "import multi-auth " + file + " --keep"}, {args: "import gemini " + s.Dir + " --move"},
	}
	for program, path := range s.theirLogins() {
		for _, how := range []string{"--keep --client-id mine", "--move --client-id mine"} {
			lines = append(lines, commandLine{args: "import " + program + " " + path + " " + how})
		}
	}
	lines = append(lines, []commandLine{
		{args: "rename Ada Ada2"}, {args: "rename Ada2 Ada"}, {args: "rename Ada Bob"},
		{args: "provider list"}, {args: "provider show sim"}, {args: "provider show google"},
		{clientSecret, "provider add two --token-endpoint " + server + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret + "\n" + clientSecret, "provider add three --token-endpoint " + server + "/token --client-id authferry-sim --client-secret-stdin"},
		{clientSecret, "provider add four --issuer " + server + " --client-id authferry-sim --client-secret-stdin"},
		{args: "provider remove two"}, {args: "provider remove nowhere"},
		{args: "keystore status"}, {args: "keystore init --key-file " + filepath.Join(s.Root, "key.txt")}, {args: "keystore migrate file"},
		{args: "config list"}, {args: "config get failover"}, {args: "config set failover true"}, {args: "config set failover afresh"},
		{args: "setup"}, {args: "setup git --print"}, {args: "setup claude-code --account Bob --print"}, {args: "setup codex --account Ada --print"},
		{args: "setup claude-code --pool sim --yes"}, {args: "setup claude-code --proxy --yes"}, {args: "setup codex --proxy --print"}, {args: "setup serve sim --print"}, {args: "setup claude-code --undo"}, {args: "setup mcp --for claude-code --for codex --for opencode --yes"},
		{args: "setup mcp --undo --print"}, {args: "setup mcp --undo"}, {args: "setup docker --pool sim --print"}, {args: "setup opencode --print"},
		{`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"auth_status"}}`, "mcp"}, {grant, "mcp --pool sim"},
		{args: "version"}, {args: "--help"}, {args: "frobnicate"}, {args: ""}, {args: "man"}, {args: "complete -- token --account "},
		{args: "completion bash"}, {args: "completion zsh"}, {args: "completion fish"}, {args: "completion powershell"},
		{args: "login sim --timeout 1s"}, {args: "login sim --flow device --timeout 1s"}, {args: "login sim --renew Bob --timeout 1s"},
		{"afac_x#afac_y\n", "login sim --flow paste --no-browser --timeout 1s"}, {server + "/callback?code=afac_x&state=y\n", "login sim --flow paste --no-browser --timeout 1s"},
		{args: "login " + server + "/mcp --name remote --timeout 5s"}, {args: "token remote"}, {args: "info remote-1"}, {args: "refresh remote-1"}, {args: "helper mcp-headers " + server + "/mcp"}, {args: "helper mcp-headers --account Ada"},
		{remoteCalls, "mcp connect remote --verbose"}, {remoteCalls, "mcp connect " + server + "/at/x/mcp"}, {args: "mcp connect remote --account Ada"}, {grant, "mcp connect remote"},
		{args: "login remote --renew remote-1 --register --timeout 1s"}, {args: "login remote"}, {apiKey, "login remote --api-key-stdin --label X"},
		{args: "provider add afield --mcp " + server + "/at/x/mcp --client-id mine --scope read"}, {args: "provider show afield"}, {args: "provider remove afield"},
		{args: "remove remote-1 --yes"}, {args: "provider remove remote"},
		{apiKey, "login anthropic --api-key-stdin --label Two"}, {apiKey + "\n" + apiKey, "add anthropic --api-key-stdin --label Three"},
		{apiKey, "login anthropic --api-key-stdin --renew Key"},
		{longLived, "login anthropic --token-stdin --label Year --expires-in 20d"}, {longLived, "login anthropic --api-key-stdin --label Year2"}, {longLived + "\n" + longLived, "login anthropic --token-stdin --label Year3"},
		{longLived + "2", "login anthropic --token-stdin --renew Year"}, {"sk-ant-ort01-" + apiKey, "login anthropic --token-stdin --label Year4"}, {"sk-ant-admin01-" + apiKey, "login anthropic --api-key-stdin --label Year5"},
		{args: "token --account Year"}, {args: "header --account Year"}, {args: "info Year"}, {args: "refresh Year"}, {args: "exec --account Year -- true"}, {args: "login anthropic --token-stdin=" + longLived}, {args: "remove Year --yes"}, {args: "token --account Key"}, {args: "header --account Key"},
		{report(200), "report"}, {report(429), "report --next"}, {report(401)[:40], "report"}, {`{"lease":"afat_x","status":401}`, "report"},
		{args: "helper api-key --account Ada"}, {"HTTP/1.1 401 Unauthorized\r\nX: afat_x\r\n\r\n", "helper goauth --account Ada " + server + "/x"}, {args: "helper goauth --account Bob"},
		{git, "helper git --account Ada get"}, {git, "helper git --account Ada erase"}, {git, "helper git store"}, {git + "host=x\n", "helper git get"},
		{server, "helper docker --account Ada get"}, {docker, "helper docker --account Ada store"}, {server, "helper docker --account Ada erase"}, {args: "helper docker list"}, {docker + docker, "helper docker store"},
		{args: "helper kubernetes --account Ada"}, {args: "helper kubernetes"}, {args: "helper kubernetes --account Bob"},
		{cargo("get"), "helper cargo"}, {cargo("login"), "helper cargo"}, {cargo("get")[:60], "helper cargo"},
		{args: "helper terraform --account Ada get " + host}, {`{"token":"afat_x"}`, "helper terraform store " + host}, {args: "helper terraform forget " + host},
		{args: "serve --listen 0.0.0.0:8417"}, {args: "serve nowhere"}, {args: "helper proxy-key"}, {args: "helper proxy-key http://127.0.0.1:1"},
		{args: "run sim --account Ada -- true"}, {args: "run sim --account Bob -- nothing-like-it"}, {args: "run -- true"},
		{args: "exec --account Ada --env T -- true"}, {args: "exec --account Bob -- true"}, {args: "exec --account Ada -- nothing-like-it"},
		{args: "holds list"}, {args: "holds add Ada 1h"}, {args: "holds clear Ada"}, {args: "use Bob"}, {args: "use --pool sim"}, {args: "disable Ada"}, {args: "enable Ada"},
		{args: "order Bob 1"}, {args: "move Bob --pool two"}, {args: "move Bob --pool sim"},
		{args: "share start sim --endpoint https://127.0.0.1:1 --ca " + file + " --cert " + file + " --key " + file}, {args: "share invite sim --cert " + file + " --key " + file},
		{grant, "share join"}, {"authferry-share1" + apiKey + "\n", "share join"}, {args: "share join " + apiKey}, {args: "share status"}, {args: "share members sim"}, {args: "share leave sim"},
		{args: "share remove sim laptop --yes"}, {args: "share recover Ada --yes"}, {args: "share doctor"}, {args: "share serve"},
		{phrase, "keystore init --passphrase-stdin --key-file " + filepath.Join(s.Root, "key.age")}, {phrase, "keystore unlock --passphrase-stdin"}, {args: "keystore lock"},
	}...)
	if runtime.GOOS == "linux" || os.Getenv("AUTHFERRY_TEST_SYSTEM_KEYCHAIN") != "" { // elsewhere the keychain is not the scene's
		lines = append(lines, commandLine{args: "keystore migrate keychain"}, commandLine{args: "keystore migrate file"})
	}
	return append(lines, commandLine{args: "doctor"}, commandLine{args: "doctor --fix"},
		commandLine{args: "remove Eve"}, commandLine{args: "remove Eve --yes"}, commandLine{args: "rm nobody --yes"})
}

// theirLogins are files of other programs with a login in each, by program.
func (s *scene) theirLogins() map[string]string {
	s.T.Helper()
	files := map[string]string{}
	dir := s.T.TempDir()
	for program, text := range map[string]string{
		"claude-code":  `{"claudeAiOauth":{"accessToken":"afat_1","refreshToken":"afrt_1","expiresAt":4102444800000,"scopes":["x"]},"mcpOAuth":{"s":{"accessToken":"of a tool"}}}`,
		"codex":        `{"OPENAI_API_KEY":"` + apiKey + `","tokens":{"id_token":"e30.e30.afat_3","access_token":"afat_3","refresh_token":"afrt_3"},"last_refresh":"2026-11-20T08:00:00Z"}`,
		"gemini":       `{"access_token":"afat_4","refresh_token":"afrt_4","token_type":"Bearer","id_token":"e30.e30.afat_4","expiry_date":4102358400000}`,
		"opencode-mcp": `{"s":{"serverUrl":"http://127.0.0.1:1/mcp","tokens":{"accessToken":"afat_7","refreshToken":"afrt_7"},"clientInfo":{"clientId":"c"}}}`,
		"multi-auth":   `{"type":"multi-oauth","accounts":[{"id":"1","label":"Work","access":"afat_5","refresh":"afrt_5","expires":4102358400000}],"currentAccountIndex":0}`,
		"antigravity":  `{"version":4,"accounts":[{"email":"a@example.com","refreshToken":"afrt_6"},{"email":"b@example.com","refreshToken":""}],"activeIndex":0}`,
	} {
		files[program] = filepath.Join(dir, program+".json")
		testenv.Must(s.T, os.WriteFile(files[program], []byte(text), 0o600))
	}
	return files
}

// theirSettings gives the user other programs, with secrets in their settings.
func theirSettings(s *scene) {
	s.T.Helper()
	for path, text := range map[string]string{
		".claude/settings.json":          "{\n  \"env\": {\"A_KEY\": \"SECRET\"}\n}\n",
		".claude.json":                   `{"mcpServers":{"other":{"env":{"A_KEY":"SECRET"}},"authferry":{"type":"stdio","command":"authferry","args":["mcp"],"env":{"A_KEY":"SECRET"}}}}`,
		".codex/config.toml":             "[mcp_servers.other.env]\nA_KEY = \"SECRET\"\n",
		".config/opencode/opencode.json": "{\n  \"mcp\": {\n    \"authferry\": {\n      \"type\": \"local\",\n      \"command\": [\"authferry\", \"mcp\"],\n      \"environment\": {\n        \"A_KEY\": \"SECRET\"\n      }\n    }\n  }\n}\n",
		".docker/config.json":            `{"auths":{"r.example":{"auth":"SECRET"}}}`,
	} {
		path = filepath.Join(s.Root, "home", filepath.FromSlash(path))
		testenv.Must(s.T, os.MkdirAll(filepath.Dir(path), 0o700))
		testenv.Must(s.T, os.WriteFile(path, []byte(strings.ReplaceAll(text, "SECRET", theirSecret)), 0o600))
	}
}

// tryEverything runs every command in one mode and wants no secret where none
// belongs. Whether a command succeeds is not the question here; met is told how it
// failed. but leaves commands out.
func (s *scene) tryEverything(mode []string, met func(fault.Code), but *regexp.Regexp) {
	s.T.Helper()
	theirSettings(s)
	authferrytest.BuiltShare(s.T)
	for _, c := range s.everything() {
		if but != nil && but.MatchString(c.args) {
			continue
		}
		args := inMode(strings.Fields(c.args), mode)
		got := s.Run(c.stdin, args...)
		s.wantSilence(got, args)
		lines := strings.Split(strings.TrimSpace(got.Out), "\n")
		var f errorDoc
		if json.Unmarshal([]byte(lines[len(lines)-1]), &f) == nil && f.Error.Code != "" {
			met(f.Error.Code)
		}
	}
}

// unmoved are the commands that say the same in every predicament.
var unmoved = regexp.MustCompile(`^(complet|man|version|--help|frobnicate|setup)`)

// inMode puts flags where a command takes them.
func inMode(args, mode []string) []string {
	if i := slices.Index(args, "--"); i >= 0 {
		return slices.Insert(args, i, mode...)
	}
	return append(args, mode...)
}

// No command is left out of everything.
func TestEverythingIsEverything(t *testing.T) {
	t.Parallel()
	k, err := newParser(new(grammar), streams{out: io.Discard, err: io.Discard})
	testenv.Must(t, err)
	var tried []string
	s := newScene(t, brokertest.Config{})
	for _, c := range s.everything() {
		words := strings.Fields(c.args)
		if len(words) == 0 {
			tried = append(tried, "home")
		}
		for n := range words {
			tried = append(tried, strings.Join(words[:n+1], " "))
		}
	}
	var walk func(n *kong.Node, path string)
	walk = func(n *kong.Node, path string) {
		for _, c := range n.Children {
			if c == n.DefaultCmd && path != "" {
				walk(c, path)
				continue
			}
			walk(c, strings.TrimSpace(path+" "+c.Name))
		}
		if len(n.Children) == 0 && !slices.Contains(tried, path) {
			t.Errorf("authferry %s is not tried", path)
		}
	}
	walk(k.Model.Node, "")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if !slices.Contains(tried, "completion "+shell) {
			t.Errorf("completion %s is not tried", shell)
		}
	}
}
