package pool

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

// markedPool is a pool of API keys a, b, c … of which so much of a window is used.
func markedPool(used ...float64) *index.Index {
	idx := &index.Index{Pools: map[string]index.Pool{"p": {Provider: "sim", Current: "a"}}}
	for i, u := range used {
		name := string(rune('a' + i))
		idx.Accounts = append(idx.Accounts, index.Account{ID: name, Label: name, Provider: "sim", Pool: "p", Kind: index.KindAPIKey, Rank: i + 1,
			Usage: []index.Usage{{Window: "5h", Used: u, ResetsAt: testNow.Add(time.Hour), ReportedAt: testNow}}})
	}
	return idx
}

// What a mark is for, case by case: at 90 %, the current account is a.
func TestMark(t *testing.T) {
	type accounts = []index.Account
	for name, c := range map[string]struct {
		used   []float64
		change func(accounts)
		sel    Selected
		want   string
		reason string
	}{
		"under it":                   {used: []float64{.89, .1}, want: "a", reason: "current and free"},
		"at it":                      {used: []float64{.9, .1}, want: "b", reason: `"a" has used 90% of its 5-hour limit, and switch_at is 90%; the first free one by rank that has used less than 90%`},
		"all over it":                {used: []float64{.95, .99}, want: "a", reason: "current and free"},
		"the next one over it, too":  {used: []float64{.95, .99, .1}, want: "c"},
		"nothing known of the other": {used: []float64{.95, 0}, change: func(a accounts) { a[1].Usage = nil }, want: "b"},
		"a window past its reset":    {used: []float64{.95, .1}, change: func(a accounts) { a[0].Usage[0].ResetsAt = testNow }, want: "a"},
		"a window of one model":      {used: []float64{.95, .1}, change: func(a accounts) { a[0].Usage[0].Window = "7d_opus" }, want: "a"},
		"no end stated, said now":    {used: []float64{.95, .1}, change: func(a accounts) { a[0].Usage[0].ResetsAt = time.Time{} }, want: "b"},
		"no end stated, said earlier": {used: []float64{.95, .1}, change: func(a accounts) {
			a[0].Usage[0] = index.Usage{Window: "x", Used: .95, ReportedAt: testNow.Add(-time.Hour)}
		}, want: "a"},
		"moved on from it already": {used: []float64{.95, .1}, change: func(a accounts) { a[0].Usage[0].Moved = true }, want: "a"},
		"a second window": {used: []float64{.1, .1}, change: func(a accounts) {
			a[0].Usage = append(a[0].Usage, index.Usage{Window: "7d", Used: .91, ResetsAt: testNow.Add(time.Hour)})
		}, want: "b"},
		"the other one is held": {used: []float64{.95, .1}, change: func(a accounts) {
			a[1].Holds = []index.Hold{{Scope: "*", Until: testNow.Add(time.Hour)}}
		}, want: "a"},
		"held, and the next one over it": {used: []float64{1, .95, .1}, change: func(a accounts) {
			a[0].Holds = []index.Hold{{Scope: "*", Until: testNow.Add(time.Hour), Source: "retry-after"}}
		}, want: "c"},
		"only over it is free": {used: []float64{1, .95}, change: func(a accounts) {
			a[0].Holds = []index.Hold{{Scope: "*", Until: testNow.Add(time.Hour), Source: "retry-after"}}
		}, want: "b"},
		"pinned":           {used: []float64{.95, .1}, sel: Selected{Prefer: "a", Pinned: true}, want: "a", reason: "pinned"},
		"a conversation's": {used: []float64{.1, .95, .1}, sel: Selected{Prefer: "b"}, want: "a"},
		"soonest reset": {used: []float64{.95, .1, .95, .1}, change: func(a accounts) {
			a[2].Usage[0].ResetsAt, a[3].Usage[0].ResetsAt = testNow.Add(time.Minute), testNow.Add(30*time.Minute)
		}, sel: Selected{soonest: true}, want: "d"},
	} {
		t.Run(name, func(t *testing.T) {
			idx := markedPool(c.used...)
			if c.change != nil {
				c.change(idx.Accounts)
			}
			c.sel.Pool, c.sel.switchAt = "p", 90
			got := Choose(idx, c.sel, nil, testNow)
			if got.Account == nil || got.Account.ID != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("got %+v", got)
			}
			c.sel.switchAt = 0
			if without := Choose(idx, c.sel, nil, testNow); without.Account.ID != "a" && name != "held, and the next one over it" && name != "only over it is free" && name != "a conversation's" {
				t.Errorf("without a mark, %s", without.Account.ID)
			}
		})
	}
}

