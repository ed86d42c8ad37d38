package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

var herds = []int{1, 16, 64, 256}

// parallel measures how many processes a second get a stored token.
func (b *bench) parallel() (result, error) {
	r := result{
		text:   "So many processes at a time, each followed by the next; the best of three runs in turn.",
		header: []string{"at a time", "authferry token /s", "bare Get /s", "ratio", "failures"},
		unit:   "processes per second",
	}
	programs := []program{b.token("--account", "bench"), b.bare()}
	failed := 0
	for _, n := range herds {
		var rates [2]float64
		failures := 0
		for range b.rounds(3) {
			for i, p := range programs {
				rate, lost := throughput(p, n, b.rounds(max(2*n, 250)))
				if lost > 0 && i > 0 {
					return r, fmt.Errorf("%d runs of %s failed", lost, p.name)
				}
				rates[i] = max(rates[i], rate)
				failures += lost
			}
		}
		r.add(fmt.Sprint(n), f0(rates[0]), f0(rates[1]), f2(rates[0]/rates[1]), fmt.Sprint(failures))
		r.bars = append(r.bars, bar{fmt.Sprintf("%d, authferry token", n), rates[0], 0, true}, bar{fmt.Sprintf("%d, bare Get", n), rates[1], 0, false})
		if n > 1 {
			r.atLeast(fmt.Sprintf("throughput of a bare Get, %d at a time", n), 0.95, rates[0]/rates[1], "×").beside =
				fmt.Sprintf("%.0f a second, and %.0f bare", rates[0], rates[1])
		}
		failed += failures
	}
	r.atMost("processes that failed, of all these", 0, float64(failed), "")
	return r, nil
}

