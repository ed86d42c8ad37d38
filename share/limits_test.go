package share

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// pair is what two machines know of one account, and what the engine has of it. Their clocks
// needn't agree.
type pair struct {
	t       *testing.T
	version engine.Version
	doc     *seal.Holds
}

// onlooker is one machine's view: its index, and how far its clock is ahead.
type onlooker struct {
	*pair
	idx   *index.Index
	ahead time.Duration
}

var noon = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func (p *pair) machine(ahead time.Duration) *onlooker {
	idx := &index.Index{Pools: map[string]index.Pool{}}
	for _, id := range []string{"acc_aaaaaaaaaaaaaaaa", "acc_bbbbbbbbbbbbbbbb"} {
		idx.Enlist(index.Account{ID: id, Label: id[4:6], Provider: "sim", Pool: "work", Kind: index.KindAPIKey, Fingerprint: id, Generation: 1, AddedAt: noon})
		idx.Account(id).Share = &index.Share{Pool: modelPool, Role: index.RoleHolder, State: index.ShareIdle}
	}
	return &onlooker{pair: p, idx: idx, ahead: ahead}
}

func (w *onlooker) account() *index.Account { return w.idx.Account("acc_aaaaaaaaaaaaaaaa") }

var limitRules = pool.Rules{Failover: true}

// meets has the machine meet a limit, as a report of an answer does.
func (w *onlooker) meets(at time.Time, v ratelimit.Verdict) {
	now := at.Add(w.ahead)
	if v.Scope == "" {
		v.Scope = "*"
	}
	v.Until = v.Until.Add(w.ahead)
	limitRules.MoveOn(w.idx, w.account(), now, func() { pool.AddHold(w.account(), v, now) })
}

// exchange is one round with the engine. It reports whether something was written.
func (w *onlooker) exchange(at time.Time) bool {
	now := at.Add(w.ahead)
	take(limitRules, w.idx, w.account(), w.version, w.doc, now)
	next := news(w.account(), w.doc, now)
	if next == nil {
		return false
	}
	w.version++
	w.doc = next
	tell(limitRules, w.idx, w.account(), w.version, next, now)
	if again := news(w.account(), next, now); again != nil {
		w.t.Errorf("it would tell that again: %+v", again)
	}
	return true
}

// held is how long the account is held here on, from a moment by the right clock.
func (w *onlooker) held(at time.Time, scope string) time.Duration {
	for _, h := range w.account().Holds {
		if h.Scope == scope {
			return max(0, h.Until.Sub(at.Add(w.ahead)))
		}
	}
	return 0
}

func (w *onlooker) wants(at time.Time, scope string, want time.Duration) {
	w.t.Helper()
	if got := w.held(at, scope); got != want {
		w.t.Errorf("held for %v more, want %v", got, want)
	}
}

func stated(d time.Duration) ratelimit.Verdict {
	return ratelimit.Verdict{Until: noon.Add(d), Source: "anthropic-ratelimit-unified-5h-reset", Proven: true}
}

func guessed() ratelimit.Verdict {
	return ratelimit.Verdict{Until: noon.Add(time.Minute), Source: "status 429"}
}

// One machine meets a limit, and the other holds the account as long, by its own clock. The
// first one's pool has moved on, and so does the other's.
func TestHoldIsTakenOver(t *testing.T) {
	p := &pair{t: t}
	a, b := p.machine(0), p.machine(0)
	for _, w := range []*onlooker{a, b} {
		limitRules.Use(w.idx, w.account(), noon)
	}
	a.meets(noon, stated(3*time.Hour))
	if !a.exchange(noon) || a.exchange(noon) {
		t.Error("it isn't told once")
	}
	if b.exchange(noon.Add(10 * time.Second)) {
		t.Error("what was taken over is told again")
	}
	b.wants(noon, "*", 3*time.Hour)
	if h := b.account().Holds[0]; h.Source != "anthropic-ratelimit-unified-5h-reset" || !h.Proven || h.Cut {
		t.Errorf("%+v", h)
	}
	if b.idx.Pools["work"].Current == b.account().ID {
		t.Error("the pool stays with a held account")
	}
}

