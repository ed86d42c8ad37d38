package serve

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

// brokenBroker answers every question with err.
type brokenBroker struct{ err error }

func (b brokenBroker) Token(context.Context, broker.TokenRequest) (*broker.Token, error) {
	return nil, b.err
}

func (b brokenBroker) Report(context.Context, pool.Selection, broker.ReportRequest) (*broker.ReportResult, error) {
	return nil, b.err
}

// Each API's clients get the answer that they take for the last one.
func TestNothingIsFree(t *testing.T) {
	t.Parallel()
	at := time.Now().Add(time.Hour).Truncate(time.Second)
	failure := func(c fault.Code) error { return &fault.Error{Code: c, Message: "why", RetryAt: at} }
	type want struct {
		path, message string
		status        int
		kind          string // of the error
		has           string // header or field
	}
	for code, wants := range map[fault.Code][]want{
		fault.AllHeld: {
			{messagesPath, "error.message", 429, `"type":"rate_limit_error"`, "Retry-After"},
			{"/v1/models", "error.message", 429, `"type":"rate_limit_error"`, "Retry-After"},
			{responsesPath, "error.message", 429, `"type":"usage_limit_reached"`, "resets_at"},
			{chatPath, "error.message", 429, `"code":"usage_limit_reached"`, ""},
			{geminiPath, "error.message", 429, `"status":"RESOURCE_EXHAUSTED"`, "retryDelay"},
		},
		fault.LoginNeeded: {
			{messagesPath, "", 403, `"type":"permission_error"`, ""}, {responsesPath, "", 400, `"type":"invalid_request_error"`, ""},
			{chatPath, "", 403, `"type":"permission_error"`, ""}, {geminiPath, "", 403, `"status":"PERMISSION_DENIED"`, ""},
		},
		fault.Fenced:              {{messagesPath, "", 403, `"type":"permission_error"`, ""}, {responsesPath, "", 400, "", ""}},
		fault.NoAccount:           {{messagesPath, "", 403, "", ""}, {responsesPath, "", 400, "", ""}},
		fault.KeystoreLocked:      {{messagesPath, "", 503, `"type":"api_error"`, ""}, {responsesPath, "", 400, "", ""}, {geminiPath, "", 503, `"status":"UNAVAILABLE"`, ""}},
		fault.LockTimeout:         {{messagesPath, "", 503, "", ""}, {chatPath, "", 503, "", ""}},
		fault.ProviderUnreachable: {{messagesPath, "", 503, "", ""}, {responsesPath, "", 400, "", ""}},
		fault.Internal:            {{messagesPath, "", 503, "", ""}},
	} {
		w := newWorld(t)
		w.opt.Broker = brokenBroker{failure(code)}
		w.opt.Say = func(t Trouble) string {
			if t.Code() != code || t.Provider != "sim" || t.Pool != "work" {
				return "wrong facts"
			}
			return "line <one>"
		}
		w.opt.Routes["sim"] = Route{Selection: pool.Selection{Provider: "sim"}, Pool: "work", Paths: []string{"/"}}
		w.open().api.will(limits(0, nil, ""))
		for _, want := range wants {
			res := w.post(want.path, aModel)
			var doc struct {
				Error struct {
					Message  string
					ResetsAt int64 `json:"resets_at"`
				}
			}
			if err := json.Unmarshal([]byte(res.body), &doc); err != nil || doc.Error.Message != "line <one>" {
				t.Errorf("%s at %s: %v %s", code, want.path, err, res.body)
			}
			if res.status != want.status || !strings.Contains(res.body, want.kind) || res.header.Get("X-Should-Retry") != "false" {
				t.Errorf("%s at %s: %d %v %s", code, want.path, res.status, res.header, res.body)
			}
			if after := res.header.Get("Retry-After"); (after != "") != (want.has == "Retry-After") || after != "" && !strings.HasPrefix(after, "35") && after != "3600" {
				t.Errorf("%s at %s: Retry-After is %q", code, want.path, after)
			}
			const unified = "Anthropic-Ratelimit-Unified-"
			if claim, reset := res.header.Get(unified+"Representative-Claim"), res.header.Get(unified+"Reset"); (claim != "") != (want.path == messagesPath && want.status == 429) ||
				claim != "" && (reset != strconv.FormatInt(at.Unix(), 10) || res.header.Get(unified+"Status") != "rejected") {
				t.Errorf("%s at %s: claim %q, reset %q", code, want.path, claim, reset)
			}
			if reset := doc.Error.ResetsAt; reset != 0 && reset != at.Unix() || (reset != 0) != (want.has == "resets_at") {
				t.Errorf("%s at %s: resets at %d", code, want.path, reset)
			}
			if want.has == "retryDelay" && !strings.Contains(res.body, `"retryDelay":"3`) {
				t.Errorf("%s at %s: %s", code, want.path, res.body)
			}
		}
		if n := len(w.api.all()); n != 0 {
			t.Errorf("%s: the API got %d requests", code, n)
		}
	}
}

