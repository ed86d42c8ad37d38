package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/authferry/authferry/broker/brokertest"
)

// How many requests act 3 sends, and how many of them the API still takes from
// Personal.
const workload, allowance = 10, 6

// tally is what came of act 3's requests.
type tally struct {
	answered map[string]int // by account
	limited  int
	switched int
	problem  error
}

// actThree runs into a limit: the API takes no more of one account, and the
// other one takes over.
func (d *demo) actThree(ctx context.Context) ([]claim, error) {
	d.title(fmt.Sprintf("Act 3: %s runs into its limit, and %s takes over", personal, work))
	d.para(fmt.Sprintf("A program has %d requests to send. The API takes %d of them from %q and then answers 429. The program hands each 429 to `authferry report --next` and goes on with the token that it gets.",
		workload, allowance, personal))
	before := d.server.Ledger()
	if err := d.server.Configure(func(c *brokertest.Config) {
		c.Quota = brokertest.Quota{Requests: before.API[personalUser] + allowance, Dialect: brokertest.DialectAnthropic}
	}); err != nil {
		return nil, err
	}
	t := d.work(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if t.problem != nil {
		d.line("")
		d.para(fmt.Sprintf("Given up: %v", t.problem))
	}
	l := d.server.Ledger()
	claims := []claim{
		{"requests answered", workload, t.answered[personal] + t.answered[work], "a request was not answered"},
		{"answered as " + personal, allowance, t.answered[personal], "an account was left before its limit, or used beyond it"},
		{"answered as " + work, workload - allowance, t.answered[work], "the other account did not take over"},
		{"refused by the API (429)", 1, t.limited, "more requests than one were sent to find the limit"},
		{"changes of account", 1, t.switched, "the account was not changed exactly once"},
		{"logins lost", 0, l.Revoked() - before.Revoked(), "a login was lost"},
	}
	d.table(claims)
	if t.problem == nil {
		d.para(fmt.Sprintf("Nobody was asked. %q is held for as long as the API said, and free again after that; `authferry status` shows it.", personal))
		d.line("")
	}
	return claims, nil
}

// work sends the requests one after the other, as a program would.
func (d *demo) work(ctx context.Context) tally {
	t := tally{answered: map[string]int{}}
	var use tokenDoc
	if t.problem = d.answer(ctx, "", &use, "token", "sim", "--json"); t.problem != nil {
		return t
	}
	for sent := 0; sent < workload; {
		status, header, body, err := d.call(ctx, use.AccessToken)
		if err != nil {
			t.problem = err
			return t
		}
		if status == http.StatusOK {
			t.answered[use.Account.Label]++
			sent++
			continue
		}
		t.limited++
		report, err := json.Marshal(map[string]any{"lease": use.Lease, "status": status, "headers": header, "body": body})
		if err != nil {
			t.problem = err
			return t
		}
		var verdict struct {
			Action string    `json:"action"`
			Next   *tokenDoc `json:"next"`
		}
		if t.problem = d.answer(ctx, string(report), &verdict, "report", "--next"); t.problem != nil {
			return t
		}
		if verdict.Next == nil {
			t.problem = fmt.Errorf("after a %d authferry said %q and gave no token", status, verdict.Action)
			return t
		}
		if verdict.Next.Account.Label != use.Account.Label {
			t.switched++
		}
		use = *verdict.Next
	}
	return t
}

// answer runs authferry and reads the document that it prints.
func (d *demo) answer(ctx context.Context, stdin string, document any, args ...string) error {
	c := d.command(ctx, args...)
	c.cmd.Stdin = strings.NewReader(stdin)
	if err := c.cmd.Run(); err != nil {
		return fmt.Errorf("authferry %s: %w: %s", args[0], err, strings.TrimSpace(c.err.String()))
	}
	return json.Unmarshal(c.out.Bytes(), document)
}

// call is one request to the API.
func (d *demo) call(ctx context.Context, token string) (status int, header http.Header, body string, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.server.URL+"/api/work", nil)
	if err != nil {
		return 0, nil, "", err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	resp, err := d.server.Client().Do(r)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	return resp.StatusCode, resp.Header, string(data), err
}
