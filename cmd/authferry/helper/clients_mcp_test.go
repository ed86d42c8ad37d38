package helper_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// remote is a real client with a remote MCP server that `authferry setup` put into its
// configuration, and a model that calls the server's tool and repeats what it said.
type remote struct {
	*scene
	name  string
	model *httptest.Server
	bin   string
	// before runs once, before the tool is called for the first time.
	before func()
}

// newRemote is logged in to the server, and sets the client up for it: with a helper, or
// as one that the bridge is for.
func newRemote(t *testing.T, name string, cfg brokertest.Config) *remote {
	name, bridged := strings.CutSuffix(name, " over the bridge")
	t.Helper()
	r := &remote{name: name, bin: aiPrograms(t)}
	r.scene = newScene(t, cfg)
	r.Env = slices.DeleteFunc(r.Env, func(v string) bool {
		return slices.ContainsFunc([]string{"ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_"}, func(p string) bool { return strings.HasPrefix(v, p) })
	})
	r.Env = append(r.Env, "PATH="+filepath.Dir(r.Program)+string(filepath.ListSeparator)+r.bin+string(filepath.ListSeparator)+os.Getenv("PATH"))
	r.model = httptest.NewServer(http.HandlerFunc(r.answer))
	t.Cleanup(r.model.Close)
	r.LogIn(r.Server.URL+"/mcp", "--name", "docs")
	if bridged {
		r.Write("home/.claude.json", fmt.Sprintf(`{"mcpServers":{"docs":{"type":"stdio","command":%q,"args":["mcp","connect","docs"]}}}`, r.Program))
		return r
	}
	client := map[string]string{"claude": "claude-code", "codex": "codex"}[name]
	if got := r.Must("", "setup", client, "--mcp", "docs", "--yes"); strings.Contains(got.Err, `"connect"`) || !strings.Contains(got.Err, "helper mcp-headers") {
		t.Fatalf("this version gets no helper:\n%s", got.Err)
	}
	return r
}

