package source

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/authferry/authferry/rawtext"
)

// Whatever stands in a file, each program's reader finds its logins or refuses it,
// without a word of it in the error; each login can be taken out by itself, and what
// is left is JSON without that secret and with all the others.
func FuzzFile(f *testing.F) {
	for _, seed := range []string{
		`{"anthropic":{"type":"oauth","refresh":"r","access":"a","expires":1795453200000},"openai":{"type":"api","key":"k"}}`,
		`{ "google" : {"type":"oauth","refresh":"r|p","access":"","expires":0} , "b":{"type":"wellknown"} }`,
		`{"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":1795453200000,"scopes":["x"]},"mcpOAuth":{}}`,
		`{"auth_mode":"chatgpt","OPENAI_API_KEY":"k","tokens":{"id_token":"e30.e30.x","access_token":"e30.eyJleHAiOjF9.x","refresh_token":"r"},"last_refresh":"2026-11-20T08:00:00Z"}`,
		`{"access_token":"a","refresh_token":"r","expiry_date":1795453200000,"scope":"openid email","id_token":"e30.e30.x"}`,
		`{"type":"multi-oauth","accounts":[{"id":"account-1","label":"A","access":"a","refresh":"r","expires":1},{"access":"b"}],"currentAccountIndex":1,"autoFailover":true}`,
		`{"version":1,"accounts":[{"name":"A","refreshToken":"r","accessToken":"a","expiresAt":1}],"activeIndex":0}`,
		`{"version":4,"accounts":[{"email":"e","refreshToken":"r"},{"refreshToken":"s"}],"activeIndex":1,"activeIndexByFamily":{"claude":0,"gemini":1}}`,
		`{"docs":{"serverUrl":"https://docs.example/mcp","tokens":{"accessToken":"a","refreshToken":"r","expiresAt":1795453200,"scope":"x y"},"clientInfo":{"clientId":"c"}},"b":{"codeVerifier":"v"}}`,
		``, `{}`, `null`, `[]`, `{"accounts":[{}]}`, `{"a":{"a":1,"a":2}}`, "\ufeff{}", `{"\ud800":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range []Source{openCode, openCodeMCP, claudeCode, codex, gemini, multiAuth, antigravity} {
			thereAndOut(t, s, data)
		}
	})
}

func thereAndOut(t *testing.T, s Source, data []byte) {
	t.Helper()
	file, err := Parse(s, "there", bytes.Clone(data))
	if err != nil {
		if len(data) > 12 && strings.Contains(err.Error(), string(data[:12])) {
			t.Fatalf("%s: the error quotes the file: %v", s.Name, err)
		}
		return
	}
	for i, l := range file.Logins {
		if l.Secret().Empty() || l.Entry == "" && !strings.HasPrefix(s.Name, "opencode") || l.Provider == "" && l.Server == "" && s.Name != "opencode" {
			t.Fatalf("%s: login %d is none: %+v", s.Name, i, l)
		}
		if _, err := l.ExpiresAt.MarshalJSON(); err != nil {
			t.Fatalf("%s: login %d: %v", s.Name, i, err)
		}
		left, _ := file.Without([]Login{l})
		if text, err := rawtext.UTF8(left); err != nil || !json.Valid(text) {
			t.Fatalf("%s: without login %d it is no JSON:\n%s", s.Name, i, left)
		}
		again, err := Parse(s, "there", left)
		if err != nil {
			t.Fatalf("%s: without login %d: %v", s.Name, i, err)
		}
		if len(again.Logins) != len(file.Logins)-1 {
			t.Fatalf("%s: without login %d there are %d, and were %d", s.Name, i, len(again.Logins), len(file.Logins))
		}
		for j, other := range append(file.Logins[:i:i], file.Logins[i+1:]...) {
			if !again.Logins[j].Secret().Equal(other.Secret()) {
				t.Fatalf("%s: taking out login %d changed another", s.Name, i)
			}
		}
	}
	left, _ := file.Without(file.Logins)
	none, err := Parse(s, "there", left)
	if err != nil || len(none.Logins) > 0 {
		t.Fatalf("%s: without all logins: %v\n%s", s.Name, err, left)
	}
	if same, _ := file.Without(nil); !bytes.Equal(same, data) {
		t.Fatalf("%s: taking out nothing changed something", s.Name)
	}
}
