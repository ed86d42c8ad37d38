package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// The account in use is in trouble and the next one is there, valid or due for a
// refresh: whose token is handed out, who is asked, and who stays current.
func TestPassedOver(t *testing.T) {
	t.Parallel()
	answer := func(status int, body string) brokertest.Fault {
		return brokertest.Fault{User: "ada", Status: status, Body: body, Times: -1}
	}
	patience := answer(429, `{"error":"rate_limited"}`)
	patience.Header = map[string]string{"Retry-After": "3600"}
	for _, row := range []struct {
		name   string
		fault  brokertest.Fault
		own    bool // the account's own trouble
		moves  bool // and the pool goes on for good
		sends  int  // of ada's refresh token
		pinned fault.Code
	}{
		{"invalid_grant", answer(400, `{"error":"invalid_grant"}`), true, true, 1, fault.LoginNeeded},
		{"final by another name", answer(401, `{"error":{"code":"app_session_terminated"}}`), true, true, 1, fault.LoginNeeded},
		{"names the grant", answer(400, `{"error":"user_suspended"}`), true, false, 1, fault.ProviderRefused},
		{"429 for an hour", patience, false, false, 1, fault.ProviderRefused},
		{"429", answer(429, ""), false, false, 1, fault.ProviderRefused},
		{"500", answer(500, ""), false, false, 2, fault.ProviderUnreachable}, // the second is the recovery
		{"502", answer(502, "<html>"), false, false, 2, fault.ProviderUnreachable},
		{"invalid_client", answer(401, `{"error":"invalid_client"}`), false, false, 1, fault.ProviderRefused},
		{"a web page", answer(200, "<html>portal</html>"), false, false, 2, fault.ProviderUnreachable},
	} {
		for _, due := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the next one due %v", row.name, due), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob", "cat"}})
				ada := w.add("ada", -time.Second)
				ttl := time.Hour
				if due {
					ttl = -time.Second
				}
				bob := w.add("bob", ttl)
				w.server.Inject(row.fault)
				warned := ""
				b := New(Options{Dir: w.dir, Warn: func(m string, _ ...fault.Remedy) { warned += m + "\n" }})
				for range 2 { // the second knows of the trouble from the index
					tok, err := b.Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
					w.change(ada.ID, func(a *index.Account) {
						if a.Failure != nil { // a slow machine takes longer than a short one lasts
							a.Failure.NextTryAt = a.Failure.NextTryAt.Add(time.Minute)
						}
					})
					if due && !row.own {
						e, _ := errors.AsType[*fault.Error](err)
						if e == nil || e.Code != row.pinned || e.RetryAt.IsZero() {
							t.Fatalf("%+v, %v", tok, err)
						}
						continue
					}
					if err != nil || tok.Account.ID != bob.ID {
						t.Fatalf("%+v, %v", tok, err)
					}
					if !strings.Contains(warned, `account "ada"`) || !strings.Contains(warned, `using "bob"`) {
						if !row.moves {
							t.Errorf("warned: %q", warned)
						}
					}
					warned = ""
				}
				l := w.server.Ledger()
				want := row.sends
				if due && row.own {
					want++
				}
				if n := sends(l); n != want {
					t.Errorf("%d refresh tokens were sent, want %d", n, want)
				}
				if moved := w.current("sim") == bob.ID; moved != row.moves {
					t.Errorf("bob is current: %v", moved)
				}
				if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}, MinTTL: pool.DefaultMinTTL}); fault.CodeOf(err) != row.pinned {
					t.Errorf("pinned: %v, want %s", err, row.pinned)
				} else if e, _ := errors.AsType[*fault.Error](err); row.pinned != fault.LoginNeeded && e.RetryAt.IsZero() {
					t.Errorf("pinned, without a time: %v", err)
				}
			})
		}
	}
}

