package helper_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
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
	"github.com/authferry/authferry/testenv"
)

// keyedAPI answers by the key that comes, and keeps a list of whose came.
type keyedAPI struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	answer func(who string, w http.ResponseWriter, r *http.Request)
}

// newKeyedAPI hands on requests whose X-Streamed says that a stream is wanted.
func newKeyedAPI(t *testing.T, answer func(who string, w http.ResponseWriter, r *http.Request)) *keyedAPI {
	a := &keyedAPI{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ") + r.Header.Get("X-Api-Key") + r.Header.Get("X-Goog-Api-Key")
		body, _ := io.ReadAll(r.Body)
		if bytes.Contains(body, []byte(`"stream":true`)) || strings.HasSuffix(r.URL.Path, ":streamGenerateContent") {
			r.Header.Set("X-Streamed", "yes")
		}
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/models") { // Codex asks beside its prompt
			_, _ = io.WriteString(w, `{"models":[]}`)
			return
		}
		a.mu.Lock()
		a.asked = append(a.asked, strings.TrimPrefix(who, "key-"))
		a.mu.Unlock()
		a.answer(strings.TrimPrefix(who, "key-"), w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *keyedAPI) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.asked, " ")
}

// modelAPI is how a provider's API answers: the pieces of a stream, and the same in one
// document.
type modelAPI struct {
	start, text, end []string // events' data
	limit            string   // likewise
	document         string
	named            bool // events have names
}

func (m modelAPI) stream(w http.ResponseWriter, parts ...[]string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, data := range slices.Concat(parts...) {
		var e struct{ Type string }
		_ = json.Unmarshal([]byte(data), &e)
		if m.named {
			_, _ = fmt.Fprintf(w, "event: %s\n", e.Type)
		}
		_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
		w.(http.Flusher).Flush()
	}
}

func (m modelAPI) good(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Streamed") != "" {
		m.stream(w, m.start, m.text, m.end)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, m.document)
}

func (m modelAPI) limitEarly(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Streamed") == "" {
		status(429, "retry-after", "3600")(w, r)
		return
	}
	m.stream(w, m.start, []string{m.limit})
}

func (m modelAPI) limitLate(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("X-Streamed") == "" {
		status(429, "retry-after", "3600")(w, r)
		return
	}
	m.stream(w, m.start, m.text[:1], []string{m.limit})
}

func status(code int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		kind := map[int]string{429: "rate_limit_error", 529: "overloaded_error"}[code]
		_, _ = fmt.Fprintf(w, `{"type":"error","error":{"type":%q,"message":"their words"}}`, kind)
	}
}

var (
	anthropicAPI = modelAPI{
		named: true,
		start: []string{`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"sim","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`},
		text: []string{
			`{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`,
			`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ferried"}}`,
		},
		end: []string{
			`{"type":"content_block_stop","index":0}`,
			`{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}`, `{"type":"message_stop"}`,
		},
		limit:    `{"type":"error","error":{"type":"rate_limit_error","message":"their words"}}`,
		document: `{"id":"msg_2","type":"message","role":"assistant","model":"sim","content":[{"type":"text","text":"ferried"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}`,
	}
	responsesAPI = modelAPI{
		named: true,
		start: []string{`{"type":"response.created","response":{"id":"resp_1"}}`},
		text: []string{
			`{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant","id":"msg_1","content":[]}}`,
			`{"type":"response.output_text.delta","item_id":"msg_1","output_index":0,"content_index":0,"delta":"ferried"}`,
			`{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"ferried"}]}}`,
		},
		end:      []string{`{"type":"response.completed","response":{"id":"resp_1","output":[],"usage":{"input_tokens":1,"input_tokens_details":null,"output_tokens":1,"output_tokens_details":null,"total_tokens":2}}}`},
		limit:    `{"type":"response.failed","response":{"id":"resp_1","error":{"code":"usage_limit_reached","message":"their words"}}}`,
		document: `{"id":"resp_2","object":"response","status":"completed","output":[{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"ferried","annotations":[]}]}]}`,
	}
	chatAPI = modelAPI{
		start:    []string{`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}]}`},
		text:     []string{`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{"content":"ferried"},"finish_reason":null}]}`},
		end:      []string{`{"id":"c","object":"chat.completion.chunk","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`, "[DONE]"},
		limit:    `{"error":{"code":"rate_limit_exceeded","type":"rate_limit_exceeded","message":"their words"}}`,
		document: `{"id":"c","object":"chat.completion","choices":[{"index":0,"message":{"role":"assistant","content":"ferried"},"finish_reason":"stop"}]}`,
	}
	geminiAPI = modelAPI{
		text:     []string{`{"candidates":[{"content":{"role":"model","parts":[{"text":"fer"}]},"index":0}]}`},
		end:      []string{`{"candidates":[{"content":{"role":"model","parts":[{"text":"ried"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}`},
		limit:    `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"their words"}}`,
		document: `{"candidates":[{"content":{"role":"model","parts":[{"text":"ferried"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":1,"candidatesTokenCount":1,"totalTokenCount":2}}`,
	}
)

