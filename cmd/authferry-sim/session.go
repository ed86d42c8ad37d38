package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// How many prompts act 4's client sends, and after how many answers its account's limit
// comes.
const prompts, answers = 6, 3

// modelAPI answers prompts with streams, to whom the authorization server's API knows.
// After some answers it has a limit for the account that it gave them to.
type modelAPI struct {
	*httptest.Server
	d        *demo
	mu       sync.Mutex
	answered map[string]int // by user
	limits   int
}

func (d *demo) newModelAPI() *modelAPI {
	m := &modelAPI{d: d, answered: map[string]int{}}
	m.Server = httptest.NewServer(m)
	return m
}

func (m *modelAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user := m.d.userOf(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	if user == "" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	m.mu.Lock()
	over := user == workUser && m.answered[user] == answers
	if over {
		m.limits++
	} else {
		m.answered[user]++
	}
	m.mu.Unlock()
	w.Header().Set("Content-Type", "text/event-stream")
	events := []string{
		`{"type":"message_start","message":{}}`, `{"type":"content_block_start","index":0}`,
		`{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ferried"}}`, `{"type":"message_stop"}`,
	}
	if over {
		events = []string{events[0], `{"type":"error","error":{"type":"rate_limit_error","message":"This account is at its limit."}}`}
	}
	for _, data := range events {
		_, _ = fmt.Fprintf(w, "data: %s\n\n", data)
		_ = http.NewResponseController(w).Flush()
	}
}

// userOf is whose token that is; empty: nobody's.
func (d *demo) userOf(ctx context.Context, token string) string {
	status, _, body, err := d.call(ctx, token)
	var doc struct{ User string }
	if err != nil || status != http.StatusOK || json.Unmarshal([]byte(body), &doc) != nil {
		return ""
	}
	return doc.User
}

// clientCmd is the client of act 4. Of authferry it knows two variables.
type clientCmd struct{}

// session is what a client's user gets to see.
type session struct{ Answers, Beginnings, Errors int }

func (c *clientCmd) Run(ctx context.Context, out *screen) error {
	var s session
	for range prompts {
		c.prompt(ctx, &s)
	}
	return json.NewEncoder(out).Encode(s)
}

func (c *clientCmd) prompt(ctx context.Context, s *session) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, os.Getenv("AUTHFERRY_PROXY_URL")+"/v1/messages", strings.NewReader(`{"model":"sim","stream":true}`)) // #nosec G704 -- the demo gave it the address
	if err != nil {
		s.Errors++
		return
	}
	r.Header.Set("X-Api-Key", os.Getenv("AUTHFERRY_PROXY_KEY"))
	client := &http.Client{Timeout: 10 * time.Second}
	resp, err := client.Do(r) // #nosec G704 -- likewise
	if err != nil {
		s.Errors++
		return
	}
	defer resp.Body.Close()
	complete := false
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		switch line := lines.Text(); {
		case strings.Contains(line, "message_start"):
			s.Beginnings++
		case strings.Contains(line, "message_stop"):
			complete = true
		case strings.Contains(line, `"error"`):
			s.Errors++
		}
	}
	if complete {
		s.Answers++
	} else {
		s.Errors++
	}
}

// actFour runs a client that streams, and never asks authferry anything.
func (d *demo) actFour(ctx context.Context) ([]claim, error) {
	d.title("Act 4: a streaming client is moved in mid-session")
	d.para(fmt.Sprintf("`authferry run` starts a client that sends %d prompts and reads streams. %q answers %d of them; then its limit comes inside a stream that began with 200. The client sees one address and one key.",
		prompts, work, answers))
	if err := d.server.Configure(func(c *brokertest.Config) { c.Quota = brokertest.Quota{} }); err != nil {
		return nil, err
	}
	if err := d.run(ctx, "", "holds", "clear", personal); err != nil {
		return nil, err
	}
	if err := d.run(ctx, "", "use", work); err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var s session
	if problem := d.answer(ctx, "", &s, "run", "sim", "--", self, "client"); problem != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		d.line("")
		d.para(fmt.Sprintf("Given up: %v", problem))
	}
	d.models.mu.Lock()
	defer d.models.mu.Unlock()
	claims := []claim{
		{"prompts answered", prompts, s.Answers, "a prompt was not answered"},
		{"answered as " + work, answers, d.models.answered[workUser], "an account was left before its limit, or used beyond it"},
		{"answered as " + personal, prompts - answers, d.models.answered[personalUser], "the other account did not take over"},
		{"limits that the API spoke of", 1, d.models.limits, "more requests than one were sent to find the limit"},
		{"limits that the client saw", 0, s.Errors, "the client saw the limit"},
		{"beginnings of an answer that it saw", prompts, s.Beginnings, "an answer began twice"},
	}
	d.table(claims)
	return claims, nil
}
