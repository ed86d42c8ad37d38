package serve

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

func TestTopLevel(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]string{
		`{"model":"m"}`: `"m"`,
		` {"messages":[{"model":"no"}], "model" : "m" , "x":1}`:     `"m"`,
		`{"a":{"model":"no"},"b":["model","no"],"model":"a\"b\\"}`:  `"a\"b\\"`,
		`{"a":"\\","b":"\\\"","c":-1.5e3,"d":null,"model":{"x":1}}`: `{"x":1}`,
		`{"m\u006fdel":"m"}`:                 `"m"`,
		`{"model":"first","model":"second"}`: `"first"`,
		`{"model":12}`:                       `12`,
		`{"text":"\"model\":\"no\""}`:        ``,
		`{"model":"open`:                     `"open`,
		`{"model":`:                          ``,
		`{"model"`:                           ``,
		`["model","m"]`:                      ``,
		``:                                   ``,
		"\x28\xb5\x2f\xfd":                   ``,
	} {
		if got := string(topLevel([]byte(body), "model", "other")["model"]); got != want {
			t.Errorf("%s: %s, want %s", body, got, want)
		}
	}
}

func TestScopeAndSession(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ path, body, want string }{
		{messagesPath, `{"model":"claude-x-1"}`, "model:claude-x-1"},
		{messagesPath, `{"model":"org/claude:x"}`, "model:org/claude:x"},
		{messagesPath, `{"model":"a b"}`, ""},
		{messagesPath, `{"model":"` + strings.Repeat("x", 101) + `"}`, ""},
		{messagesPath, `{"model":["x"]}`, ""},
		{messagesPath, `nothing`, ""},
		{"/v1beta/models/gemini-x:generateContent", `{"model":"ignored"}`, "model:gemini-x"},
		{"/v1/models/gpt-x", ``, "model:gpt-x"},
	} {
		c := call{api: apiOf(test.path), path: test.path}
		r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://x"+test.path, strings.NewReader(test.body))
		if err := c.read(r); err != nil || c.scope != test.want {
			t.Errorf("%s %s: %q, want %q", test.path, test.body, c.scope, test.want)
		}
	}
	for _, test := range []struct {
		header, value, key, want string
	}{
		{"X-Claude-Code-Session-Id", "c", `"k"`, "c"}, {"Session-Id", "s", "", "s"}, {"Thread-Id", "t", "", "t"},
		{"X-Other", "o", `"k"`, "k"}, {"X-Client-Request-Id", "r", "", "r"}, {"X-Client-Request-Id", "r", `"k"`, "k"},
		{"Session-Id", strings.Repeat("x", 300), "", ""},
	} {
		if got := sessionOf(http.Header{test.header: {test.value}}, []byte(test.key)); got != test.want {
			t.Errorf("%v: %q", test, got)
		}
	}
}

func TestAPIs(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]api{
		"/v1/messages": messages, "/anthropic/v1/messages/count_tokens": messages, "/v1/responses": responses, "/backend-api/codex/responses/": responses,
		"/v1/chat/completions": chat, "/openai/v1/chat/completions": chat, geminiPath[:strings.Index(geminiPath, "?")]: gemini,
		"/v1/projects/p/locations/l/publishers/google/models/g:generateContent": gemini, "/v1/models": other, "/v1/models/m": other, "/": other, "/v1/chat": other,
	} {
		if got := apiOf(path); got != want {
			t.Errorf("%s: %v, want %v", path, got, want)
		}
	}
}

// What topLevel finds in valid JSON is what a parser finds.
func FuzzTopLevel(f *testing.F) {
	for _, s := range []string{aModel, `{"a":[{"b":"]\""}],"model":"x"}`, `{"model":1e9,"x":{}}`, ` { "mod\u0065l" : [ ] } `, `{"a":"\\\\","model":null}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := topLevel(body, "model", "previous_response_id")["model"]
		var doc map[string]json.RawMessage
		if json.Unmarshal(body, &doc) != nil || doc == nil {
			return
		}
		if strings.Count(string(body), "model")+strings.Count(string(body), `\u`) > 1 {
			return // it may stand there twice
		}
		if want, there := doc["model"]; there != ok || strings.TrimSpace(string(want)) != string(got) {
			t.Errorf("%q: %q %t, want %q %t", body, got, ok, want, there)
		}
	})
}
