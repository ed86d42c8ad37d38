package helper_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// keyedAPI answers by the key that comes, and keeps a list of whose came.
type keyedAPI struct {
	*httptest.Server
	mu     sync.Mutex
	asked  []string
	answer func(who string, w http.ResponseWriter, r *http.Request)
}

func newKeyedAPI(t *testing.T, answer func(who string, w http.ResponseWriter, r *http.Request)) *keyedAPI {
	a := &keyedAPI{answer: answer}
	a.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := strings.TrimPrefix(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")+r.Header.Get("X-Api-Key"), "key-")
		_, _ = io.Copy(io.Discard, r.Body)
		a.mu.Lock()
		a.asked = append(a.asked, who)
		a.mu.Unlock()
		a.answer(who, w, r)
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *keyedAPI) all() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return strings.Join(a.asked, " ")
}

// Claude Code and Codex under authferry run: no limit reaches them while an account is
// free, and when none is they say so after as many requests as there are accounts.
func TestAIClientsUnderRun(t *testing.T) {
	bin := aiPrograms(t)
	foreign := func(v string) bool {
		return slices.ContainsFunc([]string{"ANTHROPIC_", "CLAUDE", "OPENAI_", "CODEX_"}, func(p string) bool { return strings.HasPrefix(v, p) })
	}
	status := func(code int, header ...string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			_, _ = io.WriteString(w, `{"type":"error","error":{"type":"rate_limit_error","message":"their words"}}`)
		}
	}
	const (
		anthropicStart = `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"sim","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}`
		anthropicLimit = `{"type":"error","error":{"type":"rate_limit_error","message":"their words"}}`
		openAILimit    = `{"type":"response.failed","response":{"id":"resp_1","error":{"code":"usage_limit_reached","message":"their words"}}}`
	)
	hour := status(429, "retry-after", "3600")
	for _, client := range []struct {
		name, provider string
		args           []string
		good           http.HandlerFunc
		early, late    http.HandlerFunc
		all            string // what it says when nobody is free
	}{
		{
			"claude", "anthropic", []string{"-p", "hi"},
			messages,
			func(w http.ResponseWriter, _ *http.Request) {
				events(w, [2]string{"message_start", anthropicStart}, [2]string{"error", anthropicLimit})
			},
			func(w http.ResponseWriter, _ *http.Request) {
				events(w, [2]string{"message_start", anthropicStart},
					[2]string{"content_block_start", `{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}`}, [2]string{"error", anthropicLimit})
			},
			"No account of pool anthropic is free before",
		},
		{
			"codex", "openai", []string{"exec", "--skip-git-repo-check", "hi"},
			responses,
			func(w http.ResponseWriter, _ *http.Request) {
				events(w, [2]string{"response.created", `{"type":"response.created","response":{"id":"resp_1"}}`}, [2]string{"response.failed", openAILimit})
			},
			func(w http.ResponseWriter, _ *http.Request) {
				events(w, [2]string{"response.created", `{"type":"response.created","response":{"id":"resp_1"}}`},
					[2]string{"response.output_item.added", `{"type":"response.output_item.added","output_index":0,"item":{"type":"message","role":"assistant","id":"msg_1","content":[]}}`},
					[2]string{"response.failed", openAILimit})
			},
			"hit your usage limit. Try again at",
		},
	} {
		for _, row := range []struct {
			name  string
			ada   http.HandlerFunc // nil: the same as bob's
			bob   http.HandlerFunc // nil: good
			asked string           // whose keys came; a "…" ends it where the client itself asks again
			says  string
		}{
			{"429", hour, nil, "ada bob", "ferried"},
			{"limit before content", client.early, nil, "ada bob", "ferried"},
			{"limit after content", client.late, nil, "ada bob", "ferried"},
			{"402", status(402), nil, "ada bob", "ferried"},
			{"401", status(401), nil, "ada bob", "ferried"},
			{"connection cut", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, nil, "ada…", ""},
			{"all limited", hour, hour, "ada bob", client.all},
		} {
			t.Run(client.name+" "+row.name, func(t *testing.T) {
				s := newScene(t, brokertest.Config{})
				s.Env = slices.DeleteFunc(s.Env, foreign)
				s.Env = append(s.Env, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1")
				done := make(chan struct{})
				cut := sync.OnceFunc(func() { close(done) })
				api := newKeyedAPI(t, func(who string, w http.ResponseWriter, r *http.Request) {
					answer := row.bob
					if who == "ada" {
						answer = row.ada
						defer cut()
					}
					if answer == nil {
						answer = client.good
						if client.name == "claude" && row.name == "limit after content" {
							w.Header().Set("Content-Type", "application/json") // its twin isn't streamed
							_, _ = fmt.Fprint(w, `{"id":"msg_2","type":"message","role":"assistant","model":"sim","content":[{"type":"text","text":"ferried"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":2}}`)
							return
						}
					}
					answer(w, r)
				})
				s.Must("", "provider", "add", client.provider, "--from", client.provider, "--api-origin", api.URL)
				for _, who := range []string{"ada", "bob"} {
					s.Must("key-"+who, "login", client.provider, "--label", who, "--api-key-stdin")
				}
				cmd := s.Command(append([]string{"run", "--", filepath.Join(bin, client.name)}, client.args...)...)
				cmd.Dir = s.Root
				if strings.HasSuffix(row.asked, "…") { // it would go on for minutes
					out := runUntil(t, cmd, done)
					if held := s.Held(); held != "" || !strings.HasPrefix(api.all(), "ada") || strings.Contains(api.all(), "bob") {
						t.Errorf("asked %q, held %q\n%s", api.all(), held, out)
					}
					return
				}
				out, err := cmd.CombinedOutput()
				if api.all() != row.asked || !strings.Contains(string(out), row.says) {
					t.Errorf("asked %q, want %q: %v\n%s", api.all(), row.asked, err, out)
				}
				t.Logf("%v, %d bytes said", err, len(out))
			})
		}
	}
}

// runUntil ends cmd as a person would, a moment after done.
func runUntil(t *testing.T, cmd *exec.Cmd, done <-chan struct{}) string {
	t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Error("it never asked")
	}
	time.Sleep(time.Second)                         // in which nothing else may be asked
	if cmd.Process.Signal(syscall.SIGTERM) != nil { // there are none on Windows
		_ = cmd.Process.Kill()
	}
	_ = cmd.Wait()
	return out.String()
}
