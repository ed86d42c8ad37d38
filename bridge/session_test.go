package bridge

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	hello   = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"t","version":"1"}}}`
	ready   = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	welcome = `{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}`
)

func ask(id int, method string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{}}`, id, method)
}

func result(id any) string { return fmt.Sprintf(`{"jsonrpc":"2.0","id":%v,"result":{}}`, id) }

// sendJSON answers with a message.
func sendJSON(w http.ResponseWriter, message string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, message)
}

// sendEvents answers with a stream.
func sendEvents(w http.ResponseWriter, events ...string) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	for _, e := range events {
		_, _ = io.WriteString(w, e)
	}
	w.(http.Flusher).Flush()
}

// legacy is a server of the first era with a session, which leaves the rest to others.
func legacy(rest func(w http.ResponseWriter, s seen, r *http.Request)) *remote {
	return &remote{answer: func(w http.ResponseWriter, s seen, r *http.Request) {
		switch {
		case s.rpc.Method == "initialize":
			w.Header().Set("Mcp-Session-Id", "session-canary")
			sendJSON(w, welcome)
		case s.method == http.MethodPost && len(s.rpc.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		case s.method == http.MethodDelete:
		case rest != nil:
			rest(w, s, r)
		case s.method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		default:
			sendJSON(w, result(string(s.rpc.ID)))
		}
	}}
}

// What the transport asks for from initialize to the end: a request has the session and
// the version that were agreed on, in the order in which they came; the end is told.
func TestSession(t *testing.T) {
	t.Parallel()
	m := legacy(nil)
	w := newWorld(t, m.handler, "ada")
	c := w.open()
	// All at once, as a pipe does.
	c.say(hello, ready, ask(1, "tools/list"), `{"jsonrpc":"2.0","id":"s-1","result":{"x":1}}`, "", ask(2, "ping"))
	c.hears(welcome, result(1), result(2))
	m.await(t, func(s seen) bool { return s.method == http.MethodGet })
	c.ends()
	all := m.requests()
	var order []string
	for _, s := range all {
		want := "session-canary"
		if s.rpc.Method == "initialize" {
			want = ""
		}
		if got := s.header.Get("Mcp-Session-Id"); got != want {
			t.Errorf("%s %s is in session %q", s.method, s.rpc.Method, got)
		}
		if want := map[bool]string{false: "", true: "2025-11-25"}[want != ""]; s.header.Get("Mcp-Protocol-Version") != want {
			t.Errorf("%s %s: version %q", s.method, s.rpc.Method, s.header.Get("Mcp-Protocol-Version"))
		}
		if s.method == http.MethodPost && (s.header.Get("Accept") != "application/json, text/event-stream" || s.header.Get("Content-Type") != "application/json") {
			t.Errorf("headers %v", s.header)
		}
		if s.method == http.MethodPost {
			order = append(order, s.rpc.Method)
		}
		for name := range s.header {
			if strings.HasPrefix(name, "Mcp-") && name != "Mcp-Session-Id" && name != "Mcp-Protocol-Version" {
				t.Errorf("header %s in the first era", name)
			}
		}
	}
	if got := order[:2]; !slices.Equal(got, []string{"initialize", "notifications/initialized"}) {
		t.Errorf("order %q", order)
	}
	if last := all[len(all)-1]; last.method != http.MethodDelete {
		t.Errorf("the last request is %s", last.method)
	}
	if all[0].body != hello {
		t.Errorf("sent %s", all[0].body)
	}
}

// A message passes byte for byte, whatever is in it; line breaks between its parts become
// spaces.
func TestByteForByte(t *testing.T) {
	t.Parallel()
	odd := `{"jsonrpc" : "2.0", "id":7,"result":{"a":1.0e5,"a":2,"\u0061":"\u2028 ` + "\u2028" + `","html":"<&>"}, "extra":[ 1 ]}`
	pretty := "{\n\t\"jsonrpc\": \"2.0\",\r\n\"id\": 8, \"result\": {\"text\": \"a\\nb\"}\n}"
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		switch string(s.rpc.ID) {
		case "7":
			sendJSON(w, odd)
		case "8":
			sendJSON(w, pretty)
		default:
			sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\ndata: \"id\":9,\"result\":{}}\n\n")
		}
	})
	c := newWorld(t, m.handler, "ada").open()
	sent := `{"id":7 ,"jsonrpc":"2.0","method":"x","params":{"b":1,"b":2,"ü":"\ud83d"}}`
	c.say(hello, sent)
	c.hears(welcome, odd)
	c.say("  "+ask(8, "x")+" ", ask(9, "x"))
	c.hears(strings.NewReplacer("\r", " ", "\n", " ").Replace(pretty), `{"jsonrpc":"2.0", "id":9,"result":{}}`)
	c.ends()
	if got := m.requests()[1].body; got != sent {
		t.Errorf("got %s", got)
	}
}

