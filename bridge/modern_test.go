package bridge

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const meta = `"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}`

// modernAsk is a request of 2026-07-28.
func modernAsk(id int, method, params string) string {
	if params != "" {
		params = "," + params
	}
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":%q,"params":{%s%s}}`, id, method, meta, params)
}

const toolbox = `{"jsonrpc":"2.0","id":1,"result":{"resultType":"complete", "tools":[ {"name":"bad","inputSchema":{"properties":{"n":{"type":"number","x-mcp-header":"N"}}}},
 {"name":"sql","inputSchema":{"type":"object","properties":{"region":{"type":"string","x-mcp-header":"Region"},"n":{"type":"integer","x-mcp-header":"N"},"yes":{"type":"boolean","x-mcp-header":"Yes"},
"deep":{"type":"object","properties":{"x":{"type":["string","null"],"x-mcp-header":"Deep"}}},"query":{"type":"string"}}}} ,{"name":"plain"}], "ttlMs":0}}`

// modern is a server of the second era, which leaves the rest to others.
func modern(rest func(w http.ResponseWriter, s seen, r *http.Request)) *remote {
	return &remote{answer: func(w http.ResponseWriter, s seen, r *http.Request) {
		switch {
		case s.method != http.MethodPost:
			w.WriteHeader(http.StatusMethodNotAllowed)
		case s.rpc.Method == "initialize":
			w.WriteHeader(http.StatusBadRequest)
			_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":0,"error":{"code":-32022,"message":"canary","data":{"supported":["2026-07-28"]}}}`))
		case s.rpc.Method == "tools/list":
			sendJSON(w, strings.Replace(toolbox, `"id":1`, `"id":`+string(s.rpc.ID), 1))
		case rest != nil:
			rest(w, s, r)
		default:
			sendJSON(w, result(string(s.rpc.ID)))
		}
	}}
}

// Requests of 2026-07-28 have neither session nor stream beside them; what the
// specification wants repeated stands in headers.
func TestModern(t *testing.T) {
	t.Parallel()
	m := modern(nil)
	w := newWorld(t, m.handler, "ada")
	var warned []string
	w.opt.Warn = func(text string) { warned = append(warned, text) }
	c := w.open()
	c.say(modernAsk(9, "server/discover", ""))
	c.hears(result(9))
	c.say(modernAsk(1, "tools/list", ""))
	got := c.hear()
	without := strings.ReplaceAll(toolbox, "\n", " ")
	without = without[:strings.Index(without, "[")+1] + without[strings.Index(without, `{"name":"sql"`):]
	if want := strings.Replace(without, `} ,{"name":"plain"`, `},{"name":"plain"`, 1); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if len(warned) != 1 || !strings.Contains(warned[0], `"bad"`) {
		t.Errorf("warned %q", warned)
	}
	for i, params := range []string{
		`"name":"sql","arguments":{"region":"eu","n":42.0,"yes":false,"deep":{"x":"a"},"query":"q"}`,
		`"name":"sql","arguments":{"region":" eu","n":-7,"yes":null,"deep":{"x":"ü\n"}}`,
		`"name":"sql","arguments":{"region":"=?base64?x?="}`,
		`"name":"ünï"`,
	} {
		c.say(modernAsk(10+i, "tools/call", params))
		c.hears(result(10 + i))
	}
	c.say(modernAsk(20, "resources/read", `"uri":"file:///a b"`), modernAsk(21, "prompts/get", `"name":"p"`), modernAsk(22, "ping", `"name":"p"`))
	c.hears(result(20), result(21), result(22))
	c.ends()
	want := map[string]string{
		"10": "sql|Deep=a|N=42|Region=eu|Yes=false",
		"11": "sql|Deep==?base64?w7wK?=|N=-7|Region==?base64?IGV1?=",
		"12": "sql|Region==?base64?PT9iYXNlNjQ/eD89?=",
		"13": "=?base64?w7xuw68=?=",
		"20": "file:///a b", "21": "p", "22": "", "1": "", "9": "",
	}
	for _, s := range m.requests() {
		if s.method != http.MethodPost || s.header.Get("Mcp-Session-Id") != "" || s.header.Get("Mcp-Protocol-Version") != "2026-07-28" || s.header.Get("Mcp-Method") != s.rpc.Method {
			t.Errorf("%s %s %v", s.method, s.rpc.Method, s.header)
		}
		var params []string
		for name := range s.header {
			if p, ok := strings.CutPrefix(name, "Mcp-Param-"); ok {
				params = append(params, "|"+p+"="+s.header.Get(name))
			}
		}
		slices.Sort(params)
		if got := s.header.Get("Mcp-Name") + strings.Join(params, ""); got != want[string(s.rpc.ID)] {
			t.Errorf("request %s: %q, want %q", s.rpc.ID, got, want[string(s.rpc.ID)])
		}
	}
}