// Without a time that is known none is made up.
func TestNoTimeIsMadeUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.opt.Broker = brokenBroker{&fault.Error{Code: fault.AllHeld}}
	w.open()
	for _, path := range []string{messagesPath, responsesPath, geminiPath} {
		res := w.post(path, "{}")
		if res.status != 429 || res.header.Get("Retry-After") != "" || strings.Contains(res.body, "resets_at") || strings.Contains(res.body, "retryDelay") || res.header.Get("Anthropic-Ratelimit-Unified-Reset") != "" {
			t.Errorf("%s: %d %v %s", path, res.status, res.header, res.body)
		}
	}
}

// All accounts are met once, the last one's limit is the client's, and the next request
// goes nowhere.
func TestAllAreLimited(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob", "eve").open()
	w.api.will(limits(429, map[string]string{"Retry-After": "600"}, "their words", "ada", "bob", "eve"))
	first := w.post(messagesPath, aModel)
	if first.status != 429 || strings.Contains(first.body, "their words") || w.api.asked() != "ada bob eve" {
		t.Errorf("%d %s after %q", first.status, first.body, w.api.asked())
	}
	if second := w.post(messagesPath, aModel); second.status != 429 || len(w.api.all()) != 3 {
		t.Errorf("%d after %q", second.status, w.api.asked())
	}
	// OpenCode would wait for ten minutes, and for a word in the text as well.
	for _, path := range []string{messagesPath, responsesPath, chatPath} {
		res := w.post(path, aModel, "User-Agent", "opencode/1.18.33 ai-sdk/anthropic/3")
		if res.status != 400 || res.header.Get("Retry-After") != "" || strings.Contains(res.body, "limit") || !strings.Contains(res.body, "trouble 9") {
			t.Errorf("%s: %d %v %s", path, res.status, res.header, res.body)
		}
	}
}

// What the broker can't say after a refusal is no reason to say nothing.
func TestReportFails(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		status, want int
		body         string
	}{{429, 503, "trouble 12"}, {401, 503, "trouble 12"}, {403, 403, "their words"}, {400, 400, "their words"}} {
		w := newWorld(t, "ada")
		w.opt.Broker = deafBroker{w.opt.Broker}
		w.open().api.will(limits(test.status, nil, "their words", "ada"))
		if res := w.post(messagesPath, "{}"); res.status != test.want || !strings.Contains(res.body, test.body) {
			t.Errorf("%d: %d %s", test.status, res.status, res.body)
		}
	}
}

// deafBroker takes no report.
type deafBroker struct{ Broker }

func (deafBroker) Report(context.Context, pool.Selection, broker.ReportRequest) (*broker.ReportResult, error) {
	return nil, &fault.Error{Code: fault.LockTimeout}
}

// An API that isn't there is the network's trouble: clients may try again.
func TestUnreachable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "ada", "bob").open()
	w.api.CloseClientConnections()
	w.api.Close()
	res := w.post(messagesPath, aModel)
	if res.status != http.StatusBadGateway || res.header.Get("X-Should-Retry") != "" || w.holds("ada")+w.holds("bob") != "" {
		t.Errorf("%d %v; holds %q %q", res.status, res.header, w.holds("ada"), w.holds("bob"))
	}
}

// A token that the API refuses is refreshed once, and the request sent again with it.
func TestRefusedToken(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open()
	fresh := "token-fresh"
	refreshes := 0
	p := w.provider()
	w.add(account.NewAccount{Label: "ada", Provider: p, AccessToken: keystore.NewSecret("token-stale"), RefreshToken: keystore.NewSecret("refresh-canary"), ExpiresAt: time.Now().Add(time.Hour)})
	w.add(brokerAccount("bob", p, p.APIOrigins))
	refusing := "stale"
	w.api.will(func(rw http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == "/token":
			refreshes++
			rw.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(rw).Encode(map[string]any{"access_token": fresh, "refresh_token": "next", "expires_in": 3600, "token_type": "Bearer"})
		case strings.Contains(refusing, r.Header.Get("X-Who")):
			rw.WriteHeader(http.StatusUnauthorized)
		default:
			_, _ = rw.Write([]byte("ok " + r.Header.Get("X-Who")))
		}
	})
	if res := w.post(messagesPath, aModel); res.body != "ok fresh" || refreshes != 1 {
		t.Errorf("%d %q after %d refreshes: %q", res.status, res.body, refreshes, w.api.asked())
	}
	// Refused again, so soon: that is about the account.
	refusing = "fresh"
	if res := w.post(messagesPath, aModel); res.body != "ok bob" || refreshes != 1 || !strings.HasPrefix(w.holds("ada"), "* status 401") {
		t.Errorf("%d %q after %d refreshes: %q, held %q", res.status, res.body, refreshes, w.api.asked(), w.holds("ada"))
	}
}
