package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/serve"
	"github.com/authferry/authferry/testenv"
)

// askProxy is a command for run to run: it asks for paths and prints what came. --env
// prints its environment, --run another command's output, --wait lives until its
// standard input ends, and --hammer asks until then, and prints what isn't an answer.
func askProxy() {
	url, key, code := os.Getenv("AUTHFERRY_PROXY_URL"), os.Getenv(keyVariable), 0
	args := os.Args[1:]
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		value := ""
		if strings.HasPrefix(arg, "--") && arg != "--env" && arg != "--wait" && arg != "--hammer" {
			value, args = args[0], args[1:]
		}
		switch arg {
		case "--key":
			key = value
		case "--exit":
			code, _ = strconv.Atoi(value)
		case "--squat":
			l, err := net.Listen("tcp", value)
			fmt.Println("ready", err)
			if err == nil {
				_, _ = io.Copy(io.Discard, os.Stdin)
				_ = l.Close()
			}
		case "--knock":
			if _, key, err := knockForKey(context.Background(), value); err != nil {
				fmt.Println("no key:", err)
			} else {
				fmt.Println("key:", key.Reveal())
			}
		case "--provider":
			url = os.Getenv("AUTHFERRY_PROXY_URL_" + variableName(value))
		case "--env":
			for _, e := range os.Environ() {
				if !strings.HasPrefix(e, keyVariable) {
					fmt.Println(e)
				}
			}
		case "--run":
			words := strings.Fields(value)
			out, err := exec.Command(words[0], words[1:]...).Output()
			if err != nil {
				fmt.Println(err)
			}
			_, _ = os.Stdout.Write(out)
		case "--wait":
			fmt.Println("ready", os.Getpid())
			_, _ = io.Copy(io.Discard, os.Stdin)
		case "--hammer":
			fmt.Println("ready", os.Getpid())
			over := make(chan struct{})
			go func() {
				_, _ = io.Copy(io.Discard, os.Stdin)
				close(over)
			}()
			hammer(url+"/api/x", key, over)
		default:
			fmt.Println(askOnce(url+arg, key))
		}
	}
	os.Exit(code)
}

func hammer(url, key string, over <-chan struct{}) {
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-over:
					return
				case <-time.After(10 * time.Millisecond): // a machine has other tests to run
				}
				if got := askOnce(url, key); !strings.HasPrefix(got, "200 ") {
					fmt.Println(got)
				}
			}
		})
	}
	all.Wait()
}

func askOnce(url, key string) string {
	request, err := http.NewRequest(http.MethodPost, url, strings.NewReader("{}"))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("x-api-key", key)
	res, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = res.Body.Close() }()
	body, _ := io.ReadAll(res.Body)
	return strconv.Itoa(res.StatusCode) + " " + strings.TrimSpace(string(body))
}

func testProxied(program string, providers ...servedProvider) *proxied {
	return &proxied{served: providers, program: program, url: "http://127.0.0.1:1", key: keystore.NewSecret("the-key")}
}

