package opencode_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/cmd/authferry/opencode"
	"github.com/authferry/authferry/testenv"
)

const anthropicLimit = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again later."}}`

// limited is how the API refuses a user: for an hour, unless it says otherwise.
func limited(user string, f brokertest.Fault) brokertest.Fault {
	f.On, f.User = brokertest.OnAPI, user
	if f.Status == 0 {
		f.Status, f.Body, f.Header = http.StatusTooManyRequests, anthropicLimit, map[string]string{"Retry-After": "3600", "Content-Type": "application/json"}
	}
	if f.Times == 0 {
		f.Times = -1
	}
	return f
}

// In one prompt the plugin does what authferry makes of the API's answer, and the
// person sees the answer alone.
func TestOpenCodeFailsOver(t *testing.T) {
	for _, test := range []struct {
		name      string
		fault     brokertest.Fault
		asked     []string // by the request that meets the fault
		refreshes int
		alone     bool // no title: a retry that waits may outlast the prompt there
	}{
		{
			name: "a limit", fault: brokertest.Fault{},
			asked: []string{personalUser + " 429", workUser + " 200"},
		},
		{
			name: "a limit inside a stream",
			fault: brokertest.Fault{Status: http.StatusOK, Header: map[string]string{"Content-Type": "text/event-stream"},
				Body: "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: error\ndata: " + anthropicLimit + "\n\n"},
			asked: []string{personalUser + " 200", workUser + " 200"},
		},
		{
			name: "a token refused",
			fault: brokertest.Fault{Status: http.StatusUnauthorized, Times: 1, Header: map[string]string{"Content-Type": "application/json"},
				Body: `{"type":"error","error":{"type":"authentication_error","message":"invalid bearer token"}}`},
			asked: []string{personalUser + " 401", personalUser + " 200"}, refreshes: 1,
		},
		{
			name: "an overload",
			fault: brokertest.Fault{Status: 529, Times: 1, Header: map[string]string{"Content-Type": "application/json"},
				Body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`},
			asked: []string{personalUser + " 529", personalUser + " 200"}, alone: true,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newOpenCode(t, time.Hour)
			o.configure(o.models.URL, !test.alone)
			o.Server.Inject(limited(personalUser, test.fault))
			got := o.prompt("hi")
			last := test.asked[len(test.asked)-1]
			if user, _, _ := strings.Cut(last, " "); got.Code != 0 || !strings.Contains(got.Out, hello(user)) {
				t.Errorf("exit code %d, want an answer to %s\n%s%s", got.Code, user, got.Out, got.Err)
			}
			// A prompt is two requests at once, for an answer and for a title. The
			// one that comes first meets the fault; the other may find it settled.
			met := false
			for _, kind := range []string{"title", "main"} {
				asked := o.models.answers(kind)
				if kind == "title" && test.alone {
					continue
				}
				met = met || slices.Equal(asked, test.asked)
				if !slices.Equal(asked, test.asked) && !slices.Equal(asked, test.asked[1:]) {
					t.Errorf("%s: asked %v, want %v or the end of that", kind, asked, test.asked)
				}
			}
			if !met {
				t.Errorf("no request met the fault: %v", o.models.requests())
			}
			if got := o.Server.Ledger().Refreshes(""); got != test.refreshes {
				t.Errorf("%d refreshes, want %d", got, test.refreshes)
			}
			for _, r := range o.models.requests() {
				if !strings.Contains(r.beta, "oauth-2025-04-20") || r.header.Get("X-Api-Key") != "" {
					t.Errorf("%v: anthropic-beta %q, x-api-key %q", r, r.beta, r.header.Get("X-Api-Key"))
				}
			}
		})
	}
}

// Whoever asks in the session is told by the tool, and the model sees no secret.
func TestOpenCodeStatusTool(t *testing.T) {
	o := newOpenCode(t, time.Hour)
	got := o.prompt("what is my auth status?")
	results := o.models.requests("result")
	if got.Code != 0 || len(results) == 0 {
		t.Fatalf("exit code %d, the tool's result came back %d times\n%s", got.Code, len(results), got.Err)
	}
	for _, want := range []string{personal, work, "failover: on", "valid"} {
		if !strings.Contains(results[0].result, want) {
			t.Errorf("no %q in %s", want, results[0].result)
		}
	}
	if strings.Contains(results[0].result, "afat_") {
		t.Error("the tool's answer holds a token")
	}
}

// The permissions in docs/opencode.md keep the agent's shell from authferry.
func TestOpenCodeDeniesTheAgentTheToken(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "opencode.md"))
	testenv.Must(t, err)
	_, block, _ := strings.Cut(string(page), "```json\n")
	block, _, _ = strings.Cut(block, "```")
	var rules map[string]any
	testenv.Must(t, json.Unmarshal([]byte(block), &rules))
	o := newOpenCode(t, time.Hour)
	ask := func(command string) string {
		before := len(o.models.requests("result"))
		got := o.prompt("run this: " + command)
		results := o.models.requests("result")[before:]
		if got.Code != 0 || len(results) == 0 {
			t.Fatalf("exit code %d, the shell's result came back %d times\n%s%s", got.Code, len(results), got.Out, got.Err)
		}
		return results[0].result
	}
	// Without them it may; a command that shows no secret proves it.
	if got := ask(o.Program + " list"); !strings.Contains(got, personal) {
		t.Errorf("without the rules: %s", got)
	}
	o.configure(o.models.URL, false, rules)
	if got := ask("cd . && " + o.Program + " token | cat"); strings.Contains(got, "afat_") || !strings.Contains(got, "rule") {
		t.Errorf("with the rules, the command was not refused (%d characters came back)", len(got))
	}
}

// What can't be mended by repeating is said once, in words that OpenCode doesn't
// take for a reason to repeat it.
func TestOpenCodeSaysWhatToDo(t *testing.T) {
	for _, test := range []struct {
		name    string
		prepare func(*openCode)
		asked   int // of the API, by each request
		want    string
	}{
		{"all held", func(o *openCode) {
			o.Server.Inject(limited("", brokertest.Fault{}))
		}, 2, `no anthropic account is free before \d\d:\d\d`},
		{"no login", func(o *openCode) {
			for _, label := range []string{personal, work} {
				o.Must("", "remove", label, "--yes", "--no-revoke")
			}
			dead := `{"access_token":"afat_over","refresh_token":"afrt_dead","expires_at":"2020-01-01T00:00:00Z"}`
			o.Must(dead, "import", "grant", "anthropic", "--label", "Old")
		}, 0, `anthropic needs a login; .*: authferry login anthropic`},
		{"authferry gone", func(o *openCode) {
			o.install(filepath.Join(o.Root, "gone", "authferry"))
		}, 0, `authferry: it can't be started`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := newOpenCode(t, time.Hour)
			test.prepare(o)
			got := o.prompt("hi")
			if got.Code == 0 || !regexp.MustCompile(test.want).MatchString(got.Out+got.Err) {
				t.Errorf("exit code %d, want %s\n%s%s", got.Code, test.want, got.Out, got.Err)
			}
			if n := len(o.models.requests("main")); n > test.asked {
				t.Errorf("the API was asked %d times, want at most %d: %v", n, test.asked, o.models.requests())
			}
			// Each of the two requests of a prompt says it once.
			if n := strings.Count(got.Err, "stream error"); n < 1 || n > 2 {
				t.Errorf("the request failed %d times\n%s", n, got.Err)
			}
		})
	}
}

// Three sessions at once find both tokens run out: one refresh serves all.
func TestOpenCodeSessionsShareOneRefresh(t *testing.T) {
	o := newOpenCode(t, -time.Minute)
	// OpenCode makes its database when it first runs, and not for three at once.
	if got := o.Finish(o.opencode("session", "list")); got.Code != 0 {
		t.Fatalf("exit code %d\n%s", got.Code, got.Err)
	}
	var all sync.WaitGroup
	for range 3 {
		cmd := o.opencode("run", "--print-logs", "hi")
		testenv.Must(t, cmd.Start())
		all.Go(func() {
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v\n%s", err, cmd.Stderr)
			}
		})
	}
	all.Wait()
	l := o.Server.Ledger()
	if l.Refreshes("") != 1 || l.MostSends() != 1 {
		t.Errorf("%d refreshes, one token was sent %d times; want 1 and 1", l.Refreshes(""), l.MostSends())
	}
	if answers := o.models.answers("main"); len(answers) != 3 || slices.ContainsFunc(answers, func(a string) bool { return a != personalUser+" 200" }) {
		t.Errorf("answers %v, want three of %s", answers, personalUser)
	}
}

// A project is somebody else's text: it can't have the tokens sent to its own host.
func TestOpenCodeSendsNothingElsewhere(t *testing.T) {
	o := newOpenCode(t, time.Hour)
	var mu sync.Mutex
	var seen []http.Header
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, r.Header.Clone())
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(http.StatusBadRequest)
	}))
	defer elsewhere.Close()
	o.configure(elsewhere.URL, true)
	got := o.prompt("hi")
	if got.Code == 0 || !strings.Contains(got.Out+got.Err, "may not go; nothing was sent") {
		t.Errorf("exit code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	mu.Lock()
	defer mu.Unlock()
	for _, header := range seen {
		for _, name := range []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key", "Api-Key"} {
			if v := header.Get(name); v != "" {
				t.Errorf("the other host was sent %s (%d characters)", name, len(v))
			}
		}
	}
	t.Logf("requests at the other host: %d", len(seen))
}