// The mark decides among free accounts, never whether there is one: who is chosen is free if
// anybody is, and under the mark if a free one is that the pool may still move to.
func TestMarkProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		drawUsage(t, idx)
		mark := rapid.IntRange(1, 100).Draw(t, "mark")
		scope := rapid.SampledFrom([]string{"", "model:x"}).Draw(t, "request scope")
		plain := Choose(idx, Selected{Pool: "p", Scope: scope}, nil, testNow)
		got := Choose(idx, Selected{Pool: "p", Scope: scope, switchAt: mark}, nil, testNow)
		if (got.Account == nil) != (plain.Account == nil) || got.Last != plain.Last || fmt.Sprint(got.Err) != fmt.Sprint(plain.Err) {
			t.Fatalf("with the mark %+v, without %+v", got, plain)
		}
		if got.Account == nil || got.Last || got.Account.ID == plain.Account.ID {
			return
		}
		if reached(plain.Account, mark, true, testNow) == nil {
			t.Fatal("left an account that is under the mark")
		}
		if reached(got.Account, mark, true, testNow) != nil {
			t.Fatal("moved to an account that has reached the mark")
		}
	})
}

func drawUsage(t *rapid.T, idx *index.Index) {
	for i := range idx.Accounts {
		for j := range rapid.IntRange(0, 2).Draw(t, "windows") {
			idx.Accounts[i].Usage = append(idx.Accounts[i].Usage, index.Usage{Window: fmt.Sprint(j), ReportedAt: testNow,
				Used:     float64(rapid.IntRange(0, 110).Draw(t, "used")) / 100,
				ResetsAt: testNow.Add(time.Duration(rapid.IntRange(-60, 600).Draw(t, "resets")) * time.Minute),
				Moved:    rapid.Bool().Draw(t, "moved")})
		}
	}
}

// Whatever is used, reported, held and waited for, in whatever order: within one window of
// one account the pool moves on from that account at most once because of it.
func TestMarkMovesOnceAWindow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 4).Draw(t, "accounts")
		idx := markedPool(make([]float64, n)...)
		r := Rules{Failover: true, SwitchAt: 90, KeysOnly: func(string, string) bool { return false }}
		now := testNow
		moves := map[string]int{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "minutes")) * time.Minute)
			a := &idx.Accounts[rapid.IntRange(0, n-1).Draw(t, "account")]
			if rapid.Bool().Draw(t, "in use") {
				a = r.CurrentOf(idx, "p", now).Account
			}
			if a == nil {
				continue
			}
			Forget(a, now)
			before := idx.Pools["p"].Current
			if rapid.IntRange(0, 4).Draw(t, "held") == 0 {
				r.MoveOn(idx, a, now, func() { AddHold(a, stated(now, 30*time.Minute), now) })
				continue
			}
			used, reset := 0.0, now.Add(5*time.Hour)
			for _, u := range a.Usage {
				used, reset = u.Used, u.ResetsAt
			}
			used += float64(rapid.IntRange(0, 60).Draw(t, "more")) / 100
			r.Remember(idx, a, []ratelimit.Window{{Window: "5h", Used: used, ResetsAt: reset}}, now)
			after := idx.Pools["p"].Current
			if after == before {
				continue
			}
			left := idx.Account(before)
			if heldUntil(left, HeldForScope, now).After(now) {
				continue // that is why
			}
			for _, u := range left.Usage {
				if u.Used < .9-inexact {
					t.Fatalf("moved from %s, which has used %v", before, u.Used)
				}
				key := before + u.ResetsAt.String()
				if moves[key]++; moves[key] > 1 {
					t.Fatalf("moved from %s twice in one window", before)
				}
			}
			if u := reached(idx.Account(after), 90, true, now); u != nil {
				t.Fatalf("moved to %s, which has used %v", after, u.Used)
			}
		}
	})
}

