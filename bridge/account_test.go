package bridge

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
)

// A token that the server refuses in the middle of a session is refreshed once, for all
// requests that meet it, and each of them is sent again.
func TestRefusedInTheMiddle(t *testing.T) {
	t.Parallel()
	m := legacy(nil)
	w := newWorld(t, m.handler, "ada")
	c := w.open()
	c.say(hello)
	c.hears(welcome)
	w.server.ExpireAccess("ada")
	var want []string
	for i := range 8 {
		c.say(ask(i+1, "tools/call"))
		want = append(want, result(i+1))
	}
	c.hears(want...)
	c.ends()
	if n := w.server.Refreshes("ada"); n != 1 {
		t.Errorf("%d refreshes", n)
	}
}

// A new token that is refused as well is the end of it: the client hears what a person
// can do.
func TestRefusedAgain(t *testing.T) {
	t.Parallel()
	m := legacy(func(w http.ResponseWriter, _ seen, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
	w := newWorld(t, m.handler, "ada")
	c := w.open()
	c.say(hello)
	c.hears(welcome)
	c.say(ask(1, "tools/call"))
	if e := c.refused(); e.Error.Code != -32000 || e.Error.Data.Authferry.Code != "provider_refused" || !strings.Contains(e.Error.Data.Authferry.Hint, "login sim ada") {
		t.Errorf("%+v", e.Error)
	}
	c.ends()
	if calls := len(m.requests()) - 2; calls != 2 { // initialize, DELETE, and what it sent
		t.Errorf("sent %d times", calls)
	}
}

// A login that is over is told to the client, with the command; and where a person can be
// asked, it is renewed and the request is sent.
func TestLoginNeeded(t *testing.T) {
	t.Parallel()
	for _, asks := range []bool{false, true} {
		m := legacy(nil)
		w := newWorld(t, m.handler, "ada")
		var asked atomic.Int32
		if asks {
			w.opt.Login = func(ctx context.Context, name string, next fault.Remedy) error {
				asked.Add(1)
				return account.Renew(ctx, w.b.Folder, next.Provider, name, nil, account.Person{Open: visit(t)})
			}
		}
		c := w.open()
		c.say(hello)
		c.hears(welcome)
		w.server.Revoke("ada")
		w.server.ExpireAccess("ada")
		c.say(ask(1, "tools/call"))
		if asks {
			c.hears(result(1))
		} else if e := c.refused(); e.Error.Data.Authferry.Code != "login_needed" || !strings.Contains(e.Error.Data.Authferry.Hint, "login sim ada") || !strings.HasPrefix(e.Error.Message, "said: ") {
			t.Errorf("%+v", e.Error)
		}
		c.ends()
		if n := asked.Load(); n > 1 || (n == 1) != asks {
			t.Errorf("asked %d times", n)
		}
	}
}

// A login that was asked for too little needs a person too.
func TestInsufficientScope(t *testing.T) {
	t.Parallel()
	for _, asks := range []bool{false, true} {
		w := newWorld(t, nil, "ada")
		testenv.Must(t, w.server.Configure(func(c *brokertest.Config) { c.MCP = &brokertest.MCP{CallScopes: []string{"admin"}} }))
		if asks {
			w.opt.Login = func(ctx context.Context, name string, next fault.Remedy) error {
				return account.Renew(ctx, w.b.Folder, next.Provider, name, strings.Fields(next.Value), account.Person{Open: visit(t)})
			}
		}
		c := w.open()
		c.say(hello)
		c.hear()
		c.say(ask(1, "tools/call"))
		if asks {
			if got := c.hear(); !strings.Contains(got, `"text":"ada"`) {
				t.Errorf("got %s", got)
			}
		} else if e := c.refused(); e.Error.Data.Authferry.Code != "insufficient_scope" || !strings.Contains(e.Error.Data.Authferry.Hint, "scope admin") {
			t.Errorf("%+v", e.Error)
		}
		c.ends()
	}
}

// limited answers those users with a limit.
func limited(m *remote, users ...string) {
	rest := m.answer
	m.answer = func(w http.ResponseWriter, s seen, r *http.Request) {
		for _, user := range users {
			if s.user == user && s.method == http.MethodPost {
				w.Header().Set("Retry-After", "3600")
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
		}
		rest(w, s, r)
	}
}

// Before its first answer a session goes to the next account of the pool at a limit;
// afterwards it belongs to one.
func TestLimit(t *testing.T) {
	t.Parallel()
	m := legacy(nil)
	limited(m, "ada")
	w := newWorld(t, m.handler, "ada", "bob")
	c := w.open()
	c.say(hello, ask(1, "x"))
	c.hears(welcome, result(1))
	limited(m, "bob")
	c.say(ask(2, "x"))
	if e := c.refused(); e.Error.Data.Authferry.Code != "all_held" {
		t.Errorf("%+v", e.Error)
	}
	c.ends()
	for _, s := range m.requests()[1:] {
		if s.user != "bob" {
			t.Errorf("%s %s went as %s", s.method, s.rpc.Method, s.user)
		}
	}
	// A new session finds both held.
	c = w.open()
	c.say(hello)
	if e := c.refused(); e.Error.Data.Authferry.Code != "all_held" {
		t.Errorf("%+v", e.Error)
	}
	c.ends()
	if _, err := w.open().finish(); fault.CodeOf(err) != fault.AllHeld {
		t.Errorf("without a message: %v", err)
	}
}

// A limit that is over soon is waited for.
func TestThrottled(t *testing.T) {
	t.Parallel()
	tries := 0
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		if tries++; tries < 3 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		sendJSON(w, result(string(s.rpc.ID)))
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello, ask(1, "x"))
	c.hears(welcome, result(1))
	c.ends()
}

// No token goes along with a redirect, nor to a server that it is not for.
func TestNowhereElse(t *testing.T) {
	t.Parallel()
	var elsewhere string
	m := legacy(func(w http.ResponseWriter, _ seen, r *http.Request) {
		http.Redirect(w, r, elsewhere, http.StatusTemporaryRedirect)
	})
	w := newWorld(t, m.handler, "ada")
	elsewhere = w.server.OtherURL()
	c := w.open()
	c.say(hello, ask(1, "x"))
	c.hears(welcome, `{"jsonrpc":"2.0","id":1,"error":{"code":-32000,"message":"said: `+strings.TrimPrefix(w.server.URL, "http://")+
		` redirects to another address, where no token is sent; has the server moved?","data":{"authferry":{"code":"provider_refused","hint":"[]"}}}}`)
	c.ends()
	for _, address := range []string{w.server.URL + "/at/b/mcp", w.server.OtherURL() + "/mcp", w.server.URL + "/mcp/../at/b/mcp"} {
		w.opt.Server = address
		if _, err := w.open().finish(); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("%s: %v", address, err)
		}
	}
	if n := w.server.Ledger().Elsewhere; n != 0 {
		t.Errorf("%d requests went elsewhere", n)
	}
}

// What a server may send that is no answer: the client hears of it once, in words of
// authferry's, or in the server's where it speaks JSON-RPC.
func TestOddAnswers(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", MaxMessage)
	for name, test := range map[string]struct {
		answer func(w http.ResponseWriter)
		want   string // code; or a whole message
	}{
		"HTML":              {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "<html>canary") }, "provider_refused"},
		"no JSON":           {func(w http.ResponseWriter) { sendJSON(w, "canary") }, "provider_refused"},
		"no JSON-RPC":       {func(w http.ResponseWriter) { sendJSON(w, `{"canary":1}`) }, "provider_refused"},
		"two messages":      {func(w http.ResponseWriter) { sendJSON(w, result(1)+"\n"+result(1)) }, "provider_refused"},
		"not UTF-8":         {func(w http.ResponseWriter) { sendJSON(w, `{"jsonrpc":"2.0","id":1,"result":"`+"\xff\xfe"+`"}`) }, "provider_refused"},
		"too long":          {func(w http.ResponseWriter) { sendJSON(w, `{"jsonrpc":"2.0","id":1,"result":"`+long+`"}`) }, "provider_refused"},
		"too long event":    {func(w http.ResponseWriter) { sendEvents(w, "data: "+long, long+"\n\n") }, "provider_refused"},
		"nothing":           {func(w http.ResponseWriter) { w.WriteHeader(http.StatusAccepted) }, "provider_refused"},
		"empty stream":      {func(w http.ResponseWriter) { sendEvents(w) }, "provider_unreachable"},
		"rubbish in events": {func(w http.ResponseWriter) { sendEvents(w, "data: canary\n\n", "data: "+result(1)+"\n\n") }, result(1)},
		"another's answer":  {func(w http.ResponseWriter) { sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"result\":{}}\n\n") }, "provider_unreachable"},
		"503":               {func(w http.ResponseWriter) { http.Error(w, "canary", http.StatusServiceUnavailable) }, "provider_unreachable"},
		"403":               {func(w http.ResponseWriter) { http.Error(w, "canary", http.StatusForbidden) }, "provider_refused"},
		"error with the id": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"own"}}`)
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"own"}}`},
		"error without": {func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, "{\"jsonrpc\":\"2.0\",\"id\":null,\"error\":{\"code\":2,\n\"message\":\"own\"}}")
		}, `{"jsonrpc":"2.0","id":1,"error":{"code":2, "message":"own"}}`},
		"error in a stream": {func(w http.ResponseWriter) { sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"error\":{\"code\":3}}\n\n") }, `{"jsonrpc":"2.0","id":1,"error":{"code":3}}`},
		"a broken body": {func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "1000")
			_, _ = io.WriteString(w, `{"jsonrpc"`)
			panic(http.ErrAbortHandler)
		}, "provider_unreachable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := legacy(func(w http.ResponseWriter, _ seen, _ *http.Request) { test.answer(w) })
			var warned strings.Builder
			w := newWorld(t, m.handler, "ada")
			w.opt.Warn = func(text string) { warned.WriteString(text) }
			c := w.open()
			c.say(hello)
			c.hears(welcome)
			c.say(ask(1, "x"))
			got := c.hear()
			if strings.HasPrefix(test.want, "{") {
				if got != test.want {
					t.Errorf("got %s", got)
				}
			} else {
				var e heardError
				if err := json.Unmarshal([]byte(got), &e); err != nil || e.Error == nil || e.Error.Data.Authferry.Code != test.want || string(e.ID) != "1" {
					t.Errorf("got %.500s", got)
				}
			}
			if strings.Contains(got+warned.String(), "canary") {
				t.Errorf("the server's text: %s %s", got, warned.String())
			}
			c.ends()
		})
	}
}

