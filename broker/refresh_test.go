package broker

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// A person can always try again: a back-off of our own doesn't count, one that the
// provider asked for counts unless they say --now, and that is good once in 30 s.
func TestAPersonTriesAgain(t *testing.T) {
	for _, row := range []struct {
		name   string
		fault  brokertest.Fault
		stated bool
	}{
		{"throttled, for a day", brokertest.Fault{Status: 429, Header: map[string]string{"Retry-After": "86400"}}, true},
		{"busy, for an hour", brokertest.Fault{Status: 503, Header: map[string]string{"Retry-After": "3600"}}, true},
		{"throttled", brokertest.Fault{Status: 429}, false},
		{"refused", brokertest.Fault{Status: 400, Body: `{"error":"user_suspended"}`}, false},
		{"client refused", brokertest.Fault{Status: 401, Body: `{"error":"invalid_client"}`}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{})
			a := w.add("ada", -time.Second)
			b := w.broker()
			fail := func() {
				t.Helper()
				w.change(a.ID, func(a *index.Account) { a.Failure = nil })
				w.server.ClearFaults()
				w.server.Inject(row.fault)
				expireToken(w, a.ID)
				if _, err := b.Token(t.Context(), TokenRequest{}); fault.CodeOf(err) != fault.ProviderRefused {
					t.Fatalf("token: %v", err)
				}
				w.change(a.ID, func(a *index.Account) { // a slow machine takes longer than a short one lasts
					if !row.stated {
						a.Failure.NextTryAt = a.Failure.NextTryAt.Add(time.Minute)
					}
				})
			}
			fail()
			if v, err := Info(b.Folder, "ada"); err != nil || v.Backoff == nil || v.Backoff.Stated != row.stated || v.Backoff.Reason == "" ||
				time.Since(v.Backoff.Since) > time.Minute || time.Until(v.Backoff.Until) <= 0 {
				t.Errorf("%+v, %v", v.Backoff, err)
			}
			s, err := Status(b.Folder)
			if err != nil || !strings.Contains(s.Pools[0].Reason, "can't be refreshed until") {
				t.Errorf("%+v, %v", s, err)
			}
			if _, err := b.Token(t.Context(), TokenRequest{}); fault.CodeOf(err) != fault.ProviderRefused {
				t.Errorf("a token within the back-off: %v", err)
			}
			_, err = b.Refresh(t.Context(), "ada")
			if e, _ := errors.AsType[*fault.Error](err); row.stated != (err != nil) || row.stated && (e.RetryAt.IsZero() || !slices.Equal(e.Next, []fault.Remedy{{Do: fault.RefreshNow, Account: "ada"}})) {
				t.Errorf("refresh: %v", err)
			}
			fail()
			if _, err := b.RefreshNow(t.Context(), "ada"); err != nil {
				t.Errorf("refresh --now: %v", err)
			}
			if v, err := Info(b.Folder, "ada"); err != nil || v.Backoff != nil {
				t.Errorf("%+v, %v", v.Backoff, err)
			}
			n := w.server.Ledger().TokenRequests
			_, err = b.RefreshNow(t.Context(), "ada")
			if e, _ := errors.AsType[*fault.Error](err); e == nil || e.Code != fault.ProviderRefused || e.RetryAt.IsZero() || w.server.Ledger().TokenRequests != n {
				t.Errorf("refresh --now again: %v", err)
			}
			fail()
			testenv.Must(t, testenv.Err(account.ClearHolds(t.Context(), b.Folder, "ada", "")))
			if _, err := b.Token(t.Context(), TokenRequest{}); err != nil {
				t.Errorf("after holds clear: %v", err)
			}
		})
	}
}

// People, or their scripts, who ask at once cause one request and adopt its result,
// a failure as well.
func TestRefreshesAtOnceAreOne(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	a := w.add("ada", -time.Second)
	release := make(chan struct{})
	// The pause after it is a minute, which a person doesn't wait for.
	w.server.Inject(brokertest.Fault{Status: 401, Header: map[string]string{"Content-Type": "application/json"}, Body: `{"error":"invalid_client"}`, Until: release})
	errs := make([]error, 6)
	var wg, waiting sync.WaitGroup
	waiting.Add(len(errs))
	for i := range errs {
		wg.Go(func() {
			_, errs[i] = New(Options{Dir: w.dir, Waiting: waiting.Done}).Refresh(t.Context(), a.ID)
		})
	}
	waiting.Wait()
	w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] == 1 })
	close(release)
	wg.Wait()
	for _, err := range errs {
		if fault.CodeOf(err) != fault.ProviderRefused {
			t.Error(err)
		}
	}
	if n := w.server.Ledger().TokenRequests; n != 1 {
		t.Errorf("%d token requests, want 1", n)
	}
}

// All of them: who is disabled, is a key or has no refresh token is left out, and a
// time that a provider stated is kept to.
func TestRefreshAll(t *testing.T) {
	w := newWorld(t, brokertest.Config{Users: []string{"ada", "bob", "cat", "dan"}})
	w.add("ada", time.Hour)
	bob := w.add("bob", time.Hour)
	cat := w.add("cat", time.Hour)
	dan := w.add("dan", time.Hour)
	w.edit(bob.ID, func(a *index.Account) {
		a.Failure = &index.Failure{Class: "throttled", Message: "m", Count: 1, At: time.Now(), NextTryAt: time.Now().Add(time.Hour), Stated: true}
	})
	w.edit(cat.ID, func(a *index.Account) { a.Disabled = true })
	w.edit(dan.ID, func(a *index.Account) {
		a.Failure = &index.Failure{Class: "unknown", Message: "m", Count: 1, At: time.Now(), NextTryAt: time.Now().Add(time.Minute)}
	})
	done, err := w.broker().RefreshAll(t.Context())
	if err != nil || len(done) != 3 {
		t.Fatalf("%+v, %v", done, err)
	}
	for _, d := range done {
		if waits := d.Account.ID == bob.ID; waits != (d.Err != nil) || !waits && d.Account.Generation != 2 {
			t.Errorf("%s: %+v, %v", d.Account.Label, d.Account.Generation, d.Err)
		}
	}
	if n := w.server.Ledger().TokenRequests; n != 2 {
		t.Errorf("%d token requests, want 2", n)
	}
}