// asks has the client ask the model, in a home of its own where there are several.
func (r *remote) asks(home string) outcome {
	r.T.Helper()
	args := []string{"-p", "hi", "--allowedTools", "mcp__docs__whoami"}
	env := []string{
		"ANTHROPIC_BASE_URL=" + r.model.URL, "ANTHROPIC_API_KEY=k", "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1",
		"ENABLE_TOOL_SEARCH=false", "MCP_CONNECTION_NONBLOCKING=false",
	}
	if r.name == "codex" {
		args = []string{"exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "hi"}
		env = []string{"KEY=k"}
	}
	if home != "" {
		env = append(env, "HOME="+home)
	}
	return r.with(r.Root, env, filepath.Join(r.bin, r.name), args...)
}

// configure tells Codex of the model, beside what setup wrote.
func (r *remote) configure() {
	if r.name != "codex" {
		return
	}
	path := filepath.Join(r.Root, "home", ".codex", "config.toml")
	text, err := os.ReadFile(path)
	if err != nil {
		r.T.Fatal(err)
	}
	r.Write("home/.codex/config.toml", fmt.Sprintf("model = \"sim\"\nmodel_provider = \"site\"\n[model_providers.site]\nname = \"site\"\nbase_url = %q\nwire_api = \"responses\"\nenv_key = \"KEY\"\n%s", r.model.URL+"/v1", text))
}

// answer is the model's: a call of the tool, or what came of it.
func (r *remote) answer(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil || req.Method != http.MethodPost {
		_, _ = io.WriteString(w, `{"models":[],"data":[]}`)
		return
	}
	text := "no tool"
	result, called := toolResult(body)
	tool, there := toolNamed(body, "whoami")
	if called {
		text = "it said: " + result
	}
	call := there && !called
	if call && r.before != nil {
		r.before()
	}
	codex := strings.HasSuffix(req.URL.Path, "/responses")
	switch {
	case codex && call:
		item := `{"type":"function_call","id":"fc_1","call_id":"call_1","arguments":"{}",` + tool + `}`
		events(w, [2]string{"response.created", `{"type":"response.created","response":{"id":"resp_1"}}`},
			[2]string{"response.output_item.done", `{"type":"response.output_item.done","output_index":0,"item":` + item + `}`},
			[2]string{"response.completed", `{"type":"response.completed","response":{"id":"resp_1","output":[],"usage":{"input_tokens":1,"input_tokens_details":null,"output_tokens":1,"output_tokens_details":null,"total_tokens":2}}}`})
	case codex:
		item, _ := json.Marshal(map[string]any{"type": "message", "role": "assistant", "id": "msg_1", "content": []any{map[string]string{"type": "output_text", "text": text}}})
		events(w, [2]string{"response.created", `{"type":"response.created","response":{"id":"resp_2"}}`},
			[2]string{"response.output_item.done", `{"type":"response.output_item.done","output_index":0,"item":` + string(item) + `}`},
			[2]string{"response.completed", `{"type":"response.completed","response":{"id":"resp_2","output":[],"usage":{"input_tokens":1,"input_tokens_details":null,"output_tokens":1,"output_tokens_details":null,"total_tokens":2}}}`})
	default:
		block, delta, stop := `{"type":"text","text":""}`, map[string]string{"type": "text_delta", "text": text}, "end_turn"
		if call {
			block, delta, stop = `{"type":"tool_use","id":"toolu_1","input":{},`+tool+`}`, map[string]string{"type": "input_json_delta", "partial_json": "{}"}, "tool_use"
		}
		change, _ := json.Marshal(map[string]any{"type": "content_block_delta", "index": 0, "delta": delta})
		events(w,
			[2]string{"message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"sim","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`},
			[2]string{"content_block_start", `{"type":"content_block_start","index":0,"content_block":` + block + `}`},
			[2]string{"content_block_delta", string(change)},
			[2]string{"content_block_stop", `{"type":"content_block_stop","index":0}`},
			[2]string{"message_delta", `{"type":"message_delta","delta":{"stop_reason":"` + stop + `","stop_sequence":null},"usage":{"output_tokens":2}}`},
			[2]string{"message_stop", `{"type":"message_stop"}`})
	}
}

// toolNamed is the request's tool whose name ends so, as members of a call of it: Codex
// puts those of a server into a namespace.
func toolNamed(body []byte, suffix string) (members string, there bool) {
	type tool struct {
		Name, Type string
		Tools      []tool
	}
	var request struct{ Tools []tool }
	_ = json.Unmarshal(body, &request) // then it has none
	for _, t := range request.Tools {
		if strings.HasSuffix(t.Name, suffix) {
			return fmt.Sprintf(`"name":%q`, t.Name), true
		}
		for _, inner := range t.Tools {
			if strings.HasSuffix(inner.Name, suffix) {
				return fmt.Sprintf(`"name":%q,"namespace":%q`, inner.Name, t.Name), true
			}
		}
	}
	return "", false
}

// toolResult is what the tool said, of a request that has it.
func toolResult(body []byte) (string, bool) {
	var request struct {
		Messages []struct{ Content json.RawMessage }
		Input    []struct {
			Type   string
			Output json.RawMessage
		}
	}
	_ = json.Unmarshal(body, &request) // then it has none
	for _, item := range request.Input {
		if item.Type == "function_call_output" {
			return string(item.Output), true
		}
	}
	for _, m := range request.Messages {
		var blocks []struct {
			Type    string
			Content json.RawMessage
		}
		_ = json.Unmarshal(m.Content, &blocks) // a text has no result
		for _, b := range blocks {
			if b.Type == "tool_result" {
				return string(b.Content), true
			}
		}
	}
	return "", false
}

// said reports whether the tool answered in the name of the one who logged in.
func said(got outcome) bool { return got.Code == 0 && strings.Contains(got.Out, "ada@example.com") }

// Claude Code and Codex call a tool of a remote MCP server with headers from authferry;
// so they do when the token is refused in the middle, and when eight sessions find it at
// its end: one refresh, and nobody logs in or registers.
func TestAIClientsRemoteMCP(t *testing.T) {
	for _, name := range []string{"claude", "codex", "claude over the bridge"} {
		t.Run(name+" calls", func(t *testing.T) {
			r := newRemote(t, name, brokertest.Config{})
			r.configure()
			got := r.asks("")
			l := r.Server.Ledger()
			if !said(got) || l.Refreshes("") > 0 || l.Registrations != 1 {
				t.Errorf("%d, %d refreshes, %d registrations\n%s%s", got.Code, l.Refreshes(""), l.Registrations, got.Out, got.Err)
			}
		})
		t.Run(name+" 401", func(t *testing.T) {
			r := newRemote(t, name, brokertest.Config{})
			r.configure()
			r.before = sync.OnceFunc(func() {
				r.Server.ExpireAccess("ada@example.com")
				if strings.Contains(name, "bridge") {
					return // which sees the refusal
				}
				if got := r.Run("", "refresh", "docs-1"); got.Code != 0 {
					t.Errorf("%d %s", got.Code, got.Err)
				}
			})
			got := r.asks("")
			l := r.Server.Ledger()
			if !said(got) || l.Refreshes("") != 1 || l.Unauthorized == 0 || l.Registrations != 1 || len(l.Reuse) > 0 {
				t.Errorf("%d, %d refreshes, %d registrations, %d refused\n%s%s", got.Code, l.Refreshes(""), l.Registrations, l.Unauthorized, got.Out, got.Err)
			}
		})
		t.Run(name+" eight at once", func(t *testing.T) {
			r := newRemote(t, name, brokertest.Config{AccessTTL: 2 * time.Second})
			r.configure()
			time.Sleep(3 * time.Second) // the token's end
			if err := r.Server.Configure(func(c *brokertest.Config) { c.AccessTTL = time.Hour }); err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					if got := r.asks(""); !said(got) {
						t.Errorf("%d\n%s%s", got.Code, got.Out, got.Err)
					}
				})
			}
			wg.Wait()
			if l := r.Server.Ledger(); l.Refreshes("") != 1 || l.Registrations != 1 || len(l.Reuse) > 0 {
				t.Errorf("%d refreshes, %d registrations, %d reuses", l.Refreshes(""), l.Registrations, len(l.Reuse))
			}
		})
	}
}
