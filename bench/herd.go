package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// herd starts a program n times at once. It returns when the last of them ended,
// what they said and how they failed.
func herd(n int, args ...string) (last time.Duration, said []string, failed []error) {
	said, failed = make([]string, n), make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			out, err := command(args).Output()
			said[i], failed[i] = string(out), err
		})
	}
	wg.Wait()
	return time.Since(start), said, failed
}

// herdOf is a row of which each run is n processes at once.
func herdOf(name string, n int, args ...string) row {
	return row{name: name, sample: func() (run, error) {
		last, _, failed := herd(n, args...)
		return run{wall: last}, errors.Join(failed...)
	}}
}

// parallel measures how long a process takes where many run beside it, each
// followed by the next.
func (b *bench) parallel() (*table, error) {
	t := &table{text: "So many processes at a time, each followed by the next: the time until all are done, divided by their number. That none of them fails is a condition of the table."}
	sizes := []int{1, 16, 64, 256}
	for _, n := range sizes {
		name, of := fmt.Sprintf("%d at a time", n), fmt.Sprintf("%d bare Gets", n)
		token, get := b.together(n, b.path("authferry"), "token", "--account", "bench"), b.together(n, b.path("bare"))
		t.add(row{name: name, of: of, sample: token}, row{name: of, sample: get})
	}
	if err := b.alternate(t, 10, 40*time.Second); err != nil {
		return nil, err
	}
	for _, n := range sizes {
		t.goal(fmt.Sprintf("throughput of a bare Get, %d at a time", n), "≥", 1, "×", t.ratio(fmt.Sprintf("%d bare Gets", n), fmt.Sprintf("%d at a time", n), wall))
	}
	return t, nil
}

// together is one run of many processes, n at a time.
func (b *bench) together(n int, args ...string) func() (run, error) {
	return func() (run, error) {
		total := int64(max(2*n, 60))
		var started, failed atomic.Int64
		var wg sync.WaitGroup
		start := time.Now()
		for range n {
			wg.Go(func() {
				for started.Add(1) <= total {
					if command(args).Run() != nil {
						failed.Add(1)
					}
				}
			})
		}
		wg.Wait()
		if f := failed.Load(); f > 0 {
			return run{}, fmt.Errorf("%d of %d processes failed", f, total)
		}
		return run{wall: time.Since(start) / time.Duration(total)}, nil
	}
}

// expired is one run of n processes that find the token expired.
func (b *bench) expired(n int) func() (run, error) {
	round := 0
	return func() (run, error) {
		round++
		label := fmt.Sprintf("expired-%d-%d", n, round)
		if err := b.addAccount(nil, label, -time.Hour); err != nil {
			return run{}, err
		}
		before := b.server.TokenRequests()
		last, _, failed := herd(n, b.path("authferry"), "token", "--account", label)
		_, err := b.authferry(nil, "", "remove", label, "--no-revoke", "--yes")
		if sent := b.server.TokenRequests() - before; sent != 1 {
			err = errors.Join(err, fmt.Errorf("%d token requests for one refresh", sent))
		}
		return run{wall: last}, errors.Join(err, errors.Join(failed...))
	}
}

// expiry measures many processes that find the token expired.
func (b *bench) expiry() (*table, error) {
	t := &table{text: fmt.Sprintf("The time until the last has its token. The token endpoint answers in %d ms, and revokes a login whose refresh token comes twice; one request, however many processes, is a condition of the table. The rotation of one process includes the refresh in a process of its own.", latency.Milliseconds())}
	for _, n := range []int{1, 16, 64, 256} {
		many := row{name: fmt.Sprintf("%d at expiry", n), sample: b.expired(n)}
		if n > 1 {
			many.of = fmt.Sprintf("%d bare Gets", n)
			t.add(herdOf(many.of, n, b.path("bare")))
		}
		t.add(many)
	}
	if err := b.alternate(t, 10, 30*time.Second); err != nil {
		return nil, err
	}
	t.goal("a rotation, over the endpoint's latency", "≤", 40, "ms", t.estimate(func(q quantiles) float64 {
		return q("1 at expiry", 0.5, wall) - float64(latency.Milliseconds())
	}))
	t.goal("the last of 256 at expiry, of bare Gets and that latency", "≤", 1, "×", t.estimate(func(q quantiles) float64 {
		return q("256 at expiry", 0.5, wall) / (q("256 bare Gets", 0.5, wall) + float64(latency.Milliseconds()))
	}))
	return t, nil
}

// failing measures callers while the token endpoint answers 503: one request in
// each back-off window, and nobody waits for it to end.
func (b *bench) failing() (*table, error) {
	const callers = 100
	if err := b.addAccount(nil, "failing", -time.Hour); err != nil {
		return nil, err
	}
	b.server.Inject(brokertest.Fault{User: "failing", Times: -1, Status: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "3"}})
	defer b.server.ClearFaults()
	var free time.Time
	window := func() (run, error) {
		time.Sleep(time.Until(free))
		before := b.server.TokenRequests()
		last, said, failed := herd(callers, b.path("authferry"), "token", "--account", "failing", "--json")
		if sent := b.server.TokenRequests() - before; sent > 1 || slices.Contains(failed, nil) {
			return run{}, fmt.Errorf("%d token requests in one back-off window, or a token though the endpoint fails", sent)
		}
		for _, s := range said {
			var doc struct {
				Error struct {
					RetryAt time.Time `json:"retry_at"`
				} `json:"error"`
			}
			if err := json.Unmarshal([]byte(s), &doc); err != nil {
				return run{}, err
			}
			if after := doc.Error.RetryAt.Add(time.Second); after.After(free) {
				free = after
			}
		}
		return run{wall: last}, nil
	}
	t := &table{text: fmt.Sprintf("%d processes at once, each time the back-off is over: the time until the last of them has its answer. The endpoint answers 503 at once, with Retry-After: 3; at most one request in each of these windows is a condition of the table.", callers)}
	of := fmt.Sprintf("%d bare Gets", callers)
	t.add(row{name: "the slowest answer", of: of, sample: window}, herdOf(of, callers, b.path("bare")))
	if err := b.alternate(t, 4, 15*time.Second); err != nil {
		return nil, err
	}
	t.goal("slowest answer while the endpoint fails, of bare Gets", "≤", 1, "×", t.ratio("the slowest answer", of, wall))
	return t, nil
}

// slow measures a stored token while somebody else's refresh of the same account
// is under way.
func (b *bench) slow() (*table, error) {
	if err := b.addAccount(nil, "slow", time.Hour); err != nil {
		return nil, err
	}
	answer := make(chan struct{})
	b.server.Inject(brokertest.Fault{User: "slow", Until: answer})
	refreshed := make(chan error, 1)
	go func() {
		_, err := b.authferry(nil, "", "refresh", "slow")
		refreshed <- err
	}()
	patience, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	err := b.server.WaitFor(patience, func(l brokertest.Ledger) bool { return l.Inflight["slow"] > 0 })
	t := &table{text: "The token endpoint takes its time. Meanwhile the token that still lives is handed out."}
	const rest, busy = "the account is at rest", "the account is being refreshed"
	t.add(b.token(busy, "--account", "slow").against(rest), b.token(rest, "--account", "bench"))
	if err == nil {
		err = b.alternate(t, 150, 4*time.Second)
	}
	close(answer)
	if err := errors.Join(err, <-refreshed); err != nil {
		return nil, err
	}
	t.goal("a hit during a slow refresh, of one at rest", "≤", 1.15, "×", t.ratio(busy, rest, wall))
	return t, nil
}