// The command has the proxy in its environment, and no other way to a key.
func TestProxiedEnvironment(t *testing.T) {
	t.Parallel()
	before := []string{
		"PATH=/bin", "ANTHROPIC_API_KEY=a", "ANTHROPIC_AUTH_TOKEN=a", "ANTHROPIC_BASE_URL=a", "ANTHROPIC_UNIX_SOCKET=a", "ANTHROPIC_MODEL=m", "ANTHROPIC_CUSTOM_HEADERS=a",
		"CLAUDE_CODE_OAUTH_TOKEN=a", "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR=5", "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR=5", "CLAUDE_CODE_USE_BEDROCK=1", "CLAUDE_CODE_USE_VERTEX=1",
		"CLAUDE_CODE_SKIP_BEDROCK_AUTH=1", "ANTHROPIC_BEDROCK_BASE_URL=a", "ANTHROPIC_FOUNDRY_API_KEY=a", "AWS_BEARER_TOKEN_BEDROCK=a", "AWS_PROFILE=mine", "CLAUDE_CONFIG_DIR=/c",
		"OPENAI_API_KEY=a", "OPENAI_BASE_URL=a", "OPENAI_ORG_ID=a", "AZURE_OPENAI_API_KEY=a", "CODEX_API_KEY=a", "CODEX_HOME=/x",
		"GEMINI_API_KEY=a", "GOOGLE_API_KEY=a", "GOOGLE_GENAI_USE_VERTEXAI=1", "CODE_ASSIST_ENDPOINT=a", "GOOGLE_APPLICATION_CREDENTIALS=/adc",
		"AUTHFERRY_PROXY_KEY=old", "AUTHFERRY_PROXY_URL=old", "AUTHFERRY_PROXY_URL_X=old", "AUTHFERRY_DIR=/d", "https_proxy=http://p:1", "no_proxy=a.example",
	}
	get := func(env []string, name string) (values []string) {
		for _, e := range env {
			if n, v, _ := strings.Cut(e, "="); n == name {
				values = append(values, v)
			}
		}
		return values
	}
	for _, test := range []struct {
		p    *proxied
		want map[string]string // "" stands for none
	}{
		{testProxied("claude", servedProvider{name: "anthropic"}), map[string]string{
			"ANTHROPIC_BASE_URL": "http://127.0.0.1:1/anthropic", "ANTHROPIC_AUTH_TOKEN": "the-key", "CLAUDE_CODE_OAUTH_TOKEN": "", "ANTHROPIC_API_KEY": "", "ANTHROPIC_MODEL": "m",
			"AUTHFERRY_PROXY_URL": "http://127.0.0.1:1/anthropic", "AUTHFERRY_PROXY_URL_ANTHROPIC": "http://127.0.0.1:1/anthropic", "AUTHFERRY_PROXY_URL_X": "", "AUTHFERRY_PROXY_KEY": "the-key",
			"OPENAI_API_KEY": "a", "CODEX_HOME": "/x", "AWS_PROFILE": "mine", "CLAUDE_CONFIG_DIR": "/c", "AUTHFERRY_DIR": "/d", "PATH": "/bin",
			"no_proxy": "a.example,127.0.0.1,localhost", "NO_PROXY": "127.0.0.1,localhost",
		}},
		{testProxied("claude", servedProvider{name: "anthropic", logins: true}), map[string]string{"CLAUDE_CODE_OAUTH_TOKEN": "the-key", "ANTHROPIC_AUTH_TOKEN": ""}},
		{testProxied("agent", servedProvider{name: "anthropic", logins: true}, servedProvider{name: "openai"}, servedProvider{name: "google"}, servedProvider{name: "my-own.1"}), map[string]string{
			"CLAUDE_CODE_OAUTH_TOKEN": "the-key", "ANTHROPIC_AUTH_TOKEN": "the-key", "OPENAI_BASE_URL": "http://127.0.0.1:1/openai/v1", "OPENAI_API_KEY": "the-key", "OPENAI_ORG_ID": "",
			"GOOGLE_GEMINI_BASE_URL": "http://127.0.0.1:1/google", "GEMINI_API_KEY": "the-key", "GOOGLE_API_KEY": "", "GOOGLE_GENAI_USE_VERTEXAI": "", "GOOGLE_APPLICATION_CREDENTIALS": "/adc",
			"AUTHFERRY_PROXY_URL": "", "AUTHFERRY_PROXY_URL_MY_OWN_1": "http://127.0.0.1:1/my-own.1",
		}},
	} {
		env := test.p.environment(before)
		for name, want := range test.want {
			got := get(env, name)
			if want == "" && got != nil || want != "" && !slices.Equal(got, []string{want}) {
				t.Errorf("%s: %s is %q, want %q", test.p.program, name, got, want)
			}
		}
		served := test.p.serves("anthropic")
		for _, name := range []string{"ANTHROPIC_UNIX_SOCKET", "ANTHROPIC_CUSTOM_HEADERS", "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR", "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
			"CLAUDE_CODE_USE_BEDROCK", "CLAUDE_CODE_USE_VERTEX", "CLAUDE_CODE_SKIP_BEDROCK_AUTH", "ANTHROPIC_BEDROCK_BASE_URL", "ANTHROPIC_FOUNDRY_API_KEY", "AWS_BEARER_TOKEN_BEDROCK"} {
			if served && get(env, name) != nil {
				t.Errorf("%s: %s is still there", test.p.program, name)
			}
		}
	}
}