// What comes over the server's own stream, and over a request's before its answer, gets
// to the client, and its answers to the server. The server's own stream is gone on with.
func TestStreams(t *testing.T) {
	t.Parallel()
	streams := 0
	m := legacy(nil)
	rest := m.answer
	m.answer = func(w http.ResponseWriter, s seen, r *http.Request) {
		switch {
		case s.method == http.MethodGet:
			m.mu.Lock()
			streams++
			n := streams
			m.mu.Unlock()
			sendEvents(w, fmt.Sprintf("retry: 1\nid: g%d\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/%d\"}\n\n", n, n))
			if n > 1 {
				<-r.Context().Done()
			}
		case s.rpc.Method == "tools/call":
			sendEvents(w, "id: 1\ndata:\n\n", ": comment\n\n", "event: other\ndata: {}\n\n",
				"event: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":\"e\",\"method\":\"elicitation/create\"}\n\n")
			m.await(t, func(s seen) bool { return len(s.rpc.Result) > 0 })
			sendEvents(w, "data: "+result(string(s.rpc.ID))+"\n\n")
		default:
			rest(w, s, r)
		}
	}
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello)
	c.hears(welcome)
	c.say(ready)
	c.hears(`{"jsonrpc":"2.0","method":"notifications/1"}`)
	c.hears(`{"jsonrpc":"2.0","method":"notifications/2"}`)
	if got := m.await(t, func(s seen) bool { return s.header.Get("Last-Event-Id") != "" }); got.header.Get("Last-Event-Id") != "g1" {
		t.Errorf("it goes on behind %q", got.header.Get("Last-Event-Id"))
	}
	c.say(ask(1, "tools/call"))
	c.hears(`{"jsonrpc":"2.0","id":"e","method":"elicitation/create"}`)
	c.say(`{"jsonrpc":"2.0","id":"e","result":{"action":"accept"}}`)
	c.hears(result(1))
	c.ends()
}

