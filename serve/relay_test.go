package serve

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

const (
	messagesPath  = "/v1/messages"
	responsesPath = "/v1/responses"
	chatPath      = "/v1/chat/completions"
	geminiPath    = "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"
	aModel        = `{"model":"m-1","messages":[]}`
)

// What each answer of the first account leads to: at most one request at each account,
// and what the client gets.
func TestFailover(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	hour := map[string]string{"Retry-After": "3600"}
	for _, test := range []struct {
		name, path string
		first      http.HandlerFunc
		asked      string // accounts, in order
		status     int
		body       string // of the answer, in part
		holds      string // of ada
	}{
		{"limit", messagesPath, limits(429, hour, "", "ada"), "ada bob", 200, "ok bob", "* retry-after"},
		{"limit without a time", messagesPath, limits(429, nil, "", "ada"), "ada bob", 200, "ok bob", "* status 429"},
		{"payment", messagesPath, limits(402, nil, "", "ada"), "ada bob", 200, "ok bob", "* status 402"},
		{"quota in words", responsesPath, limits(429, nil, `{"error":{"type":"usage_limit_reached","resets_in_seconds":900}}`, "ada"), "ada bob", 200, "ok bob", "* error.resets_in_seconds"},
		{"bad request", messagesPath, limits(400, nil, "no such field", "ada"), "ada", 400, "no such field", ""},
		{"forbidden", messagesPath, limits(403, nil, "not yours", "ada"), "ada", 403, "not yours", ""},
		{"not found", messagesPath, limits(404, nil, "no model", "ada"), "ada", 404, "no model", ""},
		{"too large", messagesPath, limits(413, nil, "too large", "ada"), "ada", 413, "too large", ""},
		{"server error", messagesPath, limits(500, nil, "oops", "ada"), "ada", 500, "oops", ""},
		{"unavailable", messagesPath, limits(503, hour, "later", "ada"), "ada", 503, "later", ""},
		{"overloaded", messagesPath, limits(529, nil, `{"type":"error","error":{"type":"overloaded_error"}}`, "ada"), "ada", 529, "overloaded", ""},
		{"broken connection", messagesPath, either("ada", streams("CUT"), limits(0, nil, "")), "ada", 502, "trouble 13", ""},
		{"one model", geminiPath, limits(429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"metadata":{"model":"gemini-x","quotaResetDelay":"900s"}}]}}`, "ada"), "ada bob", 200, "ok bob", "model:gemini-x error.details.metadata.quotaResetDelay"},
		{"refused token that nothing can refresh", messagesPath, limits(401, nil, "", "ada"), "ada bob", 200, "ok bob", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.free("ada", "bob")
			w.api.will(test.first)
			res := w.post(test.path, aModel)
			if got := w.api.asked(); got != test.asked {
				t.Errorf("asked %q, want %q", got, test.asked)
			}
			if res.status != test.status || !strings.Contains(res.body, test.body) {
				t.Errorf("%d %q, want %d %q", res.status, res.body, test.status, test.body)
			}
			if got := w.holds("ada"); got != test.holds {
				t.Errorf("ada is held: %q, want %q", got, test.holds)
			}
			for _, s := range w.api.all() {
				if string(s.body) != aModel {
					t.Errorf("the API got %q", s.body)
				}
			}
			w.proxy.Close()
		})
	}
}

// Tokens that the API refuses are no limit: that is said, and no time of a limit.
func TestAllAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.add(account.NewAccount{Label: "ada", Provider: w.provider(), APIKey: keystore.NewSecret("token-ada")})
	w.open().api.will(limits(401, nil, "", "ada"))
	for range 2 {
		for path, status := range map[string]int{messagesPath: 429, responsesPath: 400, chatPath: 403} {
			res := w.post(path, aModel)
			if res.status != status || !strings.Contains(res.body, "trouble 10") || res.header.Get("Anthropic-Ratelimit-Unified-Status") != "" {
				t.Errorf("%s: %d %v %s", path, res.status, res.header, res.body)
			}
		}
	}
	if got := w.api.asked(); got != "ada" {
		t.Errorf("asked %q", got)
	}
}

// A short throttle is waited for once; then another account is better, if there is one.
func TestThrottle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	ms := map[string]string{"Retry-After-Ms": "20"}

	n := 0
	w.api.will(func(rw http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			limits(429, ms, "", "ada")(rw, r)
			return
		}
		_, _ = io.WriteString(rw, "ok "+r.Header.Get("X-Who"))
	})
	if res := w.post(messagesPath, aModel); res.body != "ok ada" || w.api.asked() != "ada ada" || w.holds("ada") != "" {
		t.Errorf("one throttle: %q after %q, held %q", res.body, w.api.asked(), w.holds("ada"))
	}

	w.api.will(limits(429, ms, "", "ada"))
	if res := w.post(messagesPath, aModel); res.body != "ok bob" || w.api.asked() != "ada ada bob" {
		t.Errorf("throttled for long: %q after %q", res.body, w.api.asked())
	}

	w.free("ada", "bob")
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), w.b.Folder, "bob")))
	w.api.will(limits(429, ms, "slow down", "ada"))
	if res := w.post(messagesPath, aModel); res.status != 429 || res.body != "slow down" || res.header.Get("Retry-After-Ms") != "20" || w.api.asked() != "ada ada" || w.holds("ada") != "" {
		t.Errorf("nobody else: %d %q after %q, held %q", res.status, res.body, w.api.asked(), w.holds("ada"))
	}
}

// A person's wish counts at once, whatever was cached.
func TestOthersDecide(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	w.api.will(limits(0, nil, ""))
	ask := func(want string) {
		t.Helper()
		if got := w.post(messagesPath, aModel, "X-Claude-Code-Session-Id", "s-1").body; got != "ok "+want {
			t.Errorf("%q, want %s", got, want)
		}
	}
	ask("ada")
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), w.b.Folder, "ada")))
	ask("bob")
	testenv.Must(t, testenv.Err(account.Enable(t.Context(), w.b.Folder, "ada")))
	ask("bob")
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.b.Folder, "ada")))
	ask("ada")
}

// A session stays where a limit of one model sent it; others go on as before.
func TestSessionStays(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.b.Folder, "ada")))
	limit := limits(429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"metadata":{"model":"gemini-x","quotaResetDelay":"900s"}}]}}`, "ada")
	w.api.will(limit)
	if res := w.post(geminiPath, "{}", "Session-Id", "mine"); res.body != "ok bob" {
		t.Fatal(res)
	}
	testenv.Must(t, testenv.Err(account.ClearHolds(t.Context(), w.b.Folder, "ada", "")))
	w.api.will(limits(0, nil, ""))
	if res := w.post(geminiPath, "{}", "Session-Id", "mine"); res.body != "ok bob" {
		t.Errorf("%q: its cache is at bob's", res.body)
	}
	if res := w.post(geminiPath, "{}", "Session-Id", "another"); res.body != "ok ada" {
		t.Errorf("%q: ada is current", res.body)
	}
	// Stickiness never beats a hold.
	w.api.will(limits(429, map[string]string{"Retry-After": "600"}, "", "bob"))
	if res := w.post(geminiPath, "{}", "Session-Id", "mine"); res.body != "ok ada" {
		t.Errorf("%q: bob is held", res.body)
	}
}