// An outage does not walk through the pool: however many accounts are due, one of
// them is asked for, and nothing is refreshed behind either.
func TestOutageDoesNotWalkThroughThePool(t *testing.T) {
	w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob", "cat", "dan"}})
	w.add("ada", -time.Second)
	w.add("bob", -time.Second)
	w.add("cat", -time.Second)
	dan := w.add("dan", 100*time.Second)
	lengthenToken(w, dan.ID) // in its soft margin
	w.server.Inject(brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "50"}, Times: -1})
	for range 5 {
		tok, err := w.broker().Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})
		if err != nil || tok.Account.ID != dan.ID {
			t.Fatalf("%v, %v", tok, err)
		}
	}
	w.waitForRotators()
	if n := w.server.Ledger().TokenRequests; n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// What is free but can't serve is told with the first moment at which anything may
// help, and a caller that waits is served by whom that is.
func TestFreeButOfNoUse(t *testing.T) {
	w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob"}})
	ada := w.add("ada", time.Hour)
	w.add("bob", -time.Second)
	w.server.Inject(brokertest.Fault{User: "bob", Status: 429, Header: map[string]string{"Retry-After": "3600"}, Times: -1})
	held := func(d time.Duration) time.Time {
		until := time.Now().Add(d)
		w.edit(ada.ID, func(a *index.Account) {
			a.Holds = []index.Hold{{Scope: "*", Until: until, Source: "retry-after", Proven: true, ReportedAt: time.Now()}}
		})
		return until
	}
	until := held(time.Minute)
	b := w.broker()
	_, err := b.Token(t.Context(), TokenRequest{})
	if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Code != fault.ProviderRefused || !e.RetryAt.Equal(until.UTC()) && e.RetryAt.Sub(until).Abs() > time.Millisecond {
		t.Fatalf("%v", err)
	}
	held(700 * time.Millisecond)
	tok, err := b.WaitToken(testenv.Patience(t), TokenRequest{}, 0, func(*fault.Error) {})
	if err != nil || tok.Account.ID != ada.ID {
		t.Fatalf("%v, %v", tok, err)
	}
}

// A token that the API refused is not handed out again while another account is free,
// to nobody, whatever becomes of its refresh.
func TestRefusedTokenIsNotHandedOutAgain(t *testing.T) {
	for name, broken := range map[string]brokertest.Fault{
		"no answer": {User: "ada", Status: 500, Times: -1},
		"throttled": {User: "ada", Status: 429, Header: map[string]string{"Retry-After": "600"}, Times: -1},
		"refused":   {User: "ada", Status: 400, Body: `{"error":"user_suspended"}`, Times: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, a := pooled(t, "ada", "bob")
			w.server.Inject(broken)
			one := lease(a[0].ID, 1)
			refused := ReportRequest{Lease: one, Status: 401, Next: true}
			if r := w.report(pool.Selection{}, refused); r.Action != Switch || r.Next == nil || r.Next.Account.ID != a[1].ID {
				t.Fatalf("reported: %s %+v", r.Action, r.Next)
			}
			for _, rejected := range []string{"", one, ""} {
				tok, err := w.broker().Token(t.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL, Rejected: rejected})
				if err != nil || tok.Account.ID != a[1].ID {
					t.Fatalf("rejected %q: %v, %v", rejected, tok, err)
				}
			}
			if got := w.current("sim"); got != a[0].ID {
				t.Errorf("current is %s", got)
			}
			// Pinned, and where the other one is no use, it is better than nothing, but not
			// for who says that it was refused.
			if tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}}); err != nil || tok.Lease != one {
				t.Errorf("pinned: %v, %v", tok, err)
			}
			if _, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Account: "ada"}, Rejected: one}); fault.CodeOf(err) != fault.ProviderRefused && fault.CodeOf(err) != fault.ProviderUnreachable {
				t.Errorf("pinned and rejected: %v", err)
			}
			testenv.Must(t, testenv.Err(account.Disable(t.Context(), w.broker().Folder, "bob")))
			if tok, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil || tok.Lease != one {
				t.Errorf("alone: %v, %v", tok, err)
			}
			if r := w.report(pool.Selection{}, refused); r.Action != Retry || r.Next != nil || r.RetryAt.IsZero() || r.RetryAfter <= 0 {
				t.Errorf("alone, reported: %+v", r)
			}
		})
	}
}