// What covers a hold isn't written again, and a guess never shortens what a provider stated.
func TestCovered(t *testing.T) {
	week := 7 * 24 * time.Hour
	for name, test := range map[string]struct {
		there, here ratelimit.Verdict
		written     bool
		until       time.Duration
	}{
		"a guess beside a week":        {stated(week), guessed(), false, week},
		"two guesses":                  {guessed(), guessed(), false, time.Minute},
		"the same":                     {stated(week), stated(week), false, week},
		"about the same":               {stated(week), stated(week + 4*time.Second), false, week + 4*time.Second},
		"shorter":                      {stated(week), stated(time.Hour), false, week},
		"longer":                       {stated(time.Hour), stated(week), true, week},
		"stated in place of a guess":   {guessed(), stated(time.Hour), true, time.Hour},
		"stated in place, and shorter": {guessed(), stated(30 * time.Second), true, 30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pair{t: t}
			a, b, c := p.machine(0), p.machine(0), p.machine(0)
			a.meets(noon, test.there)
			a.exchange(noon)
			b.meets(noon, test.here)
			if wrote := b.exchange(noon); wrote != test.written {
				t.Errorf("written: %v", wrote)
			}
			b.wants(noon, "*", test.until)
			c.exchange(noon)
			if test.written {
				c.wants(noon, "*", test.until)
			}
			a.exchange(noon)
			if got, want := a.held(noon, "*"), c.held(noon, "*"); got != want {
				t.Errorf("one machine holds it for %v, another for %v", got, want)
			}
			if n := len(p.doc.Holds); n != 1 {
				t.Errorf("%d entries", n)
			}
		})
	}
	p := &pair{t: t}
	a, b := p.machine(0), p.machine(0)
	opus := stated(time.Hour)
	opus.Scope = "model:opus"
	a.meets(noon, opus)
	a.exchange(noon)
	b.meets(noon, guessed())
	if !b.exchange(noon) {
		t.Error("a hold on one scope covers another")
	}
	a.exchange(noon)
	a.wants(noon, "model:opus", time.Hour)
	a.wants(noon, "*", time.Minute)
}

// Two machines' clocks are never compared: an offset of hours shortens what one learns of
// the other, and never holds an account longer than the limit was when it was seen first.
func TestClocksHoursApart(t *testing.T) {
	for name, test := range map[string]struct {
		writer, reader time.Duration
		look           time.Duration // after it was written
		want           time.Duration // from then on
	}{
		"both right":             {0, 0, time.Minute, 59 * time.Minute},
		"both wrong alike":       {-9 * time.Hour, -9 * time.Hour, time.Minute, 59 * time.Minute},
		"the reader is behind":   {0, -3 * time.Hour, 0, time.Hour},
		"and looks late":         {0, -3 * time.Hour, 30 * time.Second, time.Hour},
		"the reader is ahead":    {0, 3 * time.Hour, 0, 0},
		"a little ahead":         {0, 10 * time.Minute, 0, 50 * time.Minute},
		"the writer is ahead":    {5 * time.Hour, 0, 0, time.Hour},
		"the writer is behind":   {-5 * time.Hour, 0, 0, 0},
		"looks when it has gone": {0, 0, 2 * time.Hour, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pair{t: t}
			a, b := p.machine(test.writer), p.machine(test.reader)
			a.meets(noon, stated(time.Hour))
			a.exchange(noon)
			at := noon.Add(test.look)
			b.exchange(at)
			b.wants(at, "*", test.want)
			end := b.account().Holds
			for range 100 { // other news come by, and the hold doesn't begin again
				at = at.Add(time.Minute)
				p.version++
				b.exchange(at)
				pool.Forget(b.account(), at.Add(b.ahead))
			}
			if test.want > 0 && b.held(at, "*") != 0 {
				t.Errorf("held for %v more after its end; it was %+v", b.held(at, "*"), end)
			}
		})
	}
}

