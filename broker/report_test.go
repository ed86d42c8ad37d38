package broker

import (
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// pooled is a world with one account for each user, in this order of rank.
func pooled(t *testing.T, users ...string) (*world, []*index.Account) {
	t.Helper()
	w := newWorld(t, brokertest.Config{Users: users})
	var accounts []*index.Account
	for _, u := range users {
		accounts = append(accounts, w.add(u, time.Hour))
	}
	return w, accounts
}

func (w *world) report(s pool.Selection, r ReportRequest) *ReportResult {
	w.t.Helper()
	res, err := w.broker().Report(w.t.Context(), s, r)
	testenv.Must(w.t, err)
	return res
}

func (w *world) current(pool string) string {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	testenv.Must(w.t, err)
	return idx.Pools[pool].Current
}

// edit changes an account's entry, as time would.
func (w *world) edit(id string, change func(*index.Account)) {
	w.t.Helper()
	testenv.Must(w.t, index.At(w.dir).Update(w.t.Context(), index.Fast, func(idx *index.Index) error {
		change(idx.Account(id))
		return nil
	}))
}

func limited(a *index.Account, seconds int) ReportRequest {
	return ReportRequest{Lease: lease(a.ID, 1), Status: 429, Header: map[string][]string{"retry-after": {strconv.Itoa(seconds)}}, Next: true}
}

// Fifty callers that hit one limit at once move the pool by one account, not by
// fifty, and all of them go on with the same one.
func TestManyReportsOfOneLeaseMoveThePoolOnce(t *testing.T) {
	w, a := pooled(t, "ada", "bob", "cat", "dan")
	results := make([]*ReportResult, 50)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() {
			var err error
			if results[i], err = w.broker().Report(t.Context(), pool.Selection{}, limited(a[0], 3600)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		return
	}
	for _, r := range results {
		if r.Action != Switch || r.Next == nil || r.Next.Account.ID != a[1].ID {
			t.Fatalf("%s to %+v", r.Action, r.Next)
		}
	}
	if got := w.current("sim"); got != a[1].ID {
		t.Fatalf("current is %s, want %s", got, a[1].ID)
	}
	if r := w.report(pool.Selection{}, limited(a[0], 30)); r.Next.Account.ID != a[1].ID || w.current("sim") != a[1].ID {
		t.Fatal("a late report moved the pool again")
	}
	if n := len(w.account(a[2].ID).Holds); n != 0 {
		t.Fatalf("an account that nobody used has %d holds", n)
	}
}

func TestReportActions(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	one := lease(a[0].ID, 1)
	header := func(kv ...string) map[string][]string {
		h := map[string][]string{}
		for i := 0; i < len(kv); i += 2 {
			h[kv[i]] = append(h[kv[i]], kv[i+1])
		}
		return h
	}
	for _, test := range []struct {
		name string
		r    ReportRequest
		want Action
		held bool
	}{
		{"success", ReportRequest{Status: 200}, None, false},
		{"bad request", ReportRequest{Status: 400}, None, false},
		{"policy", ReportRequest{Status: 403}, None, false},
		{"not found", ReportRequest{Status: 404}, None, false},
		{"too large", ReportRequest{Status: 413}, None, false},
		{"unprocessable", ReportRequest{Status: 422}, None, false},
		{"server error", ReportRequest{Status: 500}, None, false},
		{"no answer", ReportRequest{Status: 0}, Retry, false},
		{"unavailable", ReportRequest{Status: 503}, Retry, false},
		{"overloaded", ReportRequest{Status: 529, Attempt: 9}, Retry, false},
		{"throttle", ReportRequest{Status: 429, Header: header("retry-after", "2")}, Retry, false},
		{"second throttle", ReportRequest{Status: 429, Header: header("retry-after", "2"), Attempt: 2}, Retry, false},
		{"third throttle", ReportRequest{Status: 429, Header: header("retry-after", "2"), Attempt: 3}, Switch, true},
		{"limit", ReportRequest{Status: 429, Header: header("Retry-After", "40")}, Switch, true},
		{"silent", ReportRequest{Status: 429}, Switch, true},
		{"payment", ReportRequest{Status: 402}, Switch, true},
		{"absurd", ReportRequest{Status: 429, Header: header("retry-after", "99999999")}, Switch, true},
		{"negative", ReportRequest{Status: 429, Header: header("retry-after", "-5")}, Switch, true},
		{"nan", ReportRequest{Status: 429, Header: header("retry-after", "NaN")}, Switch, true},
		{"inside a stream", ReportRequest{Status: 200, Body: []byte("event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n")}, Switch, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			w.edit(a[0].ID, func(a *index.Account) { a.Holds = nil })
			test.r.Lease = one
			r := w.report(pool.Selection{}, test.r)
			if r.Action != test.want || (r.Hold != nil) != test.held {
				t.Fatalf("%s, hold %+v", r.Action, r.Hold)
			}
			if r.Next != nil {
				t.Fatal("a token that nobody asked for")
			}
			if held := len(w.account(a[0].ID).Holds) > 0; held != test.held {
				t.Fatalf("recorded: %v", held)
			}
			if r.Action == Retry && (r.RetryAfter <= 0 || r.RetryAfter > time.Minute) {
				t.Fatalf("retry after %v", r.RetryAfter)
			}
			if test.held && time.Until(r.Hold.Until) > 24*time.Hour {
				t.Fatalf("held until %v", r.Hold.Until)
			}
		})
	}
}

// What is malformed is told from what is foreign, and none of it changes anything.
func TestReportRefusesWhatIsNoReport(t *testing.T) {
	w, a := pooled(t, "ada")
	for _, test := range []struct {
		name string
		r    ReportRequest
		want fault.Code
	}{
		{"no lease", ReportRequest{Status: 429}, fault.Usage},
		{"not a lease", ReportRequest{Lease: "acc_x.1", Status: 429}, fault.Usage},
		{"path in the lease", ReportRequest{Lease: "../../etc/passwd.1", Status: 429}, fault.Usage},
		{"negative generation", ReportRequest{Lease: a[0].ID + ".-1", Status: 429}, fault.Usage},
		{"huge generation", ReportRequest{Lease: a[0].ID + ".99999999999999999999", Status: 429}, fault.Usage},
		{"unknown account", ReportRequest{Lease: "acc_aaaaaaaaaaaaaaaa.1", Status: 429}, fault.NoAccount},
		{"negative status", ReportRequest{Lease: lease(a[0].ID, 1), Status: -1}, fault.Usage},
		{"status beyond", ReportRequest{Lease: lease(a[0].ID, 1), Status: 4290}, fault.Usage},
		{"long scope", ReportRequest{Lease: lease(a[0].ID, 1), Status: 429, HoldScope: strings.Repeat("x", 129)}, fault.Usage},
		{"scope that moves the cursor", ReportRequest{Lease: lease(a[0].ID, 1), Status: 429, HoldScope: "\x1b[2J"}, fault.Usage},
	} {
		if _, err := w.broker().Report(t.Context(), pool.Selection{}, test.r); fault.CodeOf(err) != test.want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	if len(w.account(a[0].ID).Holds) != 0 {
		t.Error("a hold came of it")
	}
}

// A caller can invent a scope for every report; the index doesn't grow with it.
func TestHoldsAreBounded(t *testing.T) {
	w, a := pooled(t, "ada")
	model := map[string][]string{"anthropic-ratelimit-unified-status": {"rejected"}, "anthropic-ratelimit-unified-7d_oi-status": {"rejected"},
		"anthropic-ratelimit-unified-7d_oi-reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}
	for i := range 3 * pool.MaxHolds {
		w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 429, Header: model, HoldScope: "model:" + strconv.Itoa(i)})
	}
	if n := len(w.account(a[0].ID).Holds); n != pool.MaxHolds {
		t.Fatalf("%d holds, want %d", n, pool.MaxHolds)
	}
}

// A bomb of headers and body is read in part, and no time in it is believed
// beyond what the rules allow.
func TestHostileReport(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	office, err := addIn(w, "sim", "work", "office")
	testenv.Must(t, err)
	others := []index.Account{w.account(a[1].ID), w.account(office.ID)}
	bomb := map[string][]string{"retry-after": {"99999999"}, "date": {"Thu, 01 Jan 1970 00:00:00 GMT"}}
	for i := range 20_000 {
		bomb["x-ratelimit-reset-"+strconv.Itoa(i)] = []string{"999999h", strings.Repeat("9", 100)}
		bomb["anthropic-ratelimit-unified-"+strconv.Itoa(i)+"-utilization"] = []string{"1e308"}
	}
	r := w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 429, Header: bomb, Next: true, Attempt: 1 << 60,
		Body: []byte(`{"error":{"type":"usage_limit_reached","resets_in_seconds":1e300,"details":` + strings.Repeat("[", 8<<20))})
	if r.Action != Switch || !r.Hold.Cut || time.Until(r.Hold.Until) > 24*time.Hour || len(r.Hold.Source) > 100 {
		t.Fatalf("%s %+v", r.Action, r.Hold)
	}
	if e := w.account(a[0].ID); len(e.Holds) != 1 || len(e.Usage) > pool.MaxUsage {
		t.Fatalf("%d holds, %d windows", len(e.Holds), len(e.Usage))
	}
	for _, before := range others {
		if now := w.account(before.ID); !reflect.DeepEqual(now, before) {
			t.Errorf("another account was %+v and is %+v", before, now)
		}
	}
	if now := w.current("sim"); now != a[1].ID {
		t.Errorf("the pool is at %s", now)
	}
	if now := w.current("work"); now != office.ID {
		t.Errorf("the other pool is at %s", now)
	}
	if n := w.server.Ledger().TokenRequests; n != 0 {
		t.Errorf("%d refreshes", n)
	}
}