// A client that leaves ends the request at the API, and nobody is held.
func TestClientLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for _, begun := range []bool{false, true} {
		arrived, gone := make(chan bool), make(chan bool)
		w.api.will(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Content-Type", "text/event-stream")
			if begun {
				_, _ = io.WriteString(rw, "data: {\"type\":\"content_block_start\"}\n\n")
				rw.(http.Flusher).Flush()
			}
			close(arrived)
			<-r.Context().Done()
			close(gone)
		})
		r := w.request(http.MethodPost, messagesPath, aModel)
		done := make(chan got)
		ctx, leave := contextOf(r)
		go func() { done <- w.do(r.WithContext(ctx)) }()
		<-arrived
		leave()
		<-gone
		<-done
		if got := w.api.asked(); got != "ada" || w.holds("ada")+w.holds("bob") != "" {
			t.Errorf("begun %t: asked %q; holds %q and %q", begun, got, w.holds("ada"), w.holds("bob"))
		}
	}
}

// What only its own account has is not asked of another.
func TestBoundRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for _, test := range []struct{ body, asked string }{
		{`{"model":"m","previous_response_id":"resp_1"}`, "ada"},
		{`{"model":"m","input":[{"a":"]}\""}],"conversation":{"id":"c"}}`, "ada"},
		{`{"model":"m","previous_response_id":null,"conversation":null}`, "ada bob"},
		{`{"model":"m","input":"\"previous_response_id\":\"x\""}`, "ada bob"},
	} {
		w.free("ada", "bob")
		w.api.will(limits(429, map[string]string{"Retry-After": "3600"}, "limit", "ada"))
		res := w.post(responsesPath, test.body)
		if got := w.api.asked(); got != test.asked {
			t.Errorf("%s: asked %q, want %q", test.body, got, test.asked)
		}
		if test.asked == "ada" && (res.status != 429 || res.body != "limit") {
			t.Errorf("%s: %d %q, want the API's refusal", test.body, res.status, res.body)
		}
		if w.holds("ada") == "" {
			t.Errorf("%s: ada is free", test.body)
		}
	}
}