// Twenty callers that report one lease move the pool by one account, and a person's own
// choice is not taken back.
func TestMarkMovesAHerdOnce(t *testing.T) {
	idx := markedPool(.5, .5, .5)
	r := Rules{Failover: true, SwitchAt: 90, KeysOnly: func(string, string) bool { return false }}
	full := []ratelimit.Window{{Window: "5h", Used: .93, ResetsAt: testNow.Add(time.Hour)}}
	for range 20 {
		r.Remember(idx, idx.Account("a"), full, testNow)
	}
	if got := idx.Pools["p"].Current; got != "b" {
		t.Fatalf("twenty reports of a: %s is current", got)
	}
	r.Use(idx, idx.Account("a"), testNow)
	r.Remember(idx, idx.Account("a"), full, testNow.Add(2*time.Minute))
	if got := r.CurrentOf(idx, "p", testNow.Add(2*time.Minute)).Account.ID; got != "a" || idx.Pools["p"].Current != "a" {
		t.Fatalf("a person chose a, and it is %s", got)
	}
	next := []ratelimit.Window{{Window: "5h", Used: .92, ResetsAt: testNow.Add(6 * time.Hour)}}
	later := testNow.Add(2 * time.Hour)
	Forget(idx.Account("a"), later)
	r.Remember(idx, idx.Account("a"), next, later)
	if got := idx.Pools["p"].Current; got != "b" {
		t.Fatalf("in its next window: %s is current", got)
	}
}

// What is said of the next probe is when there is one, and not before.
func TestNextProbe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := markedPool(make([]float64, rapid.IntRange(1, 3).Draw(t, "accounts"))...)
		for i := range idx.Accounts {
			began := testNow.Add(-time.Duration(rapid.IntRange(0, 90).Draw(t, "began")) * time.Minute)
			h := index.Hold{Scope: HeldForScope, ReportedAt: began, Until: began.Add(time.Duration(rapid.IntRange(10, 300).Draw(t, "lasts")) * time.Minute),
				Proven: rapid.IntRange(0, 4).Draw(t, "guessed") > 0}
			if rapid.IntRange(0, 6).Draw(t, "by hand") == 0 {
				h.Source = PersonSource
			}
			if rapid.Bool().Draw(t, "probed") {
				h.ProbedAt = testNow.Add(-time.Duration(rapid.IntRange(0, 40).Draw(t, "probed ago")) * time.Minute)
			}
			idx.Accounts[i].Holds = []index.Hold{h}
		}
		sel := Selected{Pool: "p"}
		a, at := NextProbe(idx, sel, testNow)
		for minute := range 400 {
			now := testNow.Add(time.Duration(minute) * time.Minute)
			want := ProbeCandidate(idx, sel, now)
			if want == nil && now.Equal(at) {
				t.Fatalf("nobody is let through at %v", at)
			}
			if want != nil {
				if a == nil || !now.Equal(at) || a.ID != want.ID {
					t.Fatalf("%s is tried at %v, said was %v at %v", want.ID, now, a, at)
				}
				return
			}
		}
		if a != nil {
			t.Fatalf("said was %v at %v", a.ID, at)
		}
	})
}