// What is no message, or too long for one, gets an error and stops nothing.
func TestOddMessages(t *testing.T) {
	t.Parallel()
	c := newWorld(t, legacy(nil).handler, "ada").open()
	for _, test := range []struct{ sent, code string }{
		{"rubbish", "-32700"}, {"{}", "-32600"}, {"[]", "-32600"}, {"42", "-32600"}, {`"x"`, "-32600"}, {"null", "-32600"},
		{`{"jsonrpc":"1.0","id":1,"method":"x"}`, "-32600"}, {`{"jsonrpc":"2.0","id":{},"method":"x"}`, "-32600"}, {`{"jsonrpc":"2.0","id":1}`, "-32600"},
		{`{"jsonrpc":"2.0","ID":1,"Method":"x"}`, "-32600"}, {strings.Repeat("[", 100_000), "-32700"},
		{`{"jsonrpc":"2.0","id":1,"method":"` + strings.Repeat("x", MaxMessage) + `"}`, "-32600"},
	} {
		c.say(test.sent)
		if got := c.hear(); !strings.HasPrefix(got, `{"jsonrpc":"2.0","id":null,"error":{"code":`+test.code+",") {
			t.Errorf("%.60s: %s", test.sent, got)
		}
	}
	c.say(hello)
	c.hears(welcome)
	big := `{"jsonrpc":"2.0","id":1,"method":"x","params":{"a":"` + strings.Repeat("x", MaxMessage-100) + `"}}`
	c.say(big)
	c.hears(result(1))
	c.ends()
}

