package brokertest

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

func TestAPIWithoutQuota(t *testing.T) {
	s := New(t, Config{})
	g, key := s.Issue(ada), s.IssueKey(bob)
	expect(t, "bearer", get(t, s, "/api/v1/messages", g.AccessToken), 200)
	expect(t, "API key as bearer", get(t, s, "/api/v1/messages", key), 200)
	expect(t, "nothing", get(t, s, "/api/v1/messages", ""), 401)
	expect(t, "a refresh token", get(t, s, "/api/v1/messages", g.RefreshToken), 401)
	if s.Ledger().API[ada] != 1 || s.Ledger().API[bob] != 1 || s.Ledger().Unauthorized != 2 {
		t.Errorf("ledger: %+v", s.Ledger())
	}
}

// Each dialect answers within the budget, refuses over it in its own words
// with every place filled in, and answers again in the next window.
func TestDialects(t *testing.T) {
	for _, name := range Dialects() {
		t.Run(string(name), func(t *testing.T) {
			s := New(t, Config{AccessTTL: 24 * time.Hour, Quota: Quota{Requests: 2, Window: time.Hour, Dialect: name}})
			g, other := s.Issue(ada), s.Issue(bob)
			for range 2 {
				expect(t, "within", get(t, s, "/api/x", g.AccessToken), 200)
			}
			over := get(t, s, "/api/x", g.AccessToken)
			expect(t, "over", over, dialects[name].status)
			var seen strings.Builder
			seen.WriteString(string(over.body))
			for _, values := range over.header {
				seen.WriteString("\n" + strings.Join(values, " "))
			}
			for _, place := range []string{"seconds", "seconds_float", "ms", "duration", "reset_unix", "reset_rfc3339", "reset_http", "limit", "remaining", "fraction", "percent"} {
				if strings.Contains(seen.String(), "{"+place+"}") {
					t.Errorf("{%s} is not filled in: %s", place, seen.String())
				}
			}
			if strings.HasPrefix(dialects[name].contentType, "application/json") && !json.Valid(over.body) {
				t.Errorf("no JSON: %s", over.body)
			}
			expect(t, "another user", get(t, s, "/api/x", other.AccessToken), 200)
			s.Advance(time.Hour + time.Second)
			expect(t, "the next window", get(t, s, "/api/x", g.AccessToken), 200)
			if n := s.Ledger().Limited; n != 1 {
				t.Errorf("%d limited", n)
			}
		})
	}
}

func TestControl(t *testing.T) {
	s := New(t, Config{})
	send := func(order string) got {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+"/_control", strings.NewReader(order))
		testenv.Must(t, err)
		g, err := do(t, s, r)
		testenv.Must(t, err)
		return g
	}
	g := send(`{"issue":"ada@example.com"}`)
	expect(t, "issue", g, 200)
	expect(t, "fault by name", send(`{"fault":"503","times":2,"on":"refresh"}`), 200)
	for range 2 {
		expect(t, "struck", refresh(t, s, g.text("refresh_token")), 503)
	}
	expect(t, "fault in full", send(`{"fault":{"status":418,"delay":"1ms","header":{"retry-after":"7"}}}`), 200)
	if a := refresh(t, s, g.text("refresh_token")); a.status != 418 || a.header.Get("Retry-After") != "7" {
		t.Errorf("%d %v", a.status, a.header)
	}
	expect(t, "settings", send(`{"rotation":"fixed","ttl":"5s","latency":"0s","quota":{"requests":-1,"dialect":"openai","window":"1h"}}`), 200)
	next := refresh(t, s, g.text("refresh_token"))
	if next.text("refresh_token") != g.text("refresh_token") || next.json["expires_in"] != 5.0 {
		t.Errorf("settings: %s", next.body)
	}
	expect(t, "no budget at all", get(t, s, "/api/x", next.text("access_token")), 429)
	expect(t, "time", send(`{"advance":"6s"}`), 200)
	expect(t, "over", get(t, s, "/api/x", next.text("access_token")), 401)
	expect(t, "revoke", send(`{"revoke":"ada@example.com"}`), 200)
	expect(t, "revoked", refresh(t, s, g.text("refresh_token")), 400)
	if key := send(`{"key":"bob@example.com"}`).text("api_key"); !strings.HasPrefix(key, "afak_") {
		t.Errorf("key %q", key)
	}
	for _, bad := range []string{`{"fault":"nonsense"}`, `{"unknown":1}`, `{"rotation":"x"}`, `{"ttl":"x"}`, `[`, `{"device":{"user_code":"x"}}`, `{"fault":{"delay":"x"}}`} {
		if a := send(bad); a.status != 400 || a.text("error") == "" {
			t.Errorf("%s: %d", bad, a.status)
		}
	}
	ledger := get(t, s, "/_control", "")
	if n := ledger.json["token_requests"]; n != 5.0 {
		t.Errorf("token_requests %v", n)
	}
	var l Ledger
	if err := json.Unmarshal(ledger.body, &l); err != nil || len(l.Families) != 1 || !l.Families[0].Revoked() {
		t.Errorf("the ledger does not survive its JSON: %v", err)
	}
}