// A limit of one model holds that model and leaves the account current.
func TestScopedHoldLeavesTheAccountCurrent(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	r := w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 429, HoldScope: "model:opus", Next: true, Header: map[string][]string{
		"anthropic-ratelimit-unified-status": {"rejected"}, "anthropic-ratelimit-unified-7d_oi-status": {"rejected"},
		"anthropic-ratelimit-unified-7d_oi-reset": {strconv.FormatInt(time.Now().Add(time.Hour).Unix(), 10)}}})
	if r.Action != Switch || r.Hold.Scope != "model:opus" || !r.Hold.Proven || r.Next.Account.ID != a[1].ID {
		t.Fatalf("%s %+v", r.Action, r.Hold)
	}
	if w.current("sim") != a[0].ID {
		t.Error("the pool moved")
	}
	tok, err := w.broker().Token(t.Context(), TokenRequest{})
	if err != nil || tok.Account.ID != a[0].ID {
		t.Errorf("another model gets %+v, %v", tok, err)
	}
}

// Next never leaves the fence and never passes a pin.
func TestReportHeedsFenceAndPin(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	office, err := addIn(w, "sim", "work", "office")
	testenv.Must(t, err)
	// A pinned account that is held is waited for.
	if r := w.report(pool.Selection{Account: "ada"}, limited(a[0], 3600)); r.Action != Wait || r.Next != nil || r.RetryAt.IsZero() {
		t.Fatalf("pinned: %s", r.Action)
	} else if late := time.Until(r.RetryAt) - r.RetryAfter; r.RetryAfter <= 0 || late > time.Millisecond {
		t.Errorf("retry after %v, at %v", r.RetryAfter, r.RetryAt)
	}
	// A report from outside of the fence is a fact about its account, and
	// changes nothing about where to go on.
	if r := w.report(pool.Selection{EnvPool: "work"}, limited(a[1], 3600)); r.Action != Switch || r.Next.Account.ID != office.ID {
		t.Fatalf("from outside: %s to %+v", r.Action, r.Next)
	}
	if r := w.report(pool.Selection{}, limited(a[1], 3600)); r.Action != Wait || r.Next != nil {
		t.Fatalf("the pool is spent and %s said %+v", r.Action, r.Next)
	}
	if r := w.report(pool.Selection{}, limited(office, 3600)); r.Action != Wait || r.Next != nil {
		t.Fatalf("the other pool is spent and %s said %+v", r.Action, r.Next)
	}
	if _, err := w.broker().Report(t.Context(), pool.Selection{Pool: "work", Account: "ada"}, limited(a[0], 60)); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("an account outside of the named pool: %v", err)
	}
	if _, err := w.broker().Report(t.Context(), pool.Selection{Provider: "other", Pool: "work"}, limited(a[0], 60)); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("a provider outside of the named pool: %v", err)
	}
}