// A request's stream that the server or the network ends is gone on with behind its last
// event; without one, the client is told.
func TestResumption(t *testing.T) {
	t.Parallel()
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		switch {
		case s.method == http.MethodGet && s.header.Get("Last-Event-Id") == "a":
			sendEvents(w, "id: b\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
			panic(http.ErrAbortHandler)
		case s.method == http.MethodGet && s.header.Get("Last-Event-Id") == "b":
			sendEvents(w, "id: c\ndata: "+result(1)+"\n\n")
		case s.method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case string(s.rpc.ID) == "1":
			sendEvents(w, "retry: 1\nid: a\ndata:\n\n")
		default:
			sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
			panic(http.ErrAbortHandler)
		}
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello)
	c.hears(welcome)
	c.say(ask(1, "tools/call"))
	c.hears(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	c.hears(result(1))
	c.say(ask(2, "tools/call"))
	c.hears(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	if e := c.refused(); string(e.ID) != "2" || e.Error.Data.Authferry.Code != "provider_unreachable" {
		t.Errorf("%+v", e.Error)
	}
	c.ends()
}

// A server may say when a stream is to be gone on with.
func TestRetryIsHeeded(t *testing.T) {
	t.Parallel()
	const pause = 300 * time.Millisecond
	var ended, came time.Time
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		if s.method == http.MethodGet {
			came = time.Now()
			sendEvents(w, "data: "+result(1)+"\n\n")
			return
		}
		sendEvents(w, fmt.Sprintf("retry: %d\nid: a\ndata:\n\n", pause.Milliseconds()))
		ended = time.Now()
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello, ask(1, "x"))
	c.hears(welcome, result(1))
	c.ends()
	if came.Sub(ended) < pause {
		t.Errorf("it came back after %v", came.Sub(ended))
	}
}

// A session that the server has ended is opened again, and the request sent again in it,
// however many find it ended, and in whatever way it says so.
func TestSessionEnded(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(http.ResponseWriter){
		"404": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"400 in JSON-RPC": func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`)
		},
		"400 in text": func(w http.ResponseWriter) { http.Error(w, "Invalid session ID", http.StatusBadRequest) },
		"400 after a start": func(w http.ResponseWriter) {
			http.Error(w, "Bad Request: Server not initialized", http.StatusBadRequest)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			endedSession(t, end)
		})
	}
}

// A refusal that is the request's own ends no session, whatever its status and its words.
func TestSessionGoesOn(t *testing.T) {
	t.Parallel()
	own := `{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"the session is not valid"}}`
	m := legacy(func(w http.ResponseWriter, s seen, _ *http.Request) {
		switch string(s.rpc.ID) {
		case "1":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = io.WriteString(w, own)
		case "2":
			http.Error(w, "Bad Request", http.StatusBadRequest)
		default:
			sendJSON(w, result(string(s.rpc.ID)))
		}
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello)
	c.hears(welcome)
	c.say(ask(1, "tools/call"))
	c.hears(own)
	c.say(ask(2, "tools/call"))
	if e := c.refused(); e.Error.Data.Authferry.Code != "provider_refused" {
		t.Errorf("%+v", e.Error)
	}
	c.say(ask(3, "tools/call"))
	c.hears(result(3))
	c.ends()
	if n := len(m.requests()); n != 5 { // initialize, three calls, DELETE
		t.Errorf("%d requests", n)
	}
}

func endedSession(t *testing.T, end func(http.ResponseWriter)) {
	t.Helper()
	sessions := 0
	m := &remote{}
	m.answer = func(w http.ResponseWriter, s seen, _ *http.Request) {
		m.mu.Lock()
		defer m.mu.Unlock()
		switch {
		case s.rpc.Method == "initialize":
			sessions++
			w.Header().Set("Mcp-Session-Id", fmt.Sprint("s", sessions))
			sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\n", "data: "+welcome+"\n\n")
		case s.header.Get("Mcp-Session-Id") == "s1" && s.rpc.Method == "tools/call":
			end(w)
		case s.method == http.MethodGet:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case len(s.rpc.ID) == 0:
			w.WriteHeader(http.StatusAccepted)
		default:
			sendJSON(w, result(string(s.rpc.ID)))
		}
	}
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello)
	c.hears(`{"jsonrpc":"2.0","method":"notifications/message"}`, welcome)
	c.say(ready)
	var want []string
	for i := range 8 {
		c.say(ask(i+1, "tools/call"))
		want = append(want, result(i+1))
	}
	c.hears(want...)
	c.ends()
	if sessions != 2 {
		t.Errorf("%d sessions", sessions)
	}
	var order []string
	for _, s := range m.requests() {
		if s.header.Get("Mcp-Session-Id") == "s2" && s.method == http.MethodPost {
			order = append(order, s.rpc.Method)
		}
	}
	if order[0] != "notifications/initialized" || len(order) != 9 {
		t.Errorf("in the new session: %q", order)
	}
}

// What is cancelled is told to the server, and its answer need not come.
func TestCancelled(t *testing.T) {
	t.Parallel()
	open := make(chan struct{})
	m := legacy(func(w http.ResponseWriter, s seen, r *http.Request) {
		if s.rpc.Method != "tools/call" {
			sendJSON(w, result(string(s.rpc.ID)))
			return
		}
		sendEvents(w, ": working\n\n")
		close(open)
		<-r.Context().Done()
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(hello)
	c.hears(welcome)
	c.say(ask(1, "tools/call"))
	<-open
	note := `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`
	c.say(note, ask(2, "ping"))
	c.hears(result(2))
	if got := m.await(t, func(s seen) bool { return s.rpc.Method == "notifications/cancelled" }); got.body != note {
		t.Errorf("it got %s", got.body)
	}
	c.end()
	if rest, _ := c.finish(); len(rest) > 0 {
		t.Errorf("and still came %q", rest)
	}
}
