package share_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// meets has the machine meet a limit, as a report of an answer does.
func (m *machine) meets(id string, d time.Duration) {
	m.t.Helper()
	now, until := time.Now(), m.begin.Add(d)
	testenv.Must(m.t, m.folder().Change(m.t.Context(), index.Fast, id, func(idx *index.Index, a *index.Account) {
		pool.RulesOf(m.folder()).MoveOn(idx, a, now, func() {
			pool.AddHold(a, ratelimit.Verdict{Kind: ratelimit.Spent, Scope: "*", Until: until, Source: "retry-after", Proven: true}, now)
		})
	}))
}

func (m *machine) exchange() error {
	m.t.Helper()
	return share.Exchange(m.t.Context(), m.folder(), m.dial, m.index().Shares[0].ID)
}

// held is until when the account is held here, from the scene's beginning; zero: it isn't.
func (m *machine) held(id string) time.Duration {
	m.t.Helper()
	for _, h := range m.account(id).Holds {
		if time.Until(h.Until) > 0 {
			return h.Until.Sub(m.begin).Round(time.Minute)
		}
	}
	return 0
}

func (m *machine) clear(id, scope string) error {
	m.t.Helper()
	testenv.Must(m.t, testenv.Err(account.ClearHolds(m.t.Context(), m.folder(), id, scope)))
	return testenv.Err(share.ClearHolds(m.t.Context(), m.folder(), m.dial, pipe.ClearRequest{Account: id, Scope: scope}))
}

// swaps counts the machines' writes of holds.
func (s *scene) swaps() int { return s.calls("swap", "/hold/") }

// calls counts what machines have asked the engine: op, for keys that contain part.
func (s *scene) calls(op, part string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, line := range s.lines {
		for _, c := range line.Calls() {
			if c.Op == op && strings.Contains(c.Key, part) {
				n++
			}
		}
	}
	return n
}

// A limit that one machine meets is known to all, whoever met it: a holder, or a consumer.
// A person ends it on one of them. Nothing else of a machine is.
func TestLimitsAreShared(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob := a.login("ada"), a.login("bob")
	a.start()
	b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true})
	testenv.Must(t, a.folder().Update(t.Context(), index.Fast, func(idx *index.Index) error {
		idx.Bindings = append(idx.Bindings, index.Binding{Dir: "/canary", Provider: "sim", Account: ada.ID})
		idx.Use(idx.Account(bob.ID))
		return nil
	}))
	all := []*machine{a, b, c}
	everywhere := func(id string, want time.Duration) {
		t.Helper()
		for _, m := range all {
			testenv.Must(t, m.exchange())
			if got := m.held(id); got != want {
				t.Errorf("%s holds it for %v more, want %v", m, got, want)
			}
		}
	}
	everywhere(ada.ID, 0)
	for _, m := range []*machine{b, c} {
		if m.index().Pools["work"].Current != ada.ID || len(m.index().Bindings) != 0 {
			t.Errorf("what a machine uses and binds has become that of %s", m)
		}
	}
	a.meets(ada.ID, 3*time.Hour)
	everywhere(ada.ID, 3*time.Hour)
	c.meets(ada.ID, 5*time.Hour)
	testenv.Must(t, c.exchange())
	everywhere(ada.ID, 5*time.Hour)
	everywhere(bob.ID, 0)
	before := s.swaps()
	for _, m := range all {
		m.meets(ada.ID, 5*time.Hour)
		testenv.Must(t, m.exchange())
	}
	if n := s.swaps(); before != 2 || n != before {
		t.Errorf("%d writes, and %d of what was known", before, n-before)
	}
	testenv.Must(t, b.clear(ada.ID, "*"))
	everywhere(ada.ID, 0)

	// What a person does by hand is the same.
	testenv.Must(t, testenv.Err(account.AddHold(t.Context(), b.folder(), ada.ID, "model:opus", time.Hour)))
	testenv.Must(t, testenv.Err(share.Limits(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: b.index().Shares[0].ID})))
	everywhere(ada.ID, time.Hour)
	testenv.Must(t, a.clear(ada.ID, ""))
	everywhere(ada.ID, 0)

	for place, text := range s.written() {
		for _, own := range []string{"canary", "retry-after", "model:opus"} {
			if strings.Contains(text, own) {
				t.Errorf("%s has %q in the open", place, own)
			}
		}
	}
}