// failover=false: the current account is as good as pinned.
func TestWithoutFailoverThePoolStays(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	testenv.Must(t, folder.ConfigSet(t.Context(), w.broker().Folder, "failover", "false"))
	if r := w.report(pool.Selection{}, limited(a[0], 3600)); r.Action != Wait || r.Next != nil || w.current("sim") != a[0].ID {
		t.Fatalf("%s, current %s", r.Action, w.current("sim"))
	}
	if _, err := w.broker().Token(t.Context(), TokenRequest{}); fault.CodeOf(err) != fault.AllHeld {
		t.Fatal(err)
	}
}

// A refused token is refreshed once, whoever says so; a newer one there is
// handed out.
func TestReportOfARefusedToken(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	refused := ReportRequest{Lease: lease(a[0].ID, 1), Status: 401}
	if r := w.report(pool.Selection{}, refused); r.Action != Retry || r.Next != nil || w.server.Ledger().TokenRequests != 0 {
		t.Fatalf("without --next: %s, %d requests", r.Action, w.server.Ledger().TokenRequests)
	}
	refused.Next = true
	for range 3 {
		r := w.report(pool.Selection{}, refused)
		if r.Action != Retry || r.Next == nil || r.Next.Lease != lease(a[0].ID, 2) || r.Account.Generation != 2 {
			t.Fatalf("%s %+v", r.Action, r.Next)
		}
	}
	if n := w.server.Ledger().TokenRequests; n != 1 {
		t.Fatalf("%d token requests, want 1", n)
	}
	// The new one, issued a moment ago, is refused as well: it is the account.
	refused.Lease = lease(a[0].ID, 2)
	r := w.report(pool.Selection{}, refused)
	if r.Action != Switch || r.Hold == nil || r.Hold.Proven || r.Next.Account.ID != a[1].ID {
		t.Fatalf("%s %+v", r.Action, r.Hold)
	}
	if n := w.server.Ledger().TokenRequests; n != 1 {
		t.Fatalf("%d token requests, want 1", n)
	}
	// A generation that was never handed out costs one refresh at most.
	refused.Lease = lease(a[1].ID, 1<<40)
	if r := w.report(pool.Selection{}, refused); r.Action != Retry || r.Next.Lease != lease(a[1].ID, 2) {
		t.Fatalf("%s %+v", r.Action, r.Next)
	}
}