// A hold of another machine's is capped like one that was met here; what is malformed is
// left out.
func TestHostileHolds(t *testing.T) {
	far := 500 * 24 * time.Hour
	whole := seal.Hold{ID: "x", Scope: "*", Source: "status 429", Until: noon.Add(far), Left: far}
	for name, test := range map[string]struct {
		change func(*seal.Hold)
		want   time.Duration
	}{
		"a guess":                       {func(*seal.Hold) {}, ratelimit.GuessCap},
		"of many guesses":               {func(h *seal.Hold) { h.Guesses = 1 << 62 }, ratelimit.GuessCap},
		"stated":                        {func(h *seal.Hold) { h.Proven = true }, ratelimit.WindowCap},
		"by hand":                       {func(h *seal.Hold) { h.Proven, h.Source = true, pool.PersonSource }, ratelimit.WindowCap},
		"Retry-After":                   {func(h *seal.Hold) { h.Proven, h.Source = true, "retry-after" }, ratelimit.RetryAfterCap},
		"in milliseconds":               {func(h *seal.Hold) { h.Proven, h.Source = true, "x-ms-retry-after-ms" }, ratelimit.RetryAfterCap},
		"no scope":                      {func(h *seal.Hold) { h.Scope = "" }, 0},
		"a scope for terminals":         {func(h *seal.Hold) { h.Scope = "\x1b[2J" }, 0},
		"over long ago":                 {func(h *seal.Hold) { h.Until = noon.Add(-time.Hour) }, 0},
		"nothing left":                  {func(h *seal.Hold) { h.Left = -far }, 0},
		"met in the future":             {func(h *seal.Hold) { h.Age = -far }, ratelimit.GuessCap},
		"met before there was anything": {func(h *seal.Hold) { h.Age = 1 << 62 }, ratelimit.GuessCap},
		"a source for terminals":        {func(h *seal.Hold) { h.Source = "\x1b[2J" }, ratelimit.GuessCap},
	} {
		t.Run(name, func(t *testing.T) {
			h := whole
			test.change(&h)
			p := &pair{t: t, version: 1, doc: &seal.Holds{Holds: []seal.Hold{h}}}
			a := p.machine(0)
			a.exchange(noon)
			var got time.Duration
			for _, h := range a.account().Holds {
				got = max(got, h.Until.Sub(noon))
				if h.Cut != (test.want > 0) || h.Source != printable(h.Source) || !index.ValidCount(h.Guesses) || h.ReportedAt.After(noon) || noon.Sub(h.ReportedAt) > oldestNews {
					t.Errorf("%+v", h)
				}
			}
			if got != test.want {
				t.Errorf("held for %v, want %v", got, test.want)
			}
		})
	}
	p := &pair{t: t, version: 1, doc: &seal.Holds{Usage: &seal.Usage{ID: "u", Windows: []seal.Window{
		{Window: "\x1b[2J"}, {Window: ""}, {Window: "a", Used: -1}, {Window: "b", Used: 1e300}, {Window: "c", Used: 0.5, ResetsAt: noon.Add(far), Left: far, Age: -far},
	}}}}
	a := p.machine(0)
	a.exchange(noon)
	if u := a.account().Usage; len(u) != 1 || u[0].Window != "c" || u[0].ReportedAt.After(noon) || u[0].ResetsAt.After(noon.Add(oldestNews)) {
		t.Errorf("%+v", u)
	}
}

// A person ends a hold on one machine, or makes it shorter, and the others follow. What they
// have met themselves meanwhile stays.
func TestHoldsEndEverywhere(t *testing.T) {
	p := &pair{t: t}
	a, b := p.machine(0), p.machine(0)
	a.meets(noon, stated(time.Hour))
	opus := stated(2 * time.Hour)
	opus.Scope = "model:opus"
	a.meets(noon, opus)
	a.exchange(noon)
	b.meets(noon, stated(time.Hour+time.Second)) // covered, so it isn't told
	b.exchange(noon)
	p.doc, p.version = &seal.Holds{Holds: p.doc.Holds[1:]}, p.version+1 // as ClearHolds does
	sonnet := stated(3 * time.Hour)
	sonnet.Scope = "model:sonnet"
	b.meets(noon, sonnet)
	b.exchange(noon)
	b.wants(noon, "*", 0)
	b.wants(noon, "model:opus", 2*time.Hour)
	b.wants(noon, "model:sonnet", 3*time.Hour)
	a.exchange(noon)
	a.wants(noon, "*", 0)
	a.wants(noon, "model:sonnet", 3*time.Hour)

	byHand := func(w *onlooker, d time.Duration) { pool.HoldByHand(w.account(), "*", noon.Add(d), noon) }
	byHand(a, 48*time.Hour)
	a.exchange(noon)
	b.exchange(noon)
	b.wants(noon, "*", 48*time.Hour)
	byHand(b, 24*time.Hour)
	b.exchange(noon)
	a.exchange(noon)
	a.wants(noon, "*", 24*time.Hour)

	// A long one lasts as long on the machine where it was made, and is told again elsewhere.
	byHand(a, 30*24*time.Hour)
	at := noon
	for range 31 * 24 {
		a.exchange(at)
		b.exchange(at)
		for _, w := range []*onlooker{a, b} {
			if held := w.held(at, "*") > 0; held != at.Before(noon.Add(30*24*time.Hour)) {
				t.Fatalf("after %v: held %v", at.Sub(noon), held)
			}
		}
		at = at.Add(time.Hour)
	}
	if p.version > 45 {
		t.Errorf("it was told %d times", p.version)
	}
}