// A body over MaxBody passes once, whole.
func TestBigBody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	for _, test := range []struct {
		size  int
		asked string
	}{{MaxBody, "ada bob"}, {MaxBody + 1, "ada"}} {
		w.free("ada", "bob")
		w.api.will(limits(429, map[string]string{"Retry-After": "3600"}, "limit", "ada"))
		res := w.post(messagesPath, strings.Repeat("x", test.size))
		if got := w.api.asked(); got != test.asked {
			t.Errorf("%d bytes: asked %q, want %q", test.size, got, test.asked)
		}
		for _, s := range w.api.all() {
			if len(s.body) != test.size || s.length != int64(test.size) {
				t.Errorf("%d bytes: the API got %d", test.size, len(s.body))
			}
		}
		if test.asked == "ada" && res.status != 429 {
			t.Errorf("%d, want the API's refusal", res.status)
		}
		if w.holds("ada") == "" {
			t.Error("ada is free")
		}
	}
}

// No redirect is followed, and none leads a client away.
func TestRedirects(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada").open()
	for _, test := range []struct {
		to     string
		status int
		want   string
	}{
		{"/v1/other?a=b", 307, "/sim/v1/other?a=b"},
		{"API/v1/x?key=" + localKey + "&b=c", 302, "/sim/v1/x?b=c"},
		{"more", 301, "/sim/v1/more"},
		{"https://elsewhere.example/v1/x", 502, ""},
		{"//elsewhere.example/v1/x", 502, ""},
		{"http://[bad", 502, ""},
	} {
		w.api.will(func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", strings.Replace(test.to, "API", w.api.URL, 1))
			status := test.status
			if status == 502 {
				status = 308
			}
			rw.WriteHeader(status)
		})
		res := w.post(messagesPath, "{}")
		if res.status != test.status || res.header.Get("Location") != test.want || len(w.api.all()) != 1 {
			t.Errorf("%s: %d to %q after %d requests", test.to, res.status, res.header.Get("Location"), len(w.api.all()))
		}
	}
}

// The other way, a 403 can make a client drop its login.
func TestStrangeClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada")
	w.opt.Strange = true
	w.open().api.will(limits(403, nil, "not yours", "ada"))
	if res := w.post(messagesPath, "{}"); res.status != 400 || res.body != "not yours" {
		t.Errorf("%d %q", res.status, res.body)
	}
}

// Where an account is free soon, that is waited for before anything is sent.
func TestPatience(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada").open()
	soon := limits(402, map[string]string{"Retry-After-Ms": "150"}, "", "ada")
	n := 0
	w.api.will(func(rw http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			soon(rw, r)
			return
		}
		_, _ = io.WriteString(rw, "ok ada")
	})
	if res := w.post(messagesPath, "{}"); res.body != "ok ada" {
		t.Errorf("%d %q", res.status, res.body)
	}
	w.proxy.opt.Patience = 0
	w.api.will(limits(402, map[string]string{"Retry-After": "600"}, "", "ada"))
	for range 2 {
		if res := w.post(messagesPath, "{}"); res.status != 429 || w.api.asked() != "ada" {
			t.Errorf("without patience: %d after %q", res.status, w.api.asked())
		}
	}
}

// An account that reaches the mark is left after the answer that says so, before its limit.
func TestMark(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	testenv.Must(t, folder.ConfigSet(t.Context(), w.b.Folder, "switch_at", "90"))
	w.api.will(func(rw http.ResponseWriter, r *http.Request) {
		used := "0.2"
		if r.Header.Get("X-Who") == "ada" {
			used = "0.91"
		}
		rw.Header().Set("Anthropic-Ratelimit-Unified-5h-Utilization", used)
		rw.Header().Set("Anthropic-Ratelimit-Unified-5h-Reset", strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10))
		_, _ = io.WriteString(rw, "{}")
	})
	for range 4 {
		if got := w.post("/v1/messages", "{}"); got.status != 200 {
			t.Fatalf("%+v", got)
		}
		w.proxy.reports.wait()
	}
	if got := w.api.asked(); got != "ada bob bob bob" {
		t.Errorf("asked %s", got)
	}
	if held := w.holds("ada"); held != "" {
		t.Errorf("held: %s", held)
	}
}