// A refused token of a dead grant: the next account, or a person.
func TestReportFindsTheGrantDead(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	w.server.Revoke("ada")
	r := w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 401, Next: true})
	if r.Action != Switch || r.Next == nil || r.Next.Account.ID != a[1].ID || r.Account.State != pool.NeedsLogin {
		t.Fatalf("%s %+v", r.Action, r.Account)
	}
	w.server.Revoke("bob")
	r = w.report(pool.Selection{}, ReportRequest{Lease: lease(a[1].ID, 1), Status: 401, Next: true})
	if r.Action != LogIn || r.Next != nil {
		t.Fatalf("%s %+v", r.Action, r.Next)
	}
}

// The provider is down while a refused token has to be replaced: the login is
// kept, and the caller hears when to come again.
func TestReportWhileTheTokenEndpointIsDown(t *testing.T) {
	w, a := pooled(t, "ada")
	w.server.Inject(brokertest.Fault{On: brokertest.OnRefresh, Status: 503, Times: 2}) // the recovery fails too
	r := w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 401, Next: true})
	if r.Action != Retry || r.Next != nil || r.RetryAt.IsZero() || r.Account.State == pool.NeedsLogin {
		t.Fatalf("%s %+v", r.Action, r)
	}
}

// A success proves a guess wrong, never what the provider stated.
func TestSuccessClearsGuessesOnly(t *testing.T) {
	w, a := pooled(t, "ada")
	one := lease(a[0].ID, 1)
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 429})
	if w.account(a[0].ID).Holds[0].Proven {
		t.Fatal("a 429 without a time proves nothing")
	}
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 200})
	if h := w.account(a[0].ID).Holds; len(h) != 0 {
		t.Fatalf("%+v", h)
	}
	w.report(pool.Selection{}, limited(a[0], 3600))
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 200})
	if h := w.account(a[0].ID).Holds; len(h) != 1 || !h[0].Proven {
		t.Fatalf("%+v", h)
	}
}