// While the client reads nothing, nothing more is read from the server.
func TestBackPressure(t *testing.T) {
	t.Parallel()
	const size, count = 1 << 19, 64
	var sent atomic.Int64
	event := "data: {\"jsonrpc\":\"2.0\",\"method\":\"n\",\"params\":\"" + strings.Repeat("x", size) + "\"}\n\n"
	m := legacy(func(w http.ResponseWriter, _ seen, _ *http.Request) {
		for range count {
			sendEvents(w, event)
			sent.Add(1)
		}
		sendEvents(w, "data: "+result(1)+"\n\n")
	})
	w := newWorld(t, m.handler, "ada")
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := New(w.opt).Run(context.Background(), inRead, outWrite)
		_ = outWrite.Close()
		done <- err
	}()
	_, _ = io.WriteString(inWrite, hello+"\n")
	welcomed := make([]byte, len(welcome)+1)
	_, err := io.ReadFull(outRead, welcomed)
	testenv.Must(t, err)
	_, _ = io.WriteString(inWrite, ask(1, "x")+"\n")
	// It stands still once the pipes of the system are full.
	for last := int64(-1); ; time.Sleep(300 * time.Millisecond) {
		now := sent.Load()
		if now == last && now > 0 {
			break
		}
		last = now
	}
	if n := sent.Load(); n > count/2 {
		t.Errorf("%d messages were read that nobody wanted", n)
	}
	all := bufio.NewReader(outRead)
	for i := range count + 1 {
		if _, err := all.ReadString('\n'); err != nil {
			t.Fatalf("after %d messages: %v", i, err)
		}
	}
	_ = inWrite.Close()
	_, _ = io.Copy(io.Discard, all)
	testenv.Must(t, <-done)
}

