package helper_test

import (
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
)

// Two Claude accounts by tokens of claude setup-token, from nothing to a failover: the API
// gets each request as Claude Code in its subscription mode sends it, with that account's
// token and no other credential.
func TestAIClientsTwoClaudeAccounts(t *testing.T) {
	claude := filepath.Join(aiPrograms(t), "claude")
	refuse := func(w http.ResponseWriter, status int, kind string) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"type":"error","error":{"type":"`+kind+`","message":"their words"}}`)
	}
	for _, row := range []struct {
		name              string
		personal, work    int // status
		asked, says, held string
	}{
		{"none limited", 200, 200, "personal", "ferried", ""},
		{"one limited", 429, 200, "personal work", "ferried", "retry-after"},
		{"one revoked", 401, 200, "personal work", "ferried", "status 401"},
		{"both limited", 429, 429, "personal work", "You've hit your usage limit · resets", "retry-after"}, // its own words
	} {
		t.Run(row.name, func(t *testing.T) {
			s := newScene(t, brokertest.Config{})
			s.Env = slices.DeleteFunc(s.Env, func(v string) bool { return strings.HasPrefix(v, "ANTHROPIC_") || strings.HasPrefix(v, "CLAUDE") })
			s.Env = append(s.Env, "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC=1", "DISABLE_AUTOUPDATER=1")
			api := newKeyedAPI(t, func(who string, w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("X-Api-Key") != "" || !strings.Contains(r.Header.Get("Anthropic-Beta"), "oauth-2025-04-20") {
					t.Errorf("not as a subscription's request: %v", r.Header["Anthropic-Beta"])
				}
				status := map[string]int{"sk-ant-oat01-personal": row.personal, "sk-ant-oat01-work": row.work}[who]
				switch status {
				case 200:
					messages(w, r)
				case 429:
					refuse(w, status, "rate_limit_error")
				default:
					refuse(w, http.StatusUnauthorized, "authentication_error")
				}
			})
			s.Must("", "provider", "add", "anthropic", "--from", "anthropic", "--api-origin", api.URL)
			s.Must("sk-ant-oat01-personal\n", "login", "anthropic", "--token-stdin", "--label", "Personal")
			s.Must("sk-ant-oat01-work\n", "login", "anthropic", "--token-stdin", "--label", "Work")
			cmd := s.Command("run", "--", claude, "-p", "hi")
			cmd.Dir = s.Root
			out, err := cmd.CombinedOutput()
			if asked := strings.ReplaceAll(api.all(), "sk-ant-oat01-", ""); asked != row.asked || !strings.Contains(string(out), row.says) {
				t.Errorf("asked %q, want %q: %v\n%s", asked, row.asked, err, out)
			}
			if holds := s.Must("", "holds", "list", "--json").Out; !strings.Contains(holds, `"source":"`+row.held) && row.held != "" || row.held == "" && strings.Contains(holds, "source") {
				t.Errorf("holds: %s, want %q", holds, row.held)
			}
		})
	}
}
