package serve

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// raw sends text as it is and reads one answer.
func (w *world) raw(text string) (status int, h http.Header, body string) {
	w.t.Helper()
	conn, err := net.Dial("tcp", w.addr.String())
	testenv.Must(w.t, err)
	defer func() { _ = conn.Close() }()
	testenv.Must(w.t, testenv.Err(io.WriteString(conn, text)))
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	method, _, _ := strings.Cut(text, " ")
	res, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%q: %v", text, err)
	}
	defer func() { _ = res.Body.Close() }()
	data, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header, string(data)
}

// Who is turned away, and how; nothing of it reaches the API.
func TestDoor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada").open()
	w.api.will(limits(0, nil, ""))
	port := w.addr.(*net.TCPAddr).Port
	home := fmt.Sprintf("Host: 127.0.0.1:%d\r\n", port)
	const (
		path = "/sim/v1/messages"
		key  = "Authorization: Bearer " + localKey + "\r\n"
	)
	get := func(target, headers string) string {
		return "GET " + target + " HTTP/1.1\r\n" + headers + "\r\n"
	}
	for name, test := range map[string]struct {
		text   string
		status int
	}{
		"key as Bearer":              {get(path, home+key), 200},
		"key as bearer":              {get(path, home+"authorization: bearer "+localKey+"\r\n"), 200},
		"key as x-api-key":           {get(path, home+"x-api-key: "+localKey+"\r\n"), 200},
		"key as x-goog-api-key":      {get(path, home+"x-goog-api-key: "+localKey+"\r\n"), 200},
		"key beside another":         {get(path, home+"x-api-key: other\r\n"+key), 200},
		"key twice":                  {get(path, home+"x-api-key: other\r\nx-api-key: "+localKey+"\r\n"), 200},
		"localhost":                  {get(path, fmt.Sprintf("Host: LocalHost:%d\r\n", port)+key), 200},
		"IPv6":                       {get(path, fmt.Sprintf("Host: [::1]:%d\r\n", port)+key), 200},
		"Node's fetch":               {get(path, home+key+"Sec-Fetch-Mode: cors\r\n"), 200},
		"a typed address":            {get(path, home+key+"Sec-Fetch-Site: none\r\n"), 200},
		"no key":                     {get(path, home), 401},
		"wrong key":                  {get(path, home+"x-api-key: "+localKey+"x\r\n"), 401},
		"part of the key":            {get(path, home+"x-api-key: "+localKey[1:]+"\r\n"), 401},
		"empty key":                  {get(path, home+"x-api-key: \r\n"), 401},
		"key as Basic":               {get(path, home+"Authorization: Basic "+localKey+"\r\n"), 401},
		"key in the query":           {get(path+"?key="+localKey, home), 401},
		"key in a cookie":            {get(path, home+"Cookie: key="+localKey+"\r\n"), 401},
		"other host":                 {get(path, "Host: evil.example\r\n"+key), 403},
		"rebound host":               {get(path, fmt.Sprintf("Host: evil.example:%d\r\n", port)+key), 403},
		"host by prefix":             {get(path, fmt.Sprintf("Host: 127.0.0.1.evil.example:%d\r\n", port)+key), 403},
		"other port":                 {get(path, "Host: 127.0.0.1:1\r\n"+key), 403},
		"no port":                    {get(path, "Host: 127.0.0.1\r\n"+key), 403},
		"no host":                    {"GET " + path + " HTTP/1.0\r\n" + key + "\r\n", 403},
		"no host at all":             {get(path, key), 400},
		"two hosts":                  {get(path, home+home+key), 400},
		"origin":                     {get(path, home+key+"Origin: https://evil.example\r\n"), 403},
		"its own origin":             {get(path, home+key+fmt.Sprintf("Origin: http://127.0.0.1:%d\r\n", port)), 403},
		"no origin of a page":        {get(path, home+key+"Origin: null\r\n"), 403},
		"cross-site":                 {get(path, home+key+"Sec-Fetch-Site: cross-site\r\n"), 403},
		"same-origin":                {get(path, home+key+"Sec-Fetch-Site: same-origin\r\n"), 403},
		"two sites":                  {get(path, home+key+"Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n"), 403},
		"preflight":                  {"OPTIONS " + path + " HTTP/1.1\r\n" + home + "Origin: https://evil.example\r\nAccess-Control-Request-Method: POST\r\n\r\n", 403},
		"absolute form":              {get("http://evil.example"+path, home+key), 400},
		"absolute form, here":        {get(fmt.Sprintf("http://127.0.0.1:%d", port)+path, home+key), 400},
		"CONNECT":                    {"CONNECT evil.example:443 HTTP/1.1\r\n" + home + key + "\r\n", 400},
		"asterisk":                   {"OPTIONS * HTTP/1.1\r\n" + home + key + "\r\n", 400},
		"HTTP/2":                     {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400},
		"TLS":                        {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400},
		"garbage":                    {"\x00\x01\x02\r\n\r\n", 400},
		"TRACE":                      {"TRACE " + path + " HTTP/1.1\r\n" + home + key + "\r\n", 405},
		"dot segment":                {get("/sim/v1/../api/oauth", home+key), 400},
		"last dot segment":           {get("/sim/v1/..", home+key), 400},
		"single dot":                 {get("/sim/./v1/messages", home+key), 400},
		"encoded dots":               {get("/sim/v1/%2e%2E/api", home+key), 400},
		"half encoded dots":          {get("/sim/v1/.%2e/api", home+key), 400},
		"twice encoded dots":         {get("/sim/v1/%252e%252e/api", home+key), 400},
		"dots with parameters":       {get("/sim/v1/..;a/api", home+key), 400},
		"encoded slash":              {get("/sim/v1/messages%2f..%2fapi", home+key), 400},
		"twice encoded slash":        {get("/sim/v1/messages%252Fapi", home+key), 400},
		"backslash":                  {get(`/sim/v1\messages`, home+key), 400},
		"encoded backslash":          {get("/sim/v1/%5c..", home+key), 400},
		"encoded NUL":                {get("/sim/v1/messages%00", home+key), 400},
		"encoded line end":           {get("/sim/v1/messages%0d%0aX", home+key), 400},
		"empty segment":              {get("/sim//v1/messages", home+key), 400},
		"leading empty segment":      {get("//evil.example/sim/v1/messages", home+key), 400},
		"broken escape":              {get("/sim/v1/%zz", home+key), 400},
		"no provider":                {get("/", home+key), 404},
		"other provider":             {get("/other/v1/messages", home+key), 404},
		"provider by case":           {get("/SIM/v1/messages", home+key), 404},
		"path outside":               {get("/sim/api/oauth/claude_cli/create_api_key", home+key), 404},
		"path by prefix":             {get("/sim/v1x/messages", home+key), 404},
		"encoded prefix":             {get("/sim/%76%31/messages", home+key), 404},
		"method outside":             {get("/sim/healthz", home+key), 404},
		"WebSocket":                  {get(path, home+key+"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n"), 426},
		"health":                     {"HEAD /sim/api/hello HTTP/1.1\r\n" + home + "\r\n", 200},
		"health of the root":         {"HEAD / HTTP/1.1\r\n" + home + "\r\n", 200},
		"health of nobody":           {"HEAD /other HTTP/1.1\r\n" + home + "\r\n", 200},
		"health from a page":         {"HEAD / HTTP/1.1\r\n" + home + "Origin: https://evil.example\r\n\r\n", 403},
		"HEAD of more than a health": {"HEAD " + path + " HTTP/1.1\r\n" + home + "\r\n", 401},
	} {
		t.Run(name, func(t *testing.T) {
			w.api.will(limits(0, nil, ""))
			status, h, body := w.raw(test.text)
			if status != test.status {
				t.Errorf("%d, want %d: %s", status, test.status, body)
			}
			passed := len(w.api.all())
			if want := strings.HasPrefix(body, "ok "); want != (passed == 1) || passed > 1 || test.status != 200 && passed > 0 {
				t.Errorf("the API got %d requests", passed)
			}
			for name := range h {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("a page may read it: %s", name)
				}
			}
			if status >= 401 && !strings.HasPrefix(test.text, "HEAD") {
				if h.Get("X-Should-Retry") != "false" || !json.Valid([]byte(body)) {
					t.Errorf("%v %s", h, body)
				}
			}
		})
	}
}