// A client that is gone ends the bridge, whatever is under way.
func TestClientGone(t *testing.T) {
	t.Parallel()
	m := legacy(func(w http.ResponseWriter, _ seen, r *http.Request) {
		sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"n\"}\n\n")
		<-r.Context().Done()
	})
	w := newWorld(t, m.handler, "ada")
	inRead, inWrite := io.Pipe()
	outRead, outWrite := io.Pipe()
	done := make(chan error, 1)
	go func() { done <- New(w.opt).Run(context.Background(), inRead, outWrite) }()
	_, _ = io.WriteString(inWrite, hello+"\n")
	_, err := io.ReadFull(outRead, make([]byte, len(welcome)+1))
	testenv.Must(t, err)
	_ = outRead.Close()
	_, _ = io.WriteString(inWrite, ask(1, "x")+"\n")
	select {
	case err := <-done:
		testenv.Must(t, err)
	case <-time.After(patience):
		t.Error("it goes on")
	}
	_ = inWrite.Close()
	m.await(t, func(s seen) bool { return s.method == http.MethodDelete })
}

// The log has no token, no session id, and nothing of what is said.
func TestLogKeepsSilent(t *testing.T) {
	t.Parallel()
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		switch string(s.rpc.ID) {
		case "1":
			sendJSON(w, `{"jsonrpc":"2.0","id":1,"result":"said-canary"}`)
		case "2":
			http.Error(w, "said-canary", http.StatusInternalServerError)
		default:
			sendJSON(w, "said-canary")
		}
	})
	w := newWorld(t, m.handler, "ada")
	var log bytes.Buffer
	w.opt.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.opt.Server += "?key=said-canary"
	c := w.open()
	c.say(hello)
	c.hears(welcome)
	w.server.ExpireAccess("ada")
	for i := range 3 {
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"x","params":{"a":"said-canary"}}`, i+1))
		c.hear()
	}
	c.ends()
	if !strings.Contains(log.String(), "status=200") {
		t.Errorf("the log says nothing: %s", log.String())
	}
	for _, secret := range []string{"afat_", "afrt_", "session-canary", "said-canary"} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log has %s:\n%s", secret, log.String())
		}
	}
}
