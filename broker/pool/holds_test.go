package pool

import (
	"cmp"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/testenv"
)

func guess(now time.Time) ratelimit.Verdict {
	return ratelimit.Verdict{Kind: ratelimit.Throttle, Until: now.Add(ratelimit.FirstGuess), Scope: "*", Source: "status 429"}
}

func stated(now time.Time, d time.Duration) ratelimit.Verdict {
	return ratelimit.Verdict{Kind: ratelimit.Spent, Until: now.Add(d), Scope: "*", Source: "retry-after", Proven: true}
}

// A guess that turns out too short is doubled, up to ten minutes; what comes in
// while it runs, or a moment after, is about the same limit.
func TestGuessesGrow(t *testing.T) {
	a, now := &index.Account{}, testNow
	for i, seconds := range []int{60, 120, 240, 480, 600, 600} {
		want := time.Duration(seconds) * time.Second
		h := AddHold(a, guess(now), now)
		if got := h.Until.Sub(now); got != want || h.Cut != (seconds == 600) {
			t.Fatalf("guess %d: %v, cut %v", i+1, got, h.Cut)
		}
		if again := AddHold(a, guess(now.Add(time.Second)), now.Add(time.Second)); again.Until != h.Until {
			t.Fatalf("guess %d was made twice", i+1)
		}
		late := *a
		late.Holds = append([]index.Hold{}, a.Holds...)
		soon := h.Until.Add(Straggler / 2)
		if l := AddHold(&late, guess(soon), soon); l.Until.Sub(soon) != want {
			t.Fatalf("guess %d: a straggler made it %v", i+1, l.Until.Sub(soon))
		}
		now = h.Until.Add(Straggler)
		Forget(a, now)
	}
	now = now.Add(guessMemory + 10*time.Minute)
	Forget(a, now)
	if len(a.Holds) != 0 {
		t.Fatalf("%+v is remembered for ever", a.Holds)
	}
	if h := AddHold(a, guess(now), now); h.Until.Sub(now) != ratelimit.FirstGuess {
		t.Fatalf("%+v", h)
	}
}

// What the provider stated outlasts any shorter or guessed signal, and replaces
// a guess.
func TestProvenHoldsAreNeverShortened(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, now := &index.Account{}, testNow
		var proven time.Time
		for range rapid.IntRange(1, 12).Draw(t, "signals") {
			now = now.Add(time.Duration(rapid.IntRange(0, 300).Draw(t, "pause")) * time.Second)
			v := guess(now)
			if rapid.Bool().Draw(t, "proven") {
				v = stated(now, time.Duration(rapid.IntRange(1, 7200).Draw(t, "seconds"))*time.Second)
				if v.Until.After(proven) {
					proven = v.Until
				}
			}
			Forget(a, now)
			h := AddHold(a, v, now)
			if !h.Until.After(now) {
				t.Fatalf("a hold that is over: %+v", h)
			}
			if proven.After(now) && (h.Until != proven || !h.Proven) {
				t.Fatalf("until %v though the provider stated %v", h.Until, proven)
			}
			if !proven.After(now) && h.Until.Sub(now) > ratelimit.GuessCap {
				t.Fatalf("guessed %v", h.Until.Sub(now))
			}
			if len(a.Holds) != 1 {
				t.Fatalf("%d holds on one scope", len(a.Holds))
			}
			if Refute(a, ""); proven.After(now) && len(a.Holds) != 1 {
				t.Fatal("a success took back what the provider stated")
			}
		}
	})
}

// Of several free accounts the one whose quota window ends first; unknown last.
func TestSoonestReset(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		for i := range idx.Accounts {
			for j := range rapid.IntRange(0, 2).Draw(t, "windows") {
				idx.Accounts[i].Usage = append(idx.Accounts[i].Usage, index.Usage{Window: fmt.Sprint(j),
					ResetsAt: testNow.Add(time.Duration(rapid.IntRange(-60, 600).Draw(t, "resets")) * time.Minute)})
			}
		}
		got := Choose(idx, Selected{Pool: "p", soonest: true}, nil, testNow).Account
		plain := Choose(idx, Selected{Pool: "p"}, nil, testNow).Account
		if (got == nil) != (plain == nil) {
			t.Fatal("the strategy decides whether there is one")
		}
		if got == nil || got.ID == idx.Pools["p"].Current {
			return
		}
		end := windowEnd(got, testNow)
		for _, a := range idx.Members("p") {
			if a.Disabled || heldUntil(a, "", testNow).After(testNow) || WantsLogin(a, testNow) {
				continue
			}
			if other := windowEnd(a, testNow); !other.IsZero() && (end.IsZero() || other.Before(end)) {
				t.Fatalf("window of the chosen one ends %v, another one's %v", end, other)
			}
		}
	})
}