// What OpenCode stores and serves of the login is the word authferry.
func TestOpenCodeKnowsNoSecret(t *testing.T) {
	o := newOpenCode(t, time.Hour)
	if got := o.Finish(o.opencode("auth", "login", "-p", "anthropic", "-m", "authferry")); got.Code != 0 {
		t.Fatalf("auth login: exit code %d\n%s%s", got.Code, got.Out, got.Err)
	}
	data, err := os.ReadFile(filepath.Join(o.Root, "home", "data", "opencode", "auth.json"))
	var stored map[string]struct{ Type, Key string }
	if err != nil || json.Unmarshal(data, &stored) != nil || stored["anthropic"].Key != "authferry" {
		t.Errorf("auth.json is %s (%v)", data, err)
	}

	cmd := o.opencode("serve", "--port", "0", "--print-logs")
	cmd.Stdout = nil
	out, err := cmd.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	url := ""
	for lines := bufio.NewScanner(out); url == "" && lines.Scan(); {
		url = regexp.MustCompile(`http://127\.0\.0\.1:\d+`).FindString(lines.Text())
	}
	if url == "" {
		t.Fatalf("opencode serve named no address\n%s", cmd.Stderr)
	}
	for _, path := range []string{"/config", "/config/providers", "/provider"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+path, http.NoBody)
		testenv.Must(t, err)
		req.Header.Set("X-Opencode-Directory", o.project)
		res, err := http.DefaultClient.Do(req)
		testenv.Must(t, err)
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("anthropic")) {
			t.Errorf("%s: %d, %v", path, res.StatusCode, err)
		}
		if bytes.Contains(body, []byte("afat_")) || bytes.Contains(body, []byte("afrt_")) {
			t.Errorf("%s holds a token", path)
		}
		if path == "/config/providers" && !bytes.Contains(body, []byte(`"apiKey":"authferry"`)) {
			t.Errorf("%s doesn't show the placeholder: the plugin isn't at work", path)
		}
	}
}