// What overrides a client's own settings stands on its command line, and never the key.
func TestProxiedArguments(t *testing.T) {
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("CLAUDE_CONFIG_DIR", "")
	t.Chdir(t.TempDir())
	arguments := func(p *proxied, command ...string) (string, string) {
		argv, notes := p.arguments(command)
		all, note := strings.Join(argv, " "), strings.Join(notes, "\n")
		if strings.Contains(all, "the-key") || strings.Contains(note, "the-key") {
			t.Errorf("the key is in %s %s", all, note)
		}
		return all, note
	}
	settings := func(argv string) (doc struct {
		Env    map[string]string `json:"env"`
		Helper *string           `json:"apiKeyHelper"`
	}) {
		_, text, _ := strings.Cut(argv, "--settings ")
		text, _, _ = strings.Cut(text, " -p")
		if err := json.Unmarshal([]byte(text), &doc); err != nil || doc.Helper == nil {
			t.Errorf("%v: %s", err, text)
		}
		return doc
	}
	keys := testProxied("claude", servedProvider{name: "anthropic"})
	logins := testProxied("claude", servedProvider{name: "anthropic", logins: true})
	for p, stays := range map[*proxied]string{keys: "ANTHROPIC_AUTH_TOKEN", logins: "CLAUDE_CODE_OAUTH_TOKEN"} {
		argv, note := arguments(p, "/usr/bin/claude", "-p", "hi")
		doc := settings(argv)
		_, set := doc.Env[stays]
		if !strings.HasPrefix(argv, "/usr/bin/claude --settings {") || !strings.HasSuffix(argv, " -p hi") || note != "" || *doc.Helper != "" || set ||
			doc.Env["ANTHROPIC_BASE_URL"] != "http://127.0.0.1:1/anthropic" || len(doc.Env) < 4 {
			t.Errorf("%s, %s", argv, note)
		}
	}
	// A settings file would put its own token in the key's place.
	path := filepath.Join(home, ".claude", "settings.json")
	testenv.Must(t, os.MkdirAll(filepath.Dir(path), 0o700))
	testenv.Must(t, os.WriteFile(path, []byte(`{"env":{"ANTHROPIC_AUTH_TOKEN":"real"}}`), 0o600))
	argv, note := arguments(keys, "claude", "-p")
	if doc := settings(argv + " -p"); (*doc.Helper == "") == (note == "") {
		t.Errorf("%s, %q", argv, note)
	}
	if argv, note := arguments(logins, "claude", "-p"); *settings(argv + " -p").Helper != "" || note != "" {
		t.Errorf("%s, %q", argv, note)
	}
	if argv, note := arguments(keys, "claude", "--settings", "mine"); argv != "claude --settings mine" || !strings.Contains(note, "--settings") {
		t.Errorf("%s, %q", argv, note)
	}

	argv, note = arguments(testProxied("codex", servedProvider{name: "openai"}), "codex", "exec", "hi")
	want := `codex -c model_provider="authferry" -c model_providers.authferry.name="authferry" -c model_providers.authferry.base_url="http://127.0.0.1:1/openai/v1"` +
		` -c model_providers.authferry.wire_api="responses" -c model_providers.authferry.env_key="AUTHFERRY_PROXY_KEY" exec hi`
	if argv != want || note != "" {
		t.Errorf("%s, %q", argv, note)
	}
	for _, p := range []*proxied{testProxied("codex", servedProvider{name: "anthropic"}), testProxied("claude", servedProvider{name: "openai"}), testProxied("agent", servedProvider{name: "openai"})} {
		if argv, note := arguments(p, p.program, "x"); argv != p.program+" x" || note != "" {
			t.Errorf("%s, %q", argv, note)
		}
	}
}

// Gemini CLI has nothing on its command line that would override its settings.
func TestProxiedGemini(t *testing.T) {
	home, system := t.TempDir(), filepath.Join(t.TempDir(), "settings.json")
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("GEMINI_CLI_HOME", "")
	t.Setenv("GEMINI_CLI_SYSTEM_SETTINGS_PATH", system)
	t.Chdir(t.TempDir())
	own := filepath.Join(home, ".gemini", "settings.json")
	for _, dir := range []string{filepath.Dir(own), ".gemini"} {
		testenv.Must(t, os.MkdirAll(dir, 0o700))
	}
	p := testProxied("gemini", servedProvider{name: "google"})
	const key, login = `{"security":{"auth":{"selectedType":"gemini-api-key"}}}`, `{"security":{"auth":{"selectedType":"oauth-personal",}}} // mine`
	for _, step := range []struct{ path, text, note string }{
		{own, "", own},
		{own, `{"security":{}}`, "may refuse to start"},
		{own, key, ""},
		{filepath.Join(".gemini", "settings.json"), login, filepath.Join(".gemini", "settings.json") + ` has "oauth-personal"`},
		{system, key, ""},
		{system, `{"security":{"auth":{"selectedType":"gateway"}}}`, system + ` has "gateway"`},
	} {
		testenv.Must(t, os.WriteFile(step.path, []byte(step.text), 0o600))
		argv, notes := p.arguments([]string{"gemini", "-p", "hi"})
		note := strings.Join(notes, "\n")
		if strings.Join(argv, " ") != "gemini -p hi" || !strings.Contains(note, step.note) || (step.note == "") != (note == "") {
			t.Errorf("%s: %q, %q", step.text, argv, note)
		}
	}
	if _, notes := testProxied("gemini", servedProvider{name: "openai"}).arguments([]string{"gemini"}); notes != nil {
		t.Error(notes)
	}

	// What it doesn't have at all it takes from a .env file.
	env := p.environment([]string{"GOOGLE_API_KEY=real", "CLOUD_SHELL=true"})
	for _, want := range []string{"GEMINI_API_KEY=the-key", "GOOGLE_GEMINI_BASE_URL=http://127.0.0.1:1/google", "GOOGLE_API_KEY=", "GOOGLE_GENAI_USE_VERTEXAI=", "CODE_ASSIST_ENDPOINT=", "CLOUD_SHELL="} {
		name, _, _ := strings.Cut(want, "=")
		if n := slices.IndexFunc(env, func(e string) bool { return strings.HasPrefix(e, name+"=") }); n < 0 || env[n] != want {
			t.Errorf("no %s in %q", want, env)
		}
	}
}

