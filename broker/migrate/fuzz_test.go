package migrate

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// Whatever stands in a file, its logins are found or it is refused, without a word
// of it in the error; each login can be taken out by itself, and what is left is
// JSON without that secret and with all the others.
func fuzz(f *testing.F, s Source, seeds ...string) {
	for _, seed := range seeds {
		f.Add([]byte(seed))
	}
	for _, seed := range []string{``, `{}`, `null`, `[]`, `{"accounts":[{}]}`, `{"a":{"a":1,"a":2}}`, "\ufeff{}", `{"\ud800":0}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := Parse(s, "there", bytes.Clone(data))
		if err != nil {
			if len(data) > 12 && strings.Contains(err.Error(), string(data[:12])) {
				t.Fatalf("the error quotes the file: %v", err)
			}
			return
		}
		for i, l := range file.Logins {
			if l.Secret().Empty() || l.Entry == "" && s.Name != "opencode" || l.Provider == "" && s.Name != "opencode" {
				t.Fatalf("login %d is none: %+v", i, l)
			}
			if _, err := l.ExpiresAt.MarshalJSON(); err != nil {
				t.Fatalf("login %d: %v", i, err)
			}
			left, _ := file.Without([]Login{l})
			if !json.Valid(bytes.TrimPrefix(left, bom)) {
				t.Fatalf("without login %d it is no JSON:\n%s", i, left)
			}
			again, err := Parse(s, "there", left)
			if err != nil {
				t.Fatalf("without login %d: %v", i, err)
			}
			if len(again.Logins) != len(file.Logins)-1 {
				t.Fatalf("without login %d there are %d, and were %d", i, len(again.Logins), len(file.Logins))
			}
			for j, other := range append(file.Logins[:i:i], file.Logins[i+1:]...) {
				if !again.Logins[j].Secret().Equal(other.Secret()) {
					t.Fatalf("taking out login %d changed another", i)
				}
			}
		}
		left, _ := file.Without(file.Logins)
		none, err := Parse(s, "there", left)
		if err != nil || len(none.Logins) > 0 {
			t.Fatalf("without all logins: %v\n%s", err, left)
		}
		if same, _ := file.Without(nil); !bytes.Equal(same, data) {
			t.Fatal("taking out nothing changed something")
		}
	})
}

func FuzzOpenCode(f *testing.F) {
	fuzz(f, openCode, `{"anthropic":{"type":"oauth","refresh":"r","access":"a","expires":1795453200000},"openai":{"type":"api","key":"k"}}`,
		`{ "google" : {"type":"oauth","refresh":"r|p","access":"","expires":0} , "b":{"type":"wellknown"} }`)
}

func FuzzClaudeCode(f *testing.F) {
	fuzz(f, claudeCode, `{"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":1795453200000,"scopes":["x"]},"mcpOAuth":{}}`)
}

func FuzzCodex(f *testing.F) {
	fuzz(f, codex, `{"auth_mode":"chatgpt","OPENAI_API_KEY":"k","tokens":{"id_token":"e30.e30.x","access_token":"e30.eyJleHAiOjF9.x","refresh_token":"r"},"last_refresh":"2026-11-20T08:00:00Z"}`)
}

func FuzzGemini(f *testing.F) {
	fuzz(f, gemini, `{"access_token":"a","refresh_token":"r","expiry_date":1795453200000,"scope":"openid email","id_token":"e30.e30.x"}`)
}

func FuzzMultiAuth(f *testing.F) {
	fuzz(f, multiAuth, `{"type":"multi-oauth","accounts":[{"id":"account-1","label":"A","access":"a","refresh":"r","expires":1},{"access":"b"}],"currentAccountIndex":1,"autoFailover":true}`,
		`{"version":1,"accounts":[{"name":"A","refreshToken":"r","accessToken":"a","expiresAt":1}],"activeIndex":0}`)
}

func FuzzAntigravity(f *testing.F) {
	fuzz(f, antigravity, `{"version":4,"accounts":[{"email":"e","refreshToken":"r"},{"refreshToken":"s"}],"activeIndex":1,"activeIndexByFamily":{"claude":0,"gemini":1}}`)
}
