package helper_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
)

// The versions that were tried, the SDKs' last. They are some 900 MB together, so nobody
// installs them unasked.
var aiClients = []string{
	"@anthropic-ai/claude-code@2.1.332", "@openai/codex@0.171.0", "@google/gemini-cli@0.61.0",
	"@anthropic-ai/sdk@1.14.0", "openai@7.59.0", "@google/genai@3.3.0",
}

// aiPrograms installs the clients, unless AUTHFERRY_AI_CLIENTS names a folder in which
// they are, and returns the folder of their commands.
func aiPrograms(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("AUTHFERRY_AI_CLIENTS")
	if dir == "" {
		t.Skip("needs AUTHFERRY_AI_CLIENTS=1: scripts/ai-clients installs Claude Code, Codex and others for a while")
	}
	if dir == "1" {
		dir = t.TempDir()
		s := &scene{&authferrytest.Scene{T: t, Env: os.Environ()}}
		npm := client(t, "npm", "apt-get install npm")
		s.worksFor(installTime, dir, nil, npm, append([]string{"install", "--no-audit", "--no-fund", "--prefix", dir}, aiClients...)...)
	}
	return filepath.Join(dir, "node_modules", ".bin")
}

// events is an answer of server-sent events, by their names.
func events(w http.ResponseWriter, list ...[2]string) {
	w.Header().Set("Content-Type", "text/event-stream")
	for _, e := range list {
		_, _ = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", e[0], e[1])
	}
}

func messages(w http.ResponseWriter, _ *http.Request) {
	events(w,
		[2]string{"message_start", `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"sim","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`},
		[2]string{"content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`},
		[2]string{"content_block_delta", `{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ferried"}}`},
		[2]string{"content_block_stop", `{"type":"content_block_stop","index":0}`},
		[2]string{"message_delta", `{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":2}}`},
		[2]string{"message_stop", `{"type":"message_stop"}`})
}

func responses(w http.ResponseWriter, _ *http.Request) {
	const item = `{"type":"message","role":"assistant","id":"msg_1","content":[{"type":"output_text","text":"ferried"}]}`
	events(w,
		[2]string{"response.created", `{"type":"response.created","response":{"id":"resp_1"}}`},
		[2]string{"response.output_item.done", `{"type":"response.output_item.done","output_index":0,"item":` + item + `}`},
		[2]string{"response.completed", `{"type":"response.completed","response":{"id":"resp_1","output":[],"usage":{"input_tokens":1,"input_tokens_details":null,"output_tokens":1,"output_tokens_details":null,"total_tokens":2}}}`})
}

// Both ask their command again after a 401, and get what is good by then; neither
// asks after a 429.
func TestAIClients(t *testing.T) {
	bin := aiPrograms(t)
	foreign := func(v string) bool {
		return slices.ContainsFunc([]string{"ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_"}, func(p string) bool { return strings.HasPrefix(v, p) })
	}
	for _, program := range []struct {
		name, path string
		answer     http.HandlerFunc
		run        func(c *site, helper string) outcome
	}{
		{"claude", "/v1/messages", messages, func(c *site, helper string) outcome {
			c.s.Write("home/.claude/settings.json", fmt.Sprintf(`{"apiKeyHelper":%q}`, "'"+helper+"' helper api-key --pool sim"))
			return c.s.with(c.s.Root, []string{"ANTHROPIC_BASE_URL=" + c.URL, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1"},
				filepath.Join(bin, "claude"), "-p", "hi")
		}},
		{"codex", "/v1/responses", responses, func(c *site, helper string) outcome {
			c.s.Write("home/.codex/config.toml", fmt.Sprintf(`
model = "sim"
model_provider = "site"
[model_providers.site]
name = "site"
base_url = "%s/v1"
wire_api = "responses"
[model_providers.site.auth]
command = %q
args = ["helper", "api-key", "--pool", "sim"]
timeout_ms = 20000
refresh_interval_ms = 0
`, c.URL, helper))
			return c.s.with(c.s.Root, []string{"CODEX_HOME=" + filepath.Join(c.s.Root, "home", ".codex")},
				filepath.Join(bin, "codex"), "exec", "--skip-git-repo-check", "hi")
		}},
	} {
		start := func(t *testing.T) *site {
			t.Helper()
			s := newScene(t, brokertest.Config{})
			s.Env = slices.DeleteFunc(s.Env, foreign)
			mux := http.NewServeMux()
			mux.HandleFunc(program.path, program.answer)
			c := newSite(s, false, mux)
			c.logIn("ada", "bob")
			return c
		}
		works := func(t *testing.T, c *site) {
			t.Helper()
			if got := program.run(c, c.s.named("authferry")); got.Code != 0 || !strings.Contains(got.Out, "ferried") {
				t.Fatalf("%d\n%s%s\n%q", got.Code, got.Out, got.Err, c.answers)
			}
			t.Logf("%q", c.answers)
		}
		t.Run(program.name+" accepted", func(t *testing.T) {
			c := start(t)
			works(t, c)
			if c.count("200 ada "+program.path) == 0 || c.count("401  "+program.path) > 0 {
				t.Errorf("%q", c.answers)
			}
			c.wantRefreshes(0)
		})
		// The token that it has ends while somebody else refreshes the login.
		t.Run(program.name+" 401", func(t *testing.T) {
			c := start(t)
			c.before(program.path, func() {
				c.expire()
				if got := c.s.Run("", "refresh", "ada"); got.Code != 0 {
					t.Errorf("%d %s", got.Code, got.Err)
				}
			})
			works(t, c)
			if c.count("401  "+program.path) != 1 || c.count("200 ada "+program.path) == 0 {
				t.Errorf("%q", c.answers)
			}
			c.wantRefreshes(1)
		})
		t.Run(program.name+" 429", func(t *testing.T) {
			c := start(t)
			c.before(program.path, func() { c.limit("ada", 1, "1") })
			got := program.run(c, c.s.named("authferry"))
			t.Logf("%d, %q", got.Code, c.answers)
			if c.count("429  "+program.path) != 1 || c.count("200 bob") > 0 || c.s.Held() != "" {
				t.Errorf("%d, %q, held: %s\n%s%s", got.Code, c.answers, c.s.Held(), got.Out, got.Err)
			}
		})
	}
}
