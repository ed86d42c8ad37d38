package opencode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(authferrytest.Alone(m).Run()) }

// newScene has the program as it is installed: the test binary's own start would be
// part of what is measured.
func newScene(t *testing.T) *authferrytest.Scene {
	t.Helper()
	return authferrytest.New(t, authferrytest.Built(t), brokertest.Config{})
}

// The two users of the provider, and the labels of their accounts.
const (
	personal, personalUser = "Personal", "ada@example.com"
	work, workUser         = "Work", "bob@example.com"
)

// openCode is a person who uses OpenCode with authferry's plugin: the program as it
// is installed, a project, and a model API that takes the scene's tokens.
type openCode struct {
	*authferrytest.Scene
	program string // OpenCode
	project string
	models  *modelAPI
}

// openCodeProgram skips the test where OpenCode is absent, or the proofs are off.
func openCodeProgram(t *testing.T) string {
	t.Helper()
	proofs.Only(t, "starts OpenCode")
	path := os.Getenv("AUTHFERRY_OPENCODE")
	if path == "" {
		path = filepath.Join("node_modules", "opencode-linux-x64", "bin", "opencode")
	}
	path, err := filepath.Abs(path)
	if err == nil {
		_, err = os.Stat(path)
	}
	if err != nil {
		t.Skip("needs opencode: run npm ci --ignore-scripts in cmd/authferry/opencode, or set AUTHFERRY_OPENCODE to the program")
	}
	return path
}

// newOpenCode has both accounts, whose tokens live for ttl, and the plugin set up.
func newOpenCode(t *testing.T, ttl time.Duration) *openCode {
	t.Helper()
	program := openCodeProgram(t)
	o := &openCode{Scene: newScene(t), program: program}
	o.project = filepath.Join(o.Root, "project")
	o.models = newModelAPI(t, o.Server)
	o.Must("", "provider", "add", "anthropic", "--authorization-endpoint", o.Server.URL+"/authorize", "--token-endpoint", o.Server.URL+"/token",
		"--client-id", "authferry-sim", "--api-origin", o.models.URL, "--header", "authorization: Bearer {token}", "--header", "anthropic-beta: oauth-2025-04-20")
	o.Must(o.Grant(personalUser, ttl), "import", "grant", "anthropic", "--label", personal)
	o.Must(o.Grant(workUser, ttl), "import", "grant", "anthropic", "--label", work)

	// OpenCode installs nothing into a folder whose lock file says that it has.
	home := filepath.Join(o.Root, "home")
	config := filepath.Join(home, ".config", "opencode")
	o.file(filepath.Join(config, "package-lock.json"), `{"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}}`)
	testenv.Must(t, os.MkdirAll(filepath.Join(config, "node_modules"), 0o700))
	o.configure(o.models.URL, true)

	o.install(o.Program)
	t.Cleanup(func() {
		testenv.Check(t, authferrytest.Leaked(authferrytest.SecretsOf(o.Server), home, o.project))
	})
	return o
}

// install sets the plugin up with that authferry.
func (o *openCode) install(authferry string) {
	o.T.Helper()
	authferrytest.SetUpOpenCode(o.T, filepath.Join(o.Root, "home"), authferry)
}

func (o *openCode) file(path, content string) {
	o.T.Helper()
	testenv.Must(o.T, os.MkdirAll(filepath.Dir(path), 0o700))
	testenv.Must(o.T, os.WriteFile(path, []byte(content), 0o600))
}

// configure writes the project's opencode.json. Without a title a prompt is one
// request; else it is two at once.
func (o *openCode) configure(api string, title bool, more ...map[string]any) {
	o.T.Helper()
	settings := map[string]any{
		"agent":   map[string]any{"title": map[string]any{"disable": !title}},
		"$schema": "https://opencode.ai/config.json", "model": "anthropic/claude-sonnet-4-5", "small_model": "anthropic/claude-haiku-4-5",
		"autoupdate": false, "share": "disabled",
		"provider": map[string]any{"anthropic": map[string]any{"options": map[string]any{"baseURL": api + "/v1"}}},
	}
	for _, m := range more {
		maps.Copy(settings, m)
	}
	config, err := json.Marshal(settings)
	testenv.Must(o.T, err)
	o.file(filepath.Join(o.project, "opencode.json"), string(config))
}