// What a tool wants in headers is learned anew where the server misses it: a client may
// know the tools from another time.
func TestHeadersMissing(t *testing.T) {
	t.Parallel()
	m := modern(func(w http.ResponseWriter, s seen, _ *http.Request) {
		if s.header.Get("Mcp-Param-Region") == "" {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32020,"message":"x"}}`, s.rpc.ID)
			return
		}
		sendJSON(w, result(string(s.rpc.ID)))
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(modernAsk(5, "tools/call", `"name":"sql","arguments":{"region":"eu"}`))
	c.hears(result(5))
	// One that goes on missing something gets its error to the client.
	c.say(modernAsk(6, "tools/call", `"name":"other"`))
	c.hears(`{"jsonrpc":"2.0","id":6,"error":{"code":-32020,"message":"x"}}`)
	c.ends()
	if n := len(m.requests()); n != 6 {
		t.Errorf("%d requests", n)
	}
}

// To cancel is to close the stream; the server gets no message, and the client no answer.
func TestModernCancelled(t *testing.T) {
	t.Parallel()
	open, closed := make(chan struct{}), make(chan struct{})
	m := modern(func(w http.ResponseWriter, s seen, r *http.Request) {
		if s.rpc.Method != "tools/call" {
			sendJSON(w, result(string(s.rpc.ID)))
			return
		}
		sendEvents(w, "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\"}\n\n")
		close(open)
		<-r.Context().Done()
		close(closed)
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(modernAsk(1, "tools/call", `"name":"x"`))
	<-open
	c.hears(`{"jsonrpc":"2.0","method":"notifications/progress"}`)
	c.say(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`)
	<-closed
	c.say(modernAsk(2, "x", ""))
	c.hears(result(2))
	c.ends()
	for _, s := range m.requests() {
		if s.rpc.Method == "notifications/cancelled" {
			t.Error("the server got a message")
		}
	}
}

// A stream of changes lasts as long as the client, and no longer; one that breaks off is
// not gone on with.
func TestSubscription(t *testing.T) {
	t.Parallel()
	m := modern(func(w http.ResponseWriter, s seen, r *http.Request) {
		sendEvents(w, "id: 1\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/tools/list_changed\"}\n\n")
		if string(s.rpc.ID) == "1" {
			<-r.Context().Done()
		}
	})
	c := newWorld(t, m.handler, "ada").open()
	c.say(modernAsk(1, "subscriptions/listen", ""), modernAsk(2, "subscriptions/listen", ""))
	changed := `{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`
	var heard []string
	for range 3 {
		heard = append(heard, c.hear())
	}
	slices.Sort(heard)
	if heard[1] != changed || heard[2] != changed || !strings.Contains(heard[0], `"id":2,"error"`) {
		t.Errorf("%q", heard)
	}
	began := time.Now()
	c.ends()
	if time.Since(began) >= drain {
		t.Error("it waited for the stream's end")
	}
	for _, s := range m.requests() {
		if s.method != http.MethodPost {
			t.Errorf("%s", s.method)
		}
	}
}