// Credentials of the client, and the key wherever it stands, never go up; tokens of the
// pool never come down, and the log has neither, nor anything else of a request.
func TestCanaries(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob")
	w.opt.Log = slog.New(slog.NewJSONHandler(&w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	w.open()
	const alien = "alien-canary"
	for name, answer := range map[string]http.HandlerFunc{
		"answer":   limits(0, nil, ""),
		"failover": limits(429, map[string]string{"Retry-After": "60"}, "", "ada"),
		"limit":    limits(429, map[string]string{"Retry-After": "3600"}, "", "ada", "bob"),
		"refused":  limits(401, nil, "", "ada", "bob"),
		"broken":   streams("CUT"),
		"trailers": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Trailer", "X-Sum")
			_, _ = io.WriteString(rw, "with trailers")
			rw.Header().Set("X-Sum", "5")
		},
		"away": func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "https://elsewhere.example/")
			rw.WriteHeader(http.StatusFound)
		},
	} {
		w.free("ada", "bob")
		w.api.will(answer)
		r := w.request(http.MethodPost, messagesPath+"?key="+alien+"&beta=true&api_key=x&%6bey=y&a=1"+localKey, "body-canary",
			"Authorization", "Bearer "+localKey, "X-Api-Key", alien, "Api-Key", alien, "X-Goog-Api-Key", localKey, "Cookie", "a="+alien,
			"Proxy-Authorization", "Basic "+alien, "Chatgpt-Account-Id", alien, "X-Custom", "mine: "+localKey, "X-Plain", "kept",
			"X-Forwarded-For", "10.0.0.1", "Forwarded", "for=10.0.0.1", "X-Forwarded-Host", alien, "X-Http-Method-Override", alien, "X-Original-Url", alien,
			"Helicone-Openai-Api-Base", alien, "X-Portkey-Provider", alien,
			"Anthropic-Beta", "common-beta, mine-beta", "Connection", "Authorization, Anthropic-Beta, X-Hop", "X-Hop", "x", "Expect", "100-continue")
		r.Trailer = http.Header{"Authorization": {"Bearer " + alien}}
		r.ContentLength = -1
		res := w.do(r)
		down := fmt.Sprint(res.status, res.header, res.body, res.err)
		for _, s := range w.api.all() {
			up := fmt.Sprint(s.header, s.query, s.path)
			if strings.Contains(up, localKey) || strings.Contains(up, alien) || strings.Contains(up, "X-Hop") || strings.Contains(up, "10.0.0.1") {
				t.Errorf("%s: up went %s", name, up)
			}
			if s.header.Get("Authorization") != "Bearer token-"+s.who || s.header.Get("X-Plain") != "kept" || s.query != "beta=true" || string(s.body) != "body-canary" {
				t.Errorf("%s: up went %s %q", name, up, s.body)
			}
			if got := s.header.Get("Accept-Encoding"); got != "identity" {
				t.Errorf("%s: Accept-Encoding is %q", name, got)
			}
			if got := s.header.Get("Anthropic-Beta"); got != "oauth-beta,common-beta" { // the client took its own out
				t.Errorf("%s: anthropic-beta is %q", name, got)
			}
		}
		if strings.Contains(down, "token-") || strings.Contains(down, localKey) {
			t.Errorf("%s: down came %s", name, down)
		}
		w.proxy.Close()
	}
	w.api.will(limits(0, nil, ""))
	if res := w.post(messagesPath, "{}", "Anthropic-Beta", "mine-beta, common-beta", "Accept-Encoding", "gzip"); res.status == 0 {
		t.Fatal(res.err)
	}
	for _, s := range w.api.all() {
		if got := s.header.Get("Anthropic-Beta"); got != "oauth-beta,common-beta,mine-beta" {
			t.Errorf("anthropic-beta is %q", got)
		}
	}
	w.stop()
	log := w.log.String()
	for _, word := range []string{"token-", localKey, alien, "body-canary", "beta", "messages?", "X-Plain", "with trailers"} {
		if strings.Contains(log, word) {
			t.Errorf("the log has %s:\n%s", word, log)
		}
	}
	if strings.Count(log, `"msg":"request"`) < 7 || !strings.Contains(log, `"account":"bob"`) {
		t.Errorf("the log lacks requests:\n%s", log)
	}
}