// A 401 that is only reported is remembered as well; a success with that token, or a
// newer one, ends it.
func TestReportedRefusalIsRemembered(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	one := lease(a[0].ID, 1)
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 401})
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 200})
	if tok, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil || tok.Lease != one {
		t.Fatalf("after a success: %v, %v", tok, err)
	}
	w.report(pool.Selection{}, ReportRequest{Lease: one, Status: 401})
	if tok, err := w.broker().Token(t.Context(), TokenRequest{}); err != nil || tok.Lease != lease(a[0].ID, 2) {
		t.Fatalf("after the refusal: %v, %v", tok, err)
	}
	if n := w.server.Ledger().TokenRequests; n != 1 {
		t.Errorf("%d token requests", n)
	}
	// It can't be refreshed again so soon: the next report says that another one is used.
	w.edit(a[0].ID, func(a *index.Account) { a.ObtainedAt = a.ObtainedAt.Add(-time.Minute) })
	if r := w.report(pool.Selection{}, ReportRequest{Lease: lease(a[0].ID, 2), Status: 401}); r.Action != Switch {
		t.Errorf("%s", r.Action)
	}
}

// A key that was refused is left alone for a moment where another account serves.
func TestRejectedKey(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	w.edit(a[0].ID, func(a *index.Account) { a.Kind = index.KindAPIKey })
	tok, err := w.broker().Token(t.Context(), TokenRequest{Rejected: lease(a[0].ID, 1)})
	if err != nil || tok.Account.ID != a[1].ID {
		t.Fatalf("%v, %v", tok, err)
	}
	if h := w.account(a[0].ID).Holds; len(h) != 1 || h[0].Proven {
		t.Errorf("%+v", h)
	}
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), w.broker().Folder, "bob")))
	w.edit(a[0].ID, func(a *index.Account) { a.Holds = nil })
	if _, err := w.broker().Token(t.Context(), TokenRequest{Rejected: lease(a[0].ID, 1)}); fault.CodeOf(err) != fault.ProviderRefused {
		t.Errorf("alone: %v", err)
	}
}

// What a person does to an account while a caller waits for its refresh counts for
// that caller.
func TestLeftWhileWaiting(t *testing.T) {
	ctx := context.Background()
	removing := func(b *Broker, _ string) error {
		return b.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
			a, err := pool.FindAccount(idx, "ada", "")
			if err == nil {
				a.Removing = true
			}
			return err
		})
	}
	for _, row := range []struct {
		name   string
		ask    TokenRequest
		change func(b *Broker, dir string) error
		want   fault.Code // "": bob's token
		still  bool       // ada's is right
	}{
		{name: "disabled", change: func(b *Broker, _ string) error { _, err := account.Disable(ctx, b.Folder, "ada"); return err }},
		{name: "moved", change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "being removed", change: removing},
		{name: "held", change: func(b *Broker, _ string) error {
			return b.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
				a, err := pool.FindAccount(idx, "ada", "")
				if err == nil {
					a.Holds = []index.Hold{{Scope: "*", Until: time.Now().Add(time.Hour), Source: "x", Proven: true, ReportedAt: time.Now()}}
				}
				return err
			})
		}},
		{name: "moved, provider named", ask: TokenRequest{Selection: pool.Selection{Provider: "sim"}}, change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "moved, pool named", ask: TokenRequest{Selection: pool.Selection{Pool: "sim"}}, change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "moved, pool in the environment", ask: TokenRequest{Selection: pool.Selection{EnvPool: "sim"}}, change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "both moved", change: func(b *Broker, _ string) error {
			_, err := account.Move(ctx, b.Folder, "ada", "personal")
			if err == nil {
				_, err = account.Move(ctx, b.Folder, "bob", "personal")
			}
			return err
		}, want: fault.Fenced},
		{name: "pinned and disabled", ask: TokenRequest{Selection: pool.Selection{Account: "ada"}}, want: fault.NoAccount, change: func(b *Broker, _ string) error { _, err := account.Disable(ctx, b.Folder, "ada"); return err }},
		{name: "pinned and removed", ask: TokenRequest{Selection: pool.Selection{Account: "ada"}}, want: fault.NoAccount, change: removing},
		{name: "pinned, fenced and moved", ask: TokenRequest{Selection: pool.Selection{Account: "ada", Pool: "sim"}}, want: fault.Fenced, change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "pinned and moved, no fence", ask: TokenRequest{Selection: pool.Selection{Account: "ada"}}, still: true, change: func(b *Broker, _ string) error { _, err := account.Move(ctx, b.Folder, "ada", "personal"); return err }},
		{name: "directory bound meanwhile", want: fault.Fenced, change: func(b *Broker, dir string) error {
			if _, err := account.Move(ctx, b.Folder, "ada", "personal"); err != nil {
				return err
			}
			_, err := account.Bind(ctx, b.Folder, dir, "", "personal")
			return err
		}},
		{name: "nothing", still: true, change: func(*Broker, string) error { return nil }},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob"}})
			release := make(chan struct{})
			w.server.Inject(brokertest.Fault{User: "ada", Until: release})
			ada := w.add("ada", -time.Second)
			bob := w.add("bob", time.Hour)
			dir := t.TempDir()
			row.ask.Dir, row.ask.MinTTL = dir, pool.DefaultMinTTL
			type got struct {
				tok *Token
				err error
			}
			done := make(chan got)
			go func() {
				tok, err := w.broker().Token(t.Context(), row.ask)
				done <- got{tok, err}
			}()
			w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })
			err := row.change(New(Options{Dir: w.dir, Warn: func(string, ...fault.Remedy) {}}), dir)
			close(release)
			g := <-done
			testenv.Must(t, err)
			want := bob.ID
			if row.still {
				want = ada.ID
			}
			switch {
			case row.want != "" && (fault.CodeOf(g.err) != row.want || g.tok != nil):
				t.Errorf("%v, %v; want %s", g.tok, g.err, row.want)
			case row.want == "" && (g.err != nil || g.tok.Account.ID != want):
				t.Errorf("%v, %v; want %s", g.tok, g.err, want)
			}
		})
	}
}