// throughput runs p total times, n at a time.
func throughput(p program, n, total int) (perSecond float64, failures int) {
	var started, failed atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range n {
		wg.Go(func() {
			for started.Add(1) <= int64(max(total, n)) {
				if p.command().Run() != nil {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	return float64(max(total, n)) / time.Since(start).Seconds(), int(failed.Load())
}

// herd starts p n times at once. It returns when each ended, counted from the
// start of all, how long each took by itself, and what they said.
func herd(p program, n int) (ended, took []run, said []string, err error) {
	ended, took, said = make([]run, n), make([]run, n), make([]string, n)
	failed := make([]error, n)
	var wg sync.WaitGroup
	start := time.Now()
	for i := range n {
		wg.Go(func() {
			begun := time.Now()
			out, err := p.command().Output()
			ended[i].wall, took[i].wall = time.Since(start), time.Since(begun)
			said[i], failed[i] = string(out), err
		})
	}
	wg.Wait()
	return ended, took, said, errors.Join(failed...)
}

// expiry measures many processes that find the token expired.
func (b *bench) expiry() (result, error) {
	r := result{
		text:   fmt.Sprintf("The token endpoint answers in %d ms, and revokes a login whose refresh token comes twice. Medians; the rotation of one process includes the refresh in a process of its own.", latency.Milliseconds()),
		header: []string{"processes", "token requests", "first served ms", "last served ms", "over the endpoint's latency ms"},
		unit:   "ms until the last has its token",
	}
	requests := 0
	for _, n := range []int{1, 2, 16, 64, 256} {
		rounds := b.rounds(5)
		if n == 1 {
			rounds = b.rounds(10)
		}
		for i := range rounds {
			if err := b.addAccount(nil, expiring(n, i), 1); err != nil {
				return r, err
			}
		}
		time.Sleep(1100 * time.Millisecond)
		var first, last, floor []run
		most := 0
		for i := range rounds {
			bare := b.bare()
			if n == 1 {
				bare = b.writes()
			}
			alone, _, _, err := herd(bare, n)
			if err != nil {
				return r, err
			}
			floor = append(floor, run{wall: quantile(alone, 1, wall)})
			before, err := b.requests()
			if err != nil {
				return r, err
			}
			ended, _, _, err := herd(b.token("--account", expiring(n, i)), n)
			if err != nil {
				return r, err
			}
			after, err := b.requests()
			if err != nil {
				return r, err
			}
			most = max(most, after-before)
			first = append(first, run{wall: quantile(ended, 0, wall)})
			last = append(last, run{wall: quantile(ended, 1, wall)})
		}
		end := median(last, wall)
		r.add(fmt.Sprint(n), fmt.Sprint(most), f0(ms(median(first, wall))), f0(ms(end)), f0(ms(end-latency)))
		r.bars = append(r.bars, bar{fmt.Sprint(n), ms(end), ms(quantile(last, 1, wall)), true})
		requests = max(requests, most)
		if n == 1 {
			r.atMost("a rotation, over the endpoint's latency", 65, ms(end-latency), "ms").beside =
				fmt.Sprintf("its keychain calls alone: %.0f ms", ms(median(floor, wall)))
		}
		if n == 256 {
			r.atMost("the last of 256 at expiry", 1300, ms(end), "ms").beside =
				fmt.Sprintf("the last of 256 bare Gets: %.0f ms", ms(median(floor, wall)))
		}
		for i := range rounds {
			if _, err := b.authferry("remove", expiring(n, i), "--no-revoke", "--yes"); err != nil {
				return r, err
			}
		}
	}
	r.atMost("token requests at expiry, however many processes", 1, float64(requests), "")
	return r, nil
}

func expiring(herd, round int) string { return fmt.Sprintf("expiring-%d-%d", herd, round) }

// failing measures callers while the token endpoint answers 503: one request in
// each back-off window, and nobody waits for it to end.
func (b *bench) failing() (result, error) {
	const callers = 100
	r := result{
		text:   fmt.Sprintf("%d processes at once, each time the back-off is over; the endpoint answers 503 at once, with Retry-After: 3.", callers),
		header: []string{"window", "token requests", "median answer ms", "p95 ms", "slowest ms", fmt.Sprintf("slowest of %d bare Gets ms", callers)},
	}
	if err := b.addAccount(nil, "failing", 1); err != nil {
		return r, err
	}
	if err := b.setLatency(0); err != nil {
		return r, err
	}
	if err := b.control(`{"fault":{"status":503,"header":{"Retry-After":"3"},"user":"failing","times":-1}}`, new(any)); err != nil {
		return r, err
	}
	time.Sleep(1100 * time.Millisecond)
	p := b.token("--account", "failing", "--json")
	var slowest, floor []run
	requests := 0
	for window := range b.rounds(4) {
		before, err := b.requests()
		if err != nil {
			return r, err
		}
		_, took, said, err := herd(p, callers)
		if err == nil {
			return r, errors.New("a token was served though the endpoint fails")
		}
		after, err := b.requests()
		if err != nil {
			return r, err
		}
		_, bare, _, err := herd(b.bare(), callers)
		if err != nil {
			return r, err
		}
		r.add(fmt.Sprint(window+1), fmt.Sprint(after-before), f0(ms(median(took, wall))), f0(ms(quantile(took, 0.95, wall))),
			f0(ms(quantile(took, 1, wall))), f0(ms(quantile(bare, 1, wall))))
		slowest = append(slowest, run{wall: quantile(took, 1, wall)})
		floor = append(floor, run{wall: quantile(bare, 1, wall)})
		requests = max(requests, after-before)
		time.Sleep(time.Until(retryAt(said)) + 100*time.Millisecond)
	}
	r.atMost(fmt.Sprintf("token requests of %d callers in a back-off window", callers), 1, float64(requests), "")
	r.atMost("slowest answer while the endpoint fails", 200, ms(median(slowest, wall)), "ms").beside =
		fmt.Sprintf("the slowest of %d bare Gets at once: %.0f ms", callers, ms(median(floor, wall)))
	return r, errors.Join(b.control(`{"clear":true}`, new(any)), b.setLatency(latency))
}

// retryAt is the latest moment that callers were told to come back at.
func retryAt(said []string) time.Time {
	var moments []time.Time
	for _, s := range said {
		var doc struct {
			Error struct {
				RetryAt time.Time `json:"retry_at"`
			} `json:"error"`
		}
		if json.Unmarshal([]byte(strings.TrimSpace(s)), &doc) == nil {
			moments = append(moments, doc.Error.RetryAt)
		}
	}
	return slices.MaxFunc(append(moments, time.Time{}), time.Time.Compare).Add(time.Second)
}

// slow measures a stored token while somebody else's refresh of the same account
// is under way.
func (b *bench) slow() (result, error) {
	const answer = 4 * time.Second
	r := result{
		text:   fmt.Sprintf("The token endpoint takes %v. In the meantime the token that still lives is handed out.", answer),
		header: []string{"the account", "median ms", "p95 ms"},
	}
	if err := b.addAccount(nil, "slow", 3600); err != nil {
		return r, err
	}
	if err := b.setLatency(answer); err != nil {
		return r, err
	}
	before, err := b.requests()
	if err != nil {
		return r, err
	}
	refresh := make(chan error, 1)
	begun := time.Now()
	go func() {
		_, err := b.authferry("refresh", "slow")
		refresh <- err
	}()
	for now := before; now == before; time.Sleep(5 * time.Millisecond) {
		select {
		case err := <-refresh:
			return r, fmt.Errorf("the refresh ended without a request (%w)", err)
		default:
		}
		if now, err = b.requests(); err != nil {
			return r, err
		}
	}
	programs := []program{b.token("--account", "slow"), b.token("--account", "bench")}
	runs, err := alternate(b.rounds(100), programs)
	if err != nil {
		return r, err
	}
	if time.Since(begun) > answer {
		r.text += " (The refresh ended before the last of these runs.)"
	}
	if err := <-refresh; err != nil {
		return r, err
	}
	for i, name := range []string{"is being refreshed", "is at rest"} {
		r.add(name, f1(ms(median(runs[i], wall))), f1(ms(quantile(runs[i], 0.95, wall))))
	}
	r.atMost("a hit during a slow refresh, of one at rest", 1.15, ratio(median(runs[0], wall), median(runs[1], wall)), "×")
	return r, b.setLatency(latency)
}