// An account's token goes to the origin of its own record, and one without any goes
// nowhere.
func TestUpstreamIsTheRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	p := w.provider()
	w.add(brokerAccount("lost", p, nil))
	w.api.will(limits(0, nil, ""))
	if res := w.post(messagesPath, "{}"); res.status != 403 || len(w.api.all()) != 0 {
		t.Errorf("no origin: %d after %d requests", res.status, len(w.api.all()))
	}
	w.add(brokerAccount("based", p, []string{w.api.URL}))
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.b.Folder, "based")))
	if res := w.post(messagesPath+"/count%20it?a=b", "{}"); res.body != "ok based" || w.api.all()[0].path != "/v1/messages/count%20it" {
		t.Errorf("%d %q: %v", res.status, res.body, w.api.all())
	}
}

// The record's own base and paths count, whatever the route says.
func TestPinnedAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	p := w.provider()
	p.APIBase, p.APIPaths = w.api.URL+"/deep/api", []string{"POST /v1/messages"}
	w.add(brokerAccount("ada", p, p.APIOrigins))
	w.api.will(limits(0, nil, ""))
	if res := w.post(messagesPath, "{}"); res.body != "ok ada" || w.api.all()[0].path != "/deep/api/v1/messages" {
		t.Errorf("%d %q: %v", res.status, res.body, w.api.all())
	}
	w.api.will(limits(0, nil, ""))
	if res := w.post("/v1/files", "{}"); res.status != 404 || len(w.api.all()) != 0 {
		t.Errorf("a path outside of the record: %d", res.status)
	}
	w.api.will(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Location", r.Header.Get("X-To"))
		rw.WriteHeader(http.StatusTemporaryRedirect)
	})
	for to, want := range map[string]string{"/deep/api/v1/x": "/sim/v1/x", "x": "/sim/v1/x", "/v1/x": "", "/deep/apix": ""} {
		if got := w.post(messagesPath, "{}", "X-To", to).header.Get("Location"); got != want {
			t.Errorf("a redirect to %s goes to %q", to, got)
		}
	}
}