// Who waits for an account to be free, after a lease whose pool nobody named, stays
// in that pool although the account leaves it.
func TestLeftWhileEveryoneIsHeld(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	for _, x := range a {
		w.edit(x.ID, func(a *index.Account) {
			a.Holds = []index.Hold{{Scope: "*", Until: time.Now().Add(time.Hour), Source: "x", Proven: true, ReportedAt: time.Now()}}
		})
	}
	b := w.broker()
	tok, err := b.WaitToken(t.Context(), TokenRequest{Rejected: lease(a[0].ID, 1)}, 0, func(*fault.Error) {
		testenv.Check(t, testenv.Err(account.Move(t.Context(), b.Folder, "ada", "personal")))
		for _, x := range a {
			w.edit(x.ID, func(a *index.Account) { a.Holds = nil })
		}
	})
	if err != nil || tok.Account.ID != a[1].ID {
		t.Fatalf("%v, %v", tok, err)
	}
}

// A refresh that hangs at the provider is waited for once, for a caller's patience; after
// that nobody waits for it whom another account can serve.
func TestStuckRefreshIsPassedOver(t *testing.T) {
	if lock.ThisProcess() == "" {
		t.Skip("needs a system that tells whether a process still runs")
	}
	w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob"}})
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{User: "ada", Until: release})
	defer func() { close(release); w.waitForRotators() }()
	ada := w.add("ada", -time.Second)
	bob := w.add("bob", time.Hour)
	if got := w.askApart("AUTHFERRY_HTTP_TIMEOUT=200ms"); got.err != nil || !strings.Contains(got.text, `using "bob"`) {
		t.Fatalf("%+v", got)
	}
	w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })
	// Nobody holds what a caller would have to wait for: it isn't asked for.
	gate, err := lock.TryAcquire(lock.Gate(ada.ID).In(w.dir))
	testenv.Must(t, err)
	defer gate.Release()
	w.edit(ada.ID, func(a *index.Account) { a.Intents[0].StartedAt = time.Now().Add(-time.Hour) })
	if tok, err := New(Options{Dir: w.dir, HTTPTimeout: time.Hour}).Token(testenv.Patience(t), TokenRequest{}); err != nil || tok.Account.ID != bob.ID {
		t.Fatalf("%v, %v", tok, err)
	}
	if n := w.server.Ledger().Inflight["ada"]; n != 1 {
		t.Errorf("%d requests under way", n)
	}
}