// opencode is OpenCode, not started yet, with nothing of this machine's environment.
func (o *openCode) opencode(args ...string) *exec.Cmd {
	home := filepath.Join(o.Root, "home")
	cmd := exec.CommandContext(o.T.Context(), o.program, args...)
	cmd.Dir = o.project
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + home, "TMPDIR=" + filepath.Join(o.Root, "tmp"), "AUTHFERRY_DIR=" + o.Dir, "AUTHFERRY_LOCK_TIMEOUT=60s", "LANG=C.UTF-8", "NO_COLOR=1",
		"XDG_CONFIG_HOME=" + filepath.Join(home, ".config"), "XDG_DATA_HOME=" + filepath.Join(home, "data"),
		"XDG_STATE_HOME=" + filepath.Join(home, "state"), "XDG_CACHE_HOME=" + filepath.Join(home, "cache"),
		"OPENCODE_DISABLE_MODELS_FETCH=1", "OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_DEFAULT_PLUGINS=1",
		"OPENCODE_DISABLE_LSP_DOWNLOAD=1", "OPENCODE_DISABLE_EXTERNAL_SKILLS=1",
	}
	cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// prompt sends one prompt and returns what OpenCode printed, and its exit code.
func (o *openCode) prompt(text string) authferrytest.Outcome {
	o.T.Helper()
	began := time.Now()
	cmd := o.opencode("run", "--print-logs", text)
	testenv.Must(o.T, cmd.Start())
	got := o.Finish(cmd)
	o.T.Logf("opencode run %q: %.1f s, exit code %d, API: %v", text, time.Since(began).Seconds(), got.Code, o.models.requests())
	return got
}

// modelAPI speaks enough of Anthropic's messages for OpenCode. Whose token it is,
// and whether the quota allows it, the scene's server says, in its own words
// where it refuses.
type modelAPI struct {
	*httptest.Server
	mu  sync.Mutex
	log []modelRequest
	// before runs before the tool of a remote MCP server is called; nil: nothing does.
	before func()
}

// modelRequest is one request as the API saw it.
type modelRequest struct {
	kind   string // "title", "main" or "result", which brings a tool's
	user   string // "" where the token was refused
	status int
	beta   string
	header http.Header
	result string // of a tool
}

func (r modelRequest) String() string { return fmt.Sprintf("%s %s %d", r.kind, r.user, r.status) }

func newModelAPI(t *testing.T, server *brokertest.Server) *modelAPI {
	m := &modelAPI{}
	m.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { m.messages(server, w, r) }))
	t.Cleanup(m.Close)
	return m
}

// requests returns the log, of one kind where one is named.
func (m *modelAPI) requests(kind ...string) (found []modelRequest) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.log {
		if len(kind) == 0 || slices.Contains(kind, r.kind) {
			found = append(found, r)
		}
	}
	return found
}

// answers is who was asked, in order, and how that went: "ada@example.com 429".
func (m *modelAPI) answers(kind string) (found []string) {
	for _, r := range m.requests(kind) {
		found = append(found, fmt.Sprintf("%s %d", r.user, r.status))
	}
	return found
}