// The pool moves only from an account that can't be used, to a free one, and not
// again for the same lease.
func TestMoveOnProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		r := RulesOf(folder.New(folder.Options{}))
		i := rapid.IntRange(0, len(idx.Accounts)-1).Draw(t, "reported")
		a := &idx.Accounts[i]
		before := idx.Pools[a.Pool].Current
		r.MoveOn(idx, a, testNow, func() { AddHold(a, stated(testNow, time.Hour), testNow) })
		after := idx.Pools[a.Pool].Current
		if after != before {
			next, was := idx.Account(after), cmp.Or(idx.Account(before), &index.Account{Disabled: true})
			switch {
			case !was.Disabled && !was.Removing && !WantsLogin(was, testNow) && !heldUntil(was, HeldForScope, testNow).After(testNow):
				t.Fatal("moved from an account that is free")
			case next.Pool != a.Pool, next.Disabled, next.Removing, WantsLogin(next, testNow), heldUntil(next, HeldForScope, testNow).After(testNow):
				t.Fatalf("moved to %+v", next)
			}
		}
		r.MoveOn(idx, a, testNow, func() {})
		if idx.Pools[a.Pool].Current != after {
			t.Fatal("moved twice for one lease")
		}
	})
}

// Whatever flags, environment and bindings say: a fence that was named is kept,
// or the answer is an error.
func TestFenceProperties(t *testing.T) {
	here, err := filepath.EvalSymlinks(t.TempDir())
	testenv.Must(t, err)
	rapid.Check(t, func(t *rapid.T) {
		idx := drawIndex(t)
		r := RulesOf(folder.New(folder.Options{}))
		name := func(what string) string {
			return rapid.SampledFrom([]string{"", "", "p", "fenced"}).Draw(t, what)
		}
		account := func(what string) string {
			if rapid.Bool().Draw(t, what+" given") {
				return rapid.SampledFrom(idx.Accounts).Draw(t, what).Label
			}
			return ""
		}
		s := Selection{Pool: name("--pool"), EnvPool: name("AUTHFERRY_POOL"), Account: account("--account"), EnvAccount: account("AUTHFERRY_ACCOUNT"), Dir: here}
		bound := name("binding")
		if bound != "" {
			idx.Bindings = []index.Binding{{Dir: here, Provider: "sim", Pool: bound}}
		}
		sel, err := r.Resolve(idx, s)
		if err != nil {
			return
		}
		got := Choose(idx, sel, nil, testNow).Account
		if got == nil {
			return
		}
		fence := cmp.Or(s.Pool, s.EnvPool, bound)
		if fence != "" && got.Pool != fence {
			t.Fatalf("%+v, bound to %q, chose from %s", s, bound, got.Pool)
		}
		if s.Account != "" && got.Label != s.Account {
			t.Fatalf("pinned %s, got %s", s.Account, got.Label)
		}
	})
}

// A hold by hand is never probed; what a provider states meanwhile may make it longer, and
// neither a success, a shorter time nor a guess takes it back.
func TestHoldByHand(t *testing.T) {
	idx := &index.Index{Pools: map[string]index.Pool{"p": {Provider: "sim"}},
		Accounts: []index.Account{{ID: "acc_0000000000000000", Pool: "p", Kind: index.KindAPIKey}}}
	a := &idx.Accounts[0]
	stated := func(d time.Duration) ratelimit.Verdict {
		return ratelimit.Verdict{Kind: ratelimit.Spent, Scope: HeldForScope, Source: "retry-after", Proven: true, Until: testNow.Add(d)}
	}
	probed := func() bool { return ProbeCandidate(idx, Selected{Pool: "p"}, testNow.Add(30*time.Minute)) != nil }
	AddHold(a, stated(5*time.Hour), testNow)
	if !probed() {
		t.Fatal("a long hold that the provider stated is not probed")
	}
	for _, step := range []struct {
		what string
		do   func()
		want time.Duration
	}{
		{"by hand, shorter than stated", func() { HoldByHand(a, HeldForScope, testNow.Add(2*time.Hour), testNow) }, 5 * time.Hour},
		{"a success", func() { Refute(a, "") }, 5 * time.Hour},
		{"stated shorter", func() { AddHold(a, stated(time.Minute), testNow) }, 5 * time.Hour},
		{"a guess", func() { v := stated(time.Minute); v.Proven = false; AddHold(a, v, testNow) }, 5 * time.Hour},
		{"stated longer", func() { AddHold(a, stated(9*time.Hour), testNow) }, 9 * time.Hour},
		{"by hand once more", func() { HoldByHand(a, HeldForScope, testNow.Add(time.Hour), testNow) }, time.Hour},
	} {
		step.do()
		if len(a.Holds) != 1 || a.Holds[0].Source != PersonSource || !a.Holds[0].Until.Equal(testNow.Add(step.want)) {
			t.Fatalf("%s: %+v", step.what, a.Holds)
		}
		if probed() {
			t.Fatalf("%s: a hold by hand was probed", step.what)
		}
	}
}