// The plugin's own tests, in the runtime that loads it.
func TestOpenCodePluginInItsRuntime(t *testing.T) {
	program := openCodeProgram(t)
	s := newScene(t)
	grants, err := json.Marshal(map[string]string{personal: s.Grant(personalUser, time.Hour), work: s.Grant(workUser, time.Hour)})
	testenv.Must(t, err)
	plugin, err := opencode.Plugin(opencode.Settings{Binary: s.Program, Providers: map[string]opencode.Selection{
		"acme": {Provider: "acme"}, "openai": {Provider: "openai"},
	}})
	testenv.Must(t, err)
	tests, err := os.ReadFile("plugin.test.js")
	testenv.Must(t, err)
	dir := filepath.Join(s.Root, "plugin")
	testenv.Must(t, os.Mkdir(dir, 0o700))
	for name, content := range map[string][]byte{"authferry.js": plugin, "plugin.test.js": tests} {
		testenv.Must(t, os.WriteFile(filepath.Join(dir, name), content, 0o600))
	}
	cmd := exec.CommandContext(t.Context(), program, "test", "--timeout", "120000", "plugin.test.js")
	cmd.Dir = dir
	cmd.Env = []string{"BUN_BE_BUN=1", "PATH=" + os.Getenv("PATH"), "HOME=" + filepath.Join(s.Root, "home"), "TMPDIR=" + filepath.Join(s.Root, "tmp"),
		"AUTHFERRY_DIR=" + s.Dir, "PLUGIN=" + filepath.Join(dir, "authferry.js"), "AUTHFERRY=" + s.Program, "SIM=" + s.Server.URL, "GRANTS=" + string(grants), "SCRATCH=" + dir, "NO_COLOR=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