func (m *modelAPI) messages(server *brokertest.Server, w http.ResponseWriter, r *http.Request) {
	var body struct {
		Tools    []struct{ Name string }
		Messages []struct{ Content json.RawMessage }
	}
	_ = json.NewDecoder(r.Body).Decode(&body)
	seen := modelRequest{kind: "main", header: r.Header.Clone(), beta: r.Header.Get("Anthropic-Beta")}
	if len(body.Tools) == 0 {
		seen.kind = "title"
	}
	last := ""
	if n := len(body.Messages); n > 0 {
		last = string(body.Messages[n-1].Content)
	}
	if strings.Contains(last, `"tool_result"`) {
		seen.kind, seen.result = "result", last
	}

	asked, err := http.NewRequestWithContext(r.Context(), http.MethodPost, server.URL+"/api/messages", http.NoBody)
	if err != nil {
		return
	}
	asked.Header.Set("Authorization", r.Header.Get("Authorization"))
	answer, err := server.Client().Do(asked)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer answer.Body.Close()
	said, err := io.ReadAll(answer.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	var whose struct{ User string }
	allowed := answer.StatusCode == http.StatusOK && json.Unmarshal(said, &whose) == nil
	seen.status, seen.user = answer.StatusCode, userOf(server, r.Header.Get("Authorization"))
	m.mu.Lock()
	m.log = append(m.log, seen)
	m.mu.Unlock()
	if !allowed {
		for _, name := range []string{"Content-Type", "Retry-After"} {
			if v := answer.Header.Get(name); v != "" {
				w.Header().Set(name, v)
			}
		}
		w.WriteHeader(answer.StatusCode)
		_, _ = w.Write(said)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	call := func(tool, input string) {
		stream(w, "tool_use", map[string]any{"type": "tool_use", "id": "toolu_1", "name": tool, "input": map[string]any{}},
			map[string]any{"type": "input_json_delta", "partial_json": input})
	}
	_, command, shell := strings.Cut(last, "run this: ")
	command, _, _ = strings.Cut(command, `"`)
	switch {
	case seen.kind == "main" && strings.Contains(last, "auth status"):
		call("auth_status", "{}")
	case seen.kind == "main" && strings.Contains(last, "who is it"):
		if m.before != nil {
			m.before()
		}
		call("docs_whoami", "{}")
	case seen.kind == "main" && shell:
		call("bash", fmt.Sprintf(`{"command":%q,"description":"as asked"}`, strings.TrimRight(command, `\`)))
	case seen.kind == "title":
		stream(w, "end_turn", map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": "A title"})
	default:
		stream(w, "end_turn", map[string]any{"type": "text", "text": ""}, map[string]any{"type": "text_delta", "text": hello(whose.User)})
	}
}

// hello is the model's answer to user.
func hello(user string) string {
	name, _, _ := strings.Cut(user, "@")
	return "Hello from " + name
}

// stream writes one message of one block as Anthropic's events.
func stream(w io.Writer, stop string, block, delta map[string]any) {
	usage := map[string]any{"input_tokens": 10, "output_tokens": 5}
	message := map[string]any{"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-sonnet-4-5", "content": []any{}, "stop_reason": nil, "stop_sequence": nil, "usage": usage}
	for _, event := range []map[string]any{
		{"type": "message_start", "message": message},
		{"type": "content_block_start", "index": 0, "content_block": block},
		{"type": "content_block_delta", "index": 0, "delta": delta},
		{"type": "content_block_stop", "index": 0},
		{"type": "message_delta", "delta": map[string]any{"stop_reason": stop, "stop_sequence": nil}, "usage": usage},
		{"type": "message_stop"},
	} {
		data, _ := json.Marshal(event)
		_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event["type"], data)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// userOf is whose token a header holds, whatever is left of the quota.
func userOf(server *brokertest.Server, header string) string {
	req, err := http.NewRequest(http.MethodGet, server.URL+"/userinfo", http.NoBody)
	if err != nil {
		return ""
	}
	req.Header.Set("Authorization", header)
	res, err := server.Client().Do(req)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	var who struct{ Email, Sub string }
	if json.NewDecoder(res.Body).Decode(&who) != nil {
		return ""
	}
	return who.Email
}