// Client and server of different eras: each client gets an error that it, or a person,
// can do something with.
func TestOtherEra(t *testing.T) {
	t.Parallel()
	c := newWorld(t, modern(nil).handler, "ada").open()
	c.say(hello)
	if e := c.refused(); !strings.Contains(e.Error.Message, "2026-07-28 or later, and this client speaks an earlier version") || strings.Contains(e.Error.Message, "canary") {
		t.Errorf("%+v", e.Error)
	}
	c.say(modernAsk(1, "x", "")) // a client of both may still
	c.hears(result(1))
	c.ends()

	for _, body := range []string{"", "Bad Request: canary", `{"jsonrpc":"2.0","error":{"code":-32000,"message":"Bad Request: No valid session ID provided"},"id":null}`} {
		m := legacy(nil)
		rest := m.answer
		m.answer = func(w http.ResponseWriter, s seen, r *http.Request) {
			if s.rpc.Method == "server/discover" {
				http.Error(w, body, http.StatusBadRequest)
				return
			}
			rest(w, s, r)
		}
		c := newWorld(t, m.handler, "ada").open()
		c.say(modernAsk(7, "server/discover", ""))
		e := c.refused()
		if string(e.ID) != "7" || e.Error.Code != -32000 || strings.Contains(e.Error.Message, "canary") {
			t.Errorf("%+v", e.Error)
		}
		if !json.Valid([]byte(body)) && !strings.Contains(e.Error.Message, "may not support MCP 2026-07-28") {
			t.Errorf("%+v", e.Error)
		}
		c.say(hello, ask(1, "x"))
		c.hears(welcome, result(1))
		c.ends()
	}
}

// What a schema may ask to be repeated in headers, and what makes a tool one that no
// client may show.
func TestWanted(t *testing.T) {
	t.Parallel()
	for schema, want := range map[string]string{
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}`:                                                               "a:A",
		`{"properties":{"a":{"type":"string"}}}`:                                                                                  "",
		`{"properties":{"x-mcp-header":{"type":"string"}}}`:                                                                       "",
		`{"properties":{"a":{"type":"string","enum":["x-mcp-header"],"default":{"x-mcp-header":"A"}}}}`:                           "",
		`{"properties":{"a":{"properties":{"b":{"type":"integer","x-mcp-header":"B"}}}}}`:                                         "a.b:B",
		`{"properties":{"a":{"type":"string","x-mcp-header":""}}}`:                                                                "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":7}}}`:                                                                 "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A B"}}}`:                                                             "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A:"}}}`:                                                              "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A\r\nX: y"}}}`:                                                       "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":"Ä"}}}`:                                                               "refused",
		`{"properties":{"a":{"type":"number","x-mcp-header":"A"}}}`:                                                               "refused",
		`{"properties":{"a":{"type":["string","object"],"x-mcp-header":"A"}}}`:                                                    "refused",
		`{"properties":{"a":{"x-mcp-header":"A"}}}`:                                                                               "refused",
		`{"properties":{"a":{"type":"string","x-mcp-header":"A"},"b":{"type":"string","x-mcp-header":"a"}}}`:                      "refused",
		`{"properties":{"a":{"type":"array","items":{"type":"string","x-mcp-header":"A"}}}}`:                                      "refused",
		`{"anyOf":[{"properties":{"a":{"type":"string","x-mcp-header":"A"}}}]}`:                                                   "refused",
		`{"$defs":{"a":{"type":"string","x-mcp-header":"A"}}}`:                                                                    "refused",
		`{"type":"string","x-mcp-header":"A"}`:                                                                                    "refused",
		`{"properties":{"a":{"type":"object","additionalProperties":{"properties":{"b":{"type":"string","x-mcp-header":"A"}}}}}}`: "refused",
	} {
		found, why := wanted(json.RawMessage(schema))
		got := ""
		for _, m := range found {
			got += strings.Join(m.path, ".") + ":" + m.header
		}
		if why != "" {
			got = "refused"
		}
		if got != want {
			t.Errorf("%s: %q (%s), want %q", schema, got, why, want)
		}
	}
}