// runClient is a program under authferry run.
type runClient struct {
	name, provider string
	command        func(bin string) []string
	setUp          func(s *scene)
	env            []string
	api            modelAPI
	all            string // what it says when nobody is free
	login          string // what it says when a login is needed
	again          string // whose keys come after a limit behind content, where not "ada bob"
	late           string // what it says then, where not the answer
	twice          bool   // it asks several times for one prompt
	tokens         bool   // the accounts are a subscription's, as claude setup-token makes them
	after          func(s *scene)
}

func program(name string, args ...string) func(string) []string {
	return func(bin string) []string { return append([]string{filepath.Join(bin, name)}, args...) }
}

// openCode is where the plugin's tests have it, too.
func openCode(bin string) []string {
	path := os.Getenv("AUTHFERRY_OPENCODE")
	for _, node := range []string{filepath.Dir(bin), filepath.Join("..", "opencode", "node_modules")} {
		if path == "" {
			path, _ = filepath.Abs(filepath.Join(node, "opencode-linux-x64", "bin", "opencode"))
			if _, err := os.Stat(path); err != nil {
				path = ""
			}
		}
	}
	return []string{path, "run", "hi"}
}

func sdk(t *testing.T, args ...string) func(string) []string {
	script, err := filepath.Abs(filepath.Join("testdata", "sdk.mjs"))
	testenv.Must(t, err)
	return func(bin string) []string {
		return append([]string{"node", script, filepath.Dir(filepath.Dir(bin))}, args...)
	}
}