// A machine that joins learns of what is held; so does one that asks for the pool's status.
// Accounts that were held before the pool was shared are held everywhere.
func TestLimitsOfBefore(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.meets(ada.ID, time.Hour)
	a.start()
	b := a.joined("early", pipe.InviteRequest{})
	testenv.Must(t, a.exchange())
	c := a.joined("late", pipe.InviteRequest{Consumer: true})
	if c.held(ada.ID) != time.Hour || b.held(ada.ID) != 0 {
		t.Errorf("held for %v, and %v", c.held(ada.ID), b.held(ada.ID))
	}
	b.status()
	if b.held(ada.ID) != time.Hour {
		t.Error("it asked, and doesn't hold it")
	}
}

// What the engine's operator, or a machine that was removed, puts in the place of holds is
// not believed, ends nothing, and is replaced.
func TestForgedHolds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob := a.login("ada"), a.login("bob")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	x := a.joined("stolen", pipe.InviteRequest{Consumer: true})
	key := func(id string) string { return share.Key("authferry", a.index().Shares[0].ID, "hold", id) }
	a.meets(ada.ID, time.Hour)
	testenv.Must(t, a.exchange())
	ours, _, err := s.memory.Get(t.Context(), key(ada.ID))
	testenv.Must(t, err)
	foreign, err := seal.NewKeys(1)
	testenv.Must(t, err)
	far := 5 * 24 * time.Hour
	forged := seal.Holds{Holds: []seal.Hold{{ID: "x", Scope: "*", Source: "window", Proven: true, Until: time.Now().Add(far), Left: far}}}
	strange, err := forged.Seal(seal.Ring{foreign}, a.index().Shares[0].ID, bob.ID)
	testenv.Must(t, err)
	for name, value := range map[string][]byte{
		"in the open":       []byte(`{"holds":[{"id":"x","scope":"*","proven":true,"left":1e18,"until":"2099-01-01T00:00:00Z"}]}`),
		"another account's": ours.Value, "with other keys": strange, "cut off": ours.Value[:len(ours.Value)/2], "nothing": {},
	} {
		s.memory.Put(key(bob.ID), value)
		testenv.Must(t, b.exchange())
		if b.held(bob.ID) != 0 || b.held(ada.ID) != time.Hour {
			t.Errorf("%s: held for %v, the other for %v", name, b.held(bob.ID), b.held(ada.ID))
		}
	}
	s.memory.Put(key(ada.ID), []byte("{}"))
	testenv.Must(t, b.exchange())
	testenv.Must(t, a.exchange())
	if a.held(ada.ID) != time.Hour || b.held(ada.ID) != time.Hour {
		t.Error("a hold has ended")
	}

	// An older one of this account comes back: it counts until the time that it says, as the
	// first time.
	testenv.Must(t, a.clear(ada.ID, ""))
	s.memory.Put(key(ada.ID), ours.Value)
	testenv.Must(t, b.exchange())
	if got := b.held(ada.ID); got > time.Hour {
		t.Errorf("held for %v", got)
	}

	// A consumer can hold an account, up to the caps. Once it is removed, it can't.
	x.meets(bob.ID, time.Hour)
	testenv.Must(t, x.exchange())
	testenv.Must(t, b.exchange())
	if b.held(bob.ID) != time.Hour {
		t.Error("what a consumer has met isn't known")
	}
	was, _, err := s.memory.Get(t.Context(), key(bob.ID))
	testenv.Must(t, err)
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "stolen"})))
	b.status() // and so it has the new keys
	testenv.Must(t, b.clear(bob.ID, ""))
	s.memory.Put(key(bob.ID), was.Value)
	testenv.Must(t, b.exchange())
	if b.held(bob.ID) != 0 {
		t.Error("a hold with keys that are over counts")
	}
}

// Without the engine a hold counts here, and is told when the engine answers again. A hold
// that was ended here stays ended here.
func TestLimitsWithoutEngine(t *testing.T) {
	t.Parallel()
	s, a, b, ada := two(t)
	a.fault = unreachable
	a.meets(ada.ID, time.Hour)
	wantCode(t, a.exchange(), fault.EngineUnreachable)
	if a.held(ada.ID) != time.Hour || time.Since(a.index().Shares[0].LookedAt) > time.Minute {
		t.Error("it isn't held, or that it was tried isn't noted")
	}
	a.fault = nil
	testenv.Must(t, a.exchange())
	testenv.Must(t, b.exchange())
	if b.held(ada.ID) != time.Hour {
		t.Error("the other machine doesn't know")
	}
	a.fault = unreachable
	wantCode(t, a.clear(ada.ID, ""), fault.EngineUnreachable)
	a.fault = nil
	testenv.Must(t, a.exchange())
	if a.held(ada.ID) != 0 {
		t.Error("what a person ended is back")
	}
	testenv.Must(t, a.clear(ada.ID, ""))
	testenv.Must(t, b.exchange())
	if b.held(ada.ID) != 0 {
		t.Error("the other machine goes on")
	}

	// The answer to a write is lost. It was done, or comes late, or never.
	for name, outcome := range map[string]enginetest.Outcome{"applied": enginetest.AppliedNow, "later": enginetest.AppliedLater, "never": enginetest.NeverApplied} {
		testenv.Must(t, a.clear(ada.ID, ""))
		first := true
		a.fault = func(c enginetest.Call) enginetest.Fault {
			if c.Op == "swap" && first {
				first = false
				return enginetest.Fault{Outcome: outcome}
			}
			return enginetest.Fault{}
		}
		a.meets(ada.ID, time.Hour)
		testenv.Must(t, a.exchange())
		for _, line := range s.lines {
			line.Deliver()
		}
		a.fault = nil
		for _, m := range []*machine{b, a} {
			testenv.Must(t, m.exchange())
			if m.held(ada.ID) != time.Hour {
				t.Errorf("%s: %s holds it for %v", name, m, m.held(ada.ID))
			}
		}
	}
}