// OpenCode gets the proxy in configuration that it lays over its own, which stays; the key
// is not in it.
func TestProxiedOpenCode(t *testing.T) {
	t.Parallel()
	p := testProxied("opencode", servedProvider{name: "anthropic"}, servedProvider{name: "google"})
	config := func(before ...string) (text string) {
		t.Helper()
		for _, e := range p.environment(before) {
			if value, ok := strings.CutPrefix(e, openCodeVariable+"="); ok {
				if text != "" {
					t.Error("it is there twice")
				}
				text = value
			}
		}
		if strings.Contains(text, "the-key") {
			t.Errorf("the key is in %s", text)
		}
		return text
	}
	const key = `"apiKey":"{env:AUTHFERRY_PROXY_KEY}"`
	want := `{"provider":{"anthropic":{"options":{` + key + `,"baseURL":"http://127.0.0.1:1/anthropic/v1"}},"google":{"options":{` + key + `,"baseURL":"http://127.0.0.1:1/google/v1beta"}}}}`
	if got := config("PATH=/bin"); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	got := config(openCodeVariable + `={"model":"m", "provider":{"anthropic":{"name":"A","options":{"apiKey":"real","timeout":5}},"x":{}}} // mine`)
	for _, part := range []string{`"model":"m"`, `"name":"A"`, `"timeout":5`, `"x":{}`, key + `,"baseURL":"http://127.0.0.1:1/anthropic/v1"`} {
		if !strings.Contains(got, part) || strings.Contains(got, "real") {
			t.Errorf("no %s in %s", part, got)
		}
	}
	if got := config(openCodeVariable + "={"); got != "{" {
		t.Errorf("%s: OpenCode says what is wrong with that", got)
	}
}

func TestProgramOf(t *testing.T) {
	t.Parallel()
	for command, want := range map[string]string{"claude": "claude", "/opt/bin/claude": "claude", "claude.exe": "claude", "codex.cmd": "codex", "my.agent": "my.agent"} {
		if got := programOf(command); got != want {
			t.Errorf("%s: %s", command, got)
		}
	}
}

// Every trouble is one line, without an end that cuts it, and names what to do where
// there is something.
func TestSentences(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 30, 14, 4, 30, 0, time.Local)
	for kind := serve.BadKey; kind <= serve.Redirected; kind++ {
		for _, err := range []error{nil, &fault.Error{Code: fault.LoginNeeded, Message: "account \"x\x1b[1m\ny\" needs a login", Next: []fault.Remedy{{Do: fault.Login, Provider: "sim", Account: "x"}}}} {
			for _, tr := range []serve.Trouble{{Kind: kind, Err: err}, {Kind: kind, Provider: "sim", Pool: "work\n", RetryAt: at, Err: err}} {
				s := sentence(tr)
				if s == "" || strings.ContainsAny(s, "\n\x1b") || strings.Contains(s, "something went wrong") {
					t.Errorf("%d: %q", kind, s)
				}
			}
		}
	}
	if got := sentence(serve.Trouble{Kind: serve.AllHeld, Provider: "sim", Pool: "work", RetryAt: at}); !strings.HasPrefix(got, "No account of pool work is free before ") || !strings.HasSuffix(got, "See: authferry status") {
		t.Error(got)
	}
}