func runClients(t *testing.T) []runClient {
	const (
		anthropicAll = "No account of pool anthropic is free before"
		openAIAll    = "No account of pool openai is free before"
		googleAll    = "No account of pool google is free before"
		login        = "A login is needed"
	)
	openCodeEnv := []string{"OPENCODE_DISABLE_MODELS_FETCH=1", "OPENCODE_DISABLE_AUTOUPDATE=1", "OPENCODE_DISABLE_DEFAULT_PLUGINS=1", "OPENCODE_DISABLE_LSP_DOWNLOAD=1", "OPENCODE_DISABLE_EXTERNAL_SKILLS=1"}
	openCodeProject := func(s *scene) {
		s.Write("opencode.json", `{"agent":{"title":{"disable":true}},"model":"anthropic/claude-sonnet-4-5","small_model":"anthropic/claude-haiku-4-5","autoupdate":false,"share":"disabled"}`)
	}
	gone := "error:" // a stream that breaks off is the SDK's user's to begin again
	return []runClient{
		{name: "claude", provider: "anthropic", command: program("claude", "-p", "hi"), api: anthropicAPI, all: anthropicAll, login: login,
			env: []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"}},
		{name: "claude with settings", provider: "anthropic", command: program("claude", "-p", "hi"), api: anthropicAPI, all: anthropicAll, login: login,
			env: []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"},
			setUp: func(s *scene) {
				s.Write("home/.claude/settings.json", fmt.Sprintf(`{"apiKeyHelper":%q,"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9","ANTHROPIC_API_KEY":"key-settings"}}`,
					"'"+s.named("authferry")+"' helper api-key --pool anthropic"))
			}},
		{name: "claude with a token in its settings", provider: "anthropic", command: program("claude", "-p", "hi"), api: anthropicAPI, all: anthropicAll, login: login,
			env: []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"},
			setUp: func(s *scene) {
				s.Write("home/.claude/settings.json", `{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9","ANTHROPIC_AUTH_TOKEN":"key-settings"}}`)
			}},
		{name: "claude with subscriptions", provider: "anthropic", command: program("claude", "-p", "hi"), api: anthropicAPI, tokens: true, login: login,
			all:   "You've hit your usage limit · resets",
			env:   []string{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"},
			setUp: func(s *scene) { s.Write(claudeLogin, claudeLoginText) },
			after: func(s *scene) {
				if got, err := os.ReadFile(filepath.Join(s.Root, claudeLogin)); err != nil || string(got) != claudeLoginText {
					s.T.Errorf("the login that Claude Code has: %s, %v", got, err)
				}
			}},
		{name: "codex", provider: "openai", command: program("codex", "exec", "--skip-git-repo-check", "hi"), api: responsesAPI,
			all: "hit your usage limit. Try again at", login: login},
		{name: "gemini", provider: "google", command: program("gemini", "--skip-trust", "-m", "gemini-2.5-flash", "-p", "hi"), api: geminiAPI, all: googleAll, login: login,
			setUp: func(s *scene) {
				s.Write("home/.gemini/settings.json", `{"security":{"auth":{"selectedType":"gemini-api-key"}}}`)
				s.Write("home/.gemini/.env", "GOOGLE_API_KEY=key-dotenv\nGOOGLE_GENAI_USE_VERTEXAI=true\nGOOGLE_GEMINI_BASE_URL=http://127.0.0.1:9\n")
			}},
		{name: "opencode", provider: "anthropic", command: openCode, api: anthropicAPI, all: anthropicAll, login: login, twice: true,
			env: openCodeEnv, setUp: openCodeProject},
		{name: "opencode with the plugin", provider: "anthropic", command: openCode, api: anthropicAPI, all: anthropicAll, login: login, twice: true,
			env: openCodeEnv,
			setUp: func(s *scene) {
				s.Write("home/.config/opencode/package-lock.json", `{"packages":{"":{"dependencies":{"@opencode-ai/plugin":"*"}}}}`)
				s.Write("home/.config/opencode/node_modules/x/y", "")
				openCodeProject(s)
				authferrytest.SetUpOpenCode(s.T, filepath.Join(s.Root, "home"), s.Program)
			}},
		{name: "sdk anthropic", provider: "anthropic", command: sdk(t, "anthropic"), api: anthropicAPI, all: anthropicAll, login: login},
		{name: "sdk anthropic stream", provider: "anthropic", command: sdk(t, "anthropic", "stream"), api: anthropicAPI, all: anthropicAll, login: login, again: "ada", late: gone},
		{name: "sdk openai", provider: "openai", command: sdk(t, "openai"), api: responsesAPI, all: openAIAll, login: login},
		{name: "sdk openai stream", provider: "openai", command: sdk(t, "openai", "stream"), api: responsesAPI, all: openAIAll, login: login, again: "ada", late: gone},
		{name: "sdk openai chat", provider: "openai", command: sdk(t, "chat"), api: chatAPI, all: openAIAll, login: login},
		{name: "sdk openai chat stream", provider: "openai", command: sdk(t, "chat", "stream"), api: chatAPI, all: openAIAll, login: login, again: "ada", late: gone},
		{name: "sdk google", provider: "google", command: sdk(t, "google"), api: geminiAPI, all: googleAll, login: login},
		{name: "sdk google stream", provider: "google", command: sdk(t, "google", "stream"), api: geminiAPI, all: googleAll, login: login, again: "ada", late: gone},
	}
}

// claudeLogin is where Claude Code keeps a login of its own, which nothing here may cost.
const (
	claudeLogin     = "home/.claude/.credentials.json"
	claudeLoginText = `{"claudeAiOauth":{"accessToken":"key-own","refreshToken":"own-refresh","expiresAt":4102444800000,"scopes":["user:inference"],"subscriptionType":"max"}}`
)

// AI clients and SDKs under authferry run: no limit reaches them while an account is
// free, and when none is they say so after as many requests as there are accounts.
func TestAIClientsUnderRun(t *testing.T) {
	tryClients(t, runClients(t), func(s *scene, client runClient, bin string) *exec.Cmd {
		return s.Command(append([]string{"run", client.provider, "--"}, client.command(bin)...)...)
	})
}

// tryClients has each of them answer one prompt while the API misbehaves; command starts
// it.
func tryClients(t *testing.T, clients []runClient, command func(s *scene, client runClient, bin string) *exec.Cmd) {
	t.Helper()
	bin := aiPrograms(t)
	hour := status(429, "retry-after", "3600")
	for _, client := range clients {
		if argv := client.command(bin); argv[0] != "node" {
			if _, err := os.Stat(argv[0]); err != nil {
				t.Logf("%s isn't among the clients", argv[0])
				continue
			}
		}
		good := client.api.good
		late, lateSays := "ada bob", "ferried"
		if client.again != "" {
			late, lateSays = client.again, client.late
		}
		for _, row := range []struct {
			name  string
			ada   http.HandlerFunc // nil: the same as bob's
			bob   http.HandlerFunc // nil: good
			asked string           // whose keys came; a "…" ends it where the client itself asks again
			says  string
			first func(s *scene) // before the program
			then  func(s *scene) // when the first request has come
		}{
			{name: "429", ada: hour, asked: "ada bob", says: "ferried"},
			{name: "limit before content", ada: client.api.limitEarly, asked: "ada bob", says: "ferried"},
			{name: "limit after content", ada: client.api.limitLate, asked: late, says: lateSays},
			{name: "402", ada: status(402), asked: "ada bob", says: "ferried"},
			{name: "401", ada: status(401), asked: "ada bob", says: "ferried"},
			{name: "529", ada: status(529), asked: "ada…"},
			{name: "connection cut", ada: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, asked: "ada…"},
			{name: "disabled in another terminal", ada: hour, asked: "ada", says: client.all, then: func(s *scene) { s.Must("", "disable", "bob") }},
			{name: "all limited", ada: hour, bob: hour, asked: "ada bob", says: client.all},
			{name: "every token refused", ada: status(401), bob: status(401), asked: "ada bob", says: client.login},
			{name: "all held before", asked: "", says: client.all, first: func(s *scene) {
				for _, who := range []string{"ada", "bob"} {
					var doc struct{ Lease string }
					_ = json.Unmarshal([]byte(s.Must("", "token", "--account", who, "--json").Out), &doc)
					s.Must(fmt.Sprintf(`{"lease":%q,"status":429,"headers":{"retry-after":"3600"}}`, doc.Lease), "report")
				}
			}},
			{name: "login needed", asked: "", says: client.login, first: func(s *scene) {
				for _, who := range []string{"ada", "bob"} {
					s.Must("", "remove", who, "--yes")
					s.Must(s.Grant(who, -time.Second), "import", "grant", client.provider, "--label", who, "--client-id", "authferry-sim")
					s.Server.Revoke(who)
				}
			}},
		} {
			t.Run(client.name+"/"+row.name, func(t *testing.T) {
				s := newScene(t, brokertest.Config{})
				s.Env = slices.DeleteFunc(s.Env, foreignToClients)
				s.Env = append(s.Env, client.env...)
				if client.setUp != nil {
					client.setUp(s)
				}
				done := make(chan struct{})
				first := sync.OnceFunc(func() {
					if row.then != nil {
						row.then(s)
					}
					close(done)
				})
				api := newKeyedAPI(t, func(who string, w http.ResponseWriter, r *http.Request) {
					first()
					answer := row.bob
					if who == "ada" {
						answer = row.ada
					}
					if answer == nil {
						answer = good
					}
					answer(w, r)
				})
				add := []string{"provider", "add", client.provider, "--from", client.provider, "--api-origin", api.URL}
				if row.name == "login needed" {
					add = append(add, "--token-endpoint", s.Server.URL+"/token")
				}
				s.Must("", add...)
				for _, who := range []string{"ada", "bob"} {
					how := "--api-key-stdin"
					if client.tokens {
						how = "--token-stdin"
					}
					s.Must("key-"+who, "login", client.provider, "--label", who, how)
				}
				if client.after != nil {
					defer client.after(s)
				}
				if row.first != nil {
					row.first(s)
				}
				cmd := command(s, client, bin)
				cmd.Dir = s.Root
				if strings.HasSuffix(row.asked, "…") { // it would go on for minutes
					out := runUntil(t, cmd, done)
					if held := s.Held(); held != "" || !strings.HasPrefix(api.all(), "ada") || strings.Contains(api.all(), "bob") {
						t.Errorf("asked %q, held %q\n%s", api.all(), held, out)
					}
					t.Logf("asked %q in its first second: %s", api.all(), out)
					return
				}
				cmd.WaitDelay = 5 * time.Second
				out, err := cmd.CombinedOutput()
				asked := api.all()
				if client.twice { // behind the first answer
					for strings.HasSuffix(asked, " bob bob") {
						asked = strings.TrimSuffix(asked, " bob")
					}
				}
				if asked != row.asked || !strings.Contains(string(out), row.says) {
					t.Errorf("asked %q, want %q; want it to say %q: %v\n%s", api.all(), row.asked, row.says, err, out)
				}
				t.Logf("asked %q: %v: %s", api.all(), err, lineWith(string(out), row.says))
			})
		}
	}
}

func foreignToClients(v string) bool {
	return slices.ContainsFunc([]string{"ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_", "GEMINI_", "GOOGLE_", "OPENCODE_"}, func(p string) bool { return strings.HasPrefix(v, p) })
}

func lineWith(text, part string) string {
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// Codex's own provider tries WebSockets first: they are refused so that it goes on with
// plain requests at once.
func TestAIClientsCodexWebSocket(t *testing.T) {
	bin := aiPrograms(t)
	s := newScene(t, brokertest.Config{})
	s.Env = slices.DeleteFunc(s.Env, foreignToClients)
	api := newKeyedAPI(t, func(who string, w http.ResponseWriter, r *http.Request) {
		if who == "ada" && strings.HasSuffix(r.URL.Path, "/responses") {
			status(429, "retry-after", "3600")(w, r)
			return
		}
		if !strings.HasSuffix(r.URL.Path, "/responses") {
			_, _ = io.WriteString(w, `{"models":[]}`)
			return
		}
		responsesAPI.good(w, r)
	})
	s.Must("", "provider", "add", "openai", "--from", "openai", "--api-origin", api.URL)
	for _, who := range []string{"ada", "bob"} {
		s.Must("key-"+who, "login", "openai", "--label", who, "--api-key-stdin")
	}
	script := `CODEX_API_KEY="$AUTHFERRY_PROXY_KEY" exec "$0" -c openai_base_url="\"$AUTHFERRY_PROXY_URL/v1\"" exec --skip-git-repo-check hi`
	cmd := s.Command("run", "-v", "openai", "--", "sh", "-c", script, filepath.Join(bin, "codex"))
	cmd.Dir = s.Root
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "ferried") || !strings.HasSuffix(api.all(), "ada bob") && !strings.Contains(api.all(), "ada bob") {
		t.Errorf("asked %q: %v\n%s", api.all(), err, out)
	}
	if !strings.Contains(string(out), "status=426") {
		t.Errorf("no WebSocket was refused:\n%s", out)
	}
	t.Logf("asked %q in %v", api.all(), time.Since(began).Round(100*time.Millisecond))
}

// runUntil ends cmd, and all that it started, a moment after done.
func runUntil(t *testing.T, cmd *exec.Cmd, done <-chan struct{}) string {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, 5*time.Second
	ownGroup(cmd)
	testenv.Must(t, cmd.Start())
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it never asked")
	}
	time.Sleep(time.Second) // in which nothing else may be asked
	endGroup(cmd)
	_ = cmd.Wait()
	return out.String()
}