// An engine that was restored from a backup ends no hold.
func TestLimitsOfRestoredEngine(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	backup := s.memory.Snapshot()
	a.meets(ada.ID, time.Hour)
	testenv.Must(t, a.exchange())
	s.memory.Restore(backup, false)
	wantCode(t, a.exchange(), fault.EngineRestored)
	if a.held(ada.ID) != time.Hour {
		t.Error("the hold is over")
	}
	a.doctor(true)
	testenv.Must(t, a.exchange())
	b := a.joined("desktop", pipe.InviteRequest{})
	if a.held(ada.ID) != time.Hour || b.held(ada.ID) != time.Hour {
		t.Errorf("held for %v and %v", a.held(ada.ID), b.held(ada.ID))
	}
}

// Of all machines whose callers would try whether a long hold is over, one lets its caller
// through. The others learn of it.
func TestOneProbes(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	all := []*machine{a}
	for _, name := range []string{"b", "c", "d", "e", "f"} {
		all = append(all, a.joined(name, pipe.InviteRequest{Consumer: name > "c"}))
	}
	a.meets(ada.ID, 5*time.Hour)
	for _, m := range all {
		testenv.Must(t, m.exchange())
	}
	for round := range 3 {
		var mu sync.Mutex
		won := map[*machine]bool{}
		var group sync.WaitGroup
		for _, m := range all {
			group.Go(func() {
				mine, err := share.Probe(t.Context(), m.folder(), m.dial, ada.ID)
				testenv.Check(t, err)
				mu.Lock()
				defer mu.Unlock()
				if mine {
					won[m] = true
				}
			})
		}
		group.Wait()
		if len(won) != 1 {
			t.Errorf("round %d: %d probes", round, len(won))
		}
		for _, m := range all {
			testenv.Must(t, m.exchange())
			if h := m.account(ada.ID).Holds[0]; !won[m] && time.Since(h.ProbedAt) > time.Minute {
				t.Errorf("%s doesn't know that another one has probed: %+v", m, h)
			}
		}
	}
	a.fault = unreachable
	if mine, err := share.Probe(t.Context(), a.folder(), a.dial, ada.ID); mine || fault.CodeOf(err) != fault.EngineUnreachable {
		t.Errorf("without the engine: %v, %v", mine, err)
	}
}

// Serve tells of a limit, and takes one over, at once.
func TestServeExchangesLimits(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true})
	for _, m := range []*machine{b, c} {
		defer serving(t, m)()
	}
	a.meets(ada.ID, time.Hour)
	testenv.Must(t, a.exchange())
	until(t, func() bool { return b.held(ada.ID) == time.Hour && c.held(ada.ID) == time.Hour })
	testenv.Must(t, a.clear(ada.ID, ""))
	until(t, func() bool { return b.held(ada.ID)+c.held(ada.ID) == 0 })
}

// serving runs Serve until the returned function is called.
func serving(t *testing.T, m *machine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended, watching := make(chan error, 1), make(chan bool, 10)
	go func() {
		ended <- share.Serve(ctx, m.folder(), m.dial, pipe.PoolRequest{}, func(e pipe.ServeEvent) error {
			if e.Event == "watching" {
				watching <- true
			}
			return nil
		})
	}()
	<-watching
	return func() {
		cancel()
		testenv.Check(t, <-ended)
	}
}

// until waits for what happens soon; a test that never sees it ends by its time-out.
func until(t *testing.T, so func() bool) {
	t.Helper()
	for !so() {
		time.Sleep(10 * time.Millisecond)
	}
}