// Usage comes with successes, and is shown.
func TestReportRemembersUsage(t *testing.T) {
	w, a := pooled(t, "ada")
	reset := time.Now().Add(time.Hour)
	for _, used := range []string{"0.25", "0.5"} {
		w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 1), Status: 200, Header: map[string][]string{
			"anthropic-ratelimit-unified-5h-utilization": {used}, "anthropic-ratelimit-unified-5h-reset": {strconv.FormatInt(reset.Unix(), 10)}, "anthropic-ratelimit-unified-5h-status": {"allowed"}}})
	}
	v, err := Info(w.broker().Folder, a[0].ID)
	if err != nil || len(v.Usage) != 1 || v.Usage[0].Used != 0.5 || v.Usage[0].Window != "5h" || v.Usage[0].ResetsAt.Sub(reset).Abs() > 3*time.Second {
		t.Fatalf("%+v %v", v.Usage, err)
	}
}

// A long hold that empties a pool is looked into by one caller in 15 minutes.
func TestProbe(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	w.report(pool.Selection{}, limited(a[0], 3*3600))
	w.report(pool.Selection{}, limited(a[1], 5*3600))
	token := func() error {
		_, err := w.broker().Token(t.Context(), TokenRequest{})
		return err
	}
	if fault.CodeOf(token()) != fault.AllHeld {
		t.Fatal("let through at once")
	}
	age := func(by time.Duration) {
		for _, x := range a {
			w.edit(x.ID, func(a *index.Account) {
				for i := range a.Holds {
					a.Holds[i].ReportedAt = a.Holds[i].ReportedAt.Add(-by)
					if !a.Holds[i].ProbedAt.IsZero() {
						a.Holds[i].ProbedAt = a.Holds[i].ProbedAt.Add(-by)
					}
				}
			})
		}
	}
	for range 3 {
		age(pool.ProbeEvery)
		let := make([]error, 20)
		var wg sync.WaitGroup
		for i := range let {
			wg.Go(func() { let[i] = token() })
		}
		wg.Wait()
		through := 0
		for _, err := range let {
			switch {
			case err == nil:
				through++
			case fault.CodeOf(err) != fault.AllHeld:
				t.Error(err)
			}
		}
		if through != 1 {
			t.Fatalf("%d callers were let through, want 1", through)
		}
	}
}