// An engine that has lost what it knew, or has what no machine wrote, ends nothing, and is
// told again.
func TestLimitsLost(t *testing.T) {
	p := &pair{t: t}
	a, b := p.machine(0), p.machine(0)
	a.meets(noon, stated(time.Hour))
	a.exchange(noon)
	p.doc, p.version = nil, p.version+1
	if !a.exchange(noon) {
		t.Error("it isn't told again")
	}
	b.exchange(noon)
	for _, w := range []*onlooker{a, b} {
		w.wants(noon, "*", time.Hour)
	}
	// The same with an answer that never came.
	a.account().Share.Told.Holds, a.account().Share.Told.Version = nil, 0
	a.account().Holds[0].Told = ""
	if a.exchange(noon) {
		t.Error("what it wrote itself is told again")
	}
	a.wants(noon, "*", time.Hour)
}

// Quota windows are shared where that is news, and neither an older report nor another
// machine's clock replaces a newer one.
func TestUsageIsShared(t *testing.T) {
	p := &pair{t: t}
	a, b := p.machine(0), p.machine(-4*time.Hour)
	reports := func(w *onlooker, at time.Time, used float64) {
		pool.Remember(w.account(), []ratelimit.Window{{Window: "5h", Used: used, ResetsAt: noon.Add(5 * time.Hour).Add(w.ahead)}}, at.Add(w.ahead))
	}
	used := func(w *onlooker) float64 {
		if len(w.account().Usage) == 0 {
			return -1
		}
		return w.account().Usage[0].Used
	}
	steps := []struct {
		of      *onlooker
		at      time.Duration
		used    float64
		written bool
	}{{a, 0, 0.1, true}, {a, 2 * time.Minute, 0.12, false}, {a, 3 * time.Minute, 0.2, true}, {b, 4 * time.Minute, 0.21, false}, {b, 12 * time.Minute, 0.3, true}, {a, 20 * time.Minute, 0.3, false}, {a, 30 * time.Minute, 0.01, true}}
	for _, s := range steps {
		at := noon.Add(s.at)
		s.of.exchange(at.Add(-time.Second))
		reports(s.of, at, s.used)
		if wrote := s.of.exchange(at.Add(2 * time.Second)); wrote != s.written {
			t.Errorf("after %v: written %v", s.at, wrote)
		}
		for _, w := range []*onlooker{a, b} {
			w.exchange(at.Add(3 * time.Second))
			if s.written && used(w) != s.used {
				t.Errorf("after %v one machine has %v", s.at, used(w))
			}
		}
	}
	if u := b.account().Usage[0]; u.ResetsAt.Sub(noon.Add(b.ahead)) > 5*time.Hour+time.Minute {
		t.Errorf("it resets after %v", u.ResetsAt.Sub(noon.Add(b.ahead)))
	}
	old := *p.doc
	old.Usage = &seal.Usage{ID: "old", Windows: []seal.Window{{Window: "5h", Used: 0.9, ResetsAt: noon.Add(5 * time.Hour), Left: 4 * time.Hour, Age: 2 * time.Hour}}}
	p.doc, p.version = &old, p.version+1
	a.exchange(noon.Add(31 * time.Minute))
	if used(a) != 0.01 {
		t.Errorf("an older report counts: %v", used(a))
	}
}

// A machine's own affairs are not told: bindings, which account is current, what it is
// called here and where it ranks.
func TestOnlyLimitsAreTold(t *testing.T) {
	p := &pair{t: t}
	a := p.machine(0)
	a.idx.Bindings = []index.Binding{{Dir: "/canary", Provider: "sim", Pool: "work"}}
	a.account().Label = "canary"
	limitRules.Use(a.idx, a.account(), noon)
	a.meets(noon, stated(time.Hour))
	a.exchange(noon)
	want := seal.Holds{Holds: []seal.Hold{{ID: p.doc.Holds[0].ID, Scope: "*", Source: "anthropic-ratelimit-unified-5h-reset", Proven: true, Until: noon.Add(time.Hour), Left: time.Hour}}}
	if len(p.doc.Holds) != 1 || p.doc.Holds[0] != want.Holds[0] || p.doc.Usage != nil || p.doc.Probe != "" {
		t.Errorf("%+v", p.doc)
	}
}