// A login's token doesn't go to an API that takes API keys only, and stands in nobody's way.
func TestKeysOnlyAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "login")
	route := w.opt.Routes["sim"]
	route.KeyOrigins = []string{w.api.URL}
	w.opt.Routes["sim"] = route
	w.open()
	w.api.will(limits(0, nil, ""))
	if res := w.post(messagesPath, "{}"); res.status != 403 || len(w.api.all()) != 0 {
		t.Errorf("a selection that doesn't know: %d after %d requests", res.status, len(w.api.all()))
	}

	w.stop()
	route.Selection.KeysOnly = true
	w.opt.Routes["sim"] = route
	w.open()
	if res := w.post(messagesPath, "{}"); res.status != 403 || len(w.api.all()) != 0 {
		t.Errorf("a login alone: %d after %d requests", res.status, len(w.api.all()))
	}
	for _, label := range []string{"ada", "bob"} {
		w.add(account.NewAccount{Label: label, Provider: w.provider(), APIKey: keystore.NewSecret("token-" + label)})
	}
	testenv.Must(t, testenv.Err(account.Use(t.Context(), w.b.Folder, "login")))
	w.api.will(limits(429, map[string]string{"Retry-After": "3600"}, "", "ada"))
	if res := w.post(messagesPath, "{}"); res.body != "ok bob" || w.api.asked() != "ada bob" {
		t.Errorf("%d %q: asked %q", res.status, res.body, w.api.asked())
	}
	w.api.will(limits(429, map[string]string{"Retry-After": "3600"}, "", "bob"))
	if res := w.post(messagesPath, "{}"); res.status != 429 || w.api.asked() != "bob" {
		t.Errorf("%d %q: asked %q", res.status, res.body, w.api.asked())
	}
}

func TestListed(t *testing.T) {
	t.Parallel()
	paths := []string{"POST /v1/messages", "GET /v1/models", "/v1beta/models", "POST /v1/chat/"}
	for target, want := range map[string]bool{
		"POST /v1/messages": true, "POST /v1/messages/count_tokens": true, "GET /v1/messages": false, "POST /v1/messagesx": false,
		"GET /v1/models": true, "GET /v1/models/m": true, "DELETE /v1/models/m": false, "POST /v1beta/models:x": true,
		"PUT /v1beta/models/g:generate": true, "POST /v1beta": false, "POST /v1/chat/completions": true, "POST /v1/chat": false, "POST /": false,
	} {
		method, path, _ := strings.Cut(target, " ")
		if got := listed(paths, method, path); got != want {
			t.Errorf("%s: %t", target, got)
		}
	}
	if !listed([]string{"/"}, "PATCH", "/anything") || listed(nil, "GET", "/") {
		t.Error("/ is all, nothing is none")
	}
}

// However a path is unescaped by whoever gets it, it names the same.
func FuzzPlainPath(f *testing.F) {
	for _, s := range []string{"/a/b", "/a/../b", "/a/%2e%2e/b", "/%252e%252e/", "/a%2fb", "/a;..;/b", "/a/..;x=y", `/a\b`, "/a/%25252e", "/é", "/%C3%A9"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		if !plainPath(path) {
			return
		}
		plain := path
		for range 6 {
			u := url.URL{Path: plain}
			if clean := u.JoinPath().Path; strings.TrimSuffix(clean, "/") != strings.TrimSuffix(plain, "/") {
				t.Fatalf("%q is %q", plain, clean)
			}
			next, err := url.PathUnescape(plain)
			if err != nil {
				t.Fatalf("%q can't be unescaped", plain)
			}
			if strings.Count(next, "/") != strings.Count(path, "/") || strings.Contains(next, `\`) {
				t.Fatalf("%q has other segments", next)
			}
			plain = next
		}
	})
}
