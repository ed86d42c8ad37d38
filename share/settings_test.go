package share_test

import (
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

// set has a machine tell the others what was set there.
func set(m *machine, id, setting string) error {
	return testenv.Err(share.Set(m.t.Context(), m.folder(), m.dial, pipe.SetRequest{Account: id, Setting: setting}))
}

func rename(m *machine, id, label string) {
	m.t.Helper()
	testenv.Must(m.t, testenv.Err(account.Rename(m.t.Context(), m.folder(), id, label)))
}

func disable(m *machine, id string) {
	m.t.Helper()
	testenv.Must(m.t, testenv.Err(account.Disable(m.t.Context(), m.folder(), id)))
}

func enable(m *machine, id string) {
	m.t.Helper()
	testenv.Must(m.t, testenv.Err(account.Enable(m.t.Context(), m.folder(), id)))
}

// settings are the pool's accounts in their order; those in brackets are disabled.
func settings(m *machine) string {
	m.t.Helper()
	var all []string
	for _, a := range m.index().Members("work") {
		if a.Disabled {
			all = append(all, "("+a.Label+")")
		} else {
			all = append(all, a.Label)
		}
	}
	return strings.Join(all, " ")
}

// reads counts what machines have asked the engine of accounts' records all at once.
func reads(s *scene) int { return s.calls("list", "/acc/") }

// What a holder sets of an account is so on all machines: with the exchange of limits, which
// reads the records once for it and never else, and with status. The last one counts.
func TestSettingsAreShared(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob := a.login("ada"), a.login("bob")
	a.apiKey("eve")
	a.start()
	b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true})
	all := []*machine{a, b, c}
	everywhere := func(want string) {
		t.Helper()
		for _, m := range all {
			testenv.Must(t, m.exchange())
			want := want
			if m == c {
				want = strings.Join(strings.Fields(strings.ReplaceAll(want, "eve-key", "")), " ")
			}
			if got := settings(m); got != want {
				t.Errorf("%s has %q, want %q", m, got, want)
			}
		}
	}
	everywhere("ada bob eve-key")
	before := reads(s)
	everywhere("ada bob eve-key")
	if n := reads(s) - before; n != 0 {
		t.Errorf("%d reads of records without a change", n)
	}
	rename(b, ada.ID, "Ada Lovelace")
	testenv.Must(t, set(b, ada.ID, pipe.Label))
	everywhere("Ada Lovelace bob eve-key")
	rename(a, ada.ID, "ada lovelace")
	testenv.Must(t, set(a, ada.ID, pipe.Label))
	disable(a, bob.ID)
	testenv.Must(t, set(a, bob.ID, pipe.Disabled))
	everywhere("ada lovelace (bob) eve-key")
	testenv.Must(t, testenv.Err(account.Order(t.Context(), b.folder(), bob.ID, 1)))
	testenv.Must(t, set(b, bob.ID, pipe.Rank))
	everywhere("(bob) ada lovelace eve-key")

	// Each setting is told by itself: what another machine has set meanwhile stays.
	enable(a, bob.ID)
	testenv.Must(t, set(a, bob.ID, pipe.Disabled))
	rename(b, bob.ID, "robert")
	testenv.Must(t, set(b, bob.ID, pipe.Label))
	before = reads(s)
	everywhere("robert ada lovelace eve-key")
	if n := reads(s) - before; n > len(all) {
		t.Errorf("%d reads of records for a change", n)
	}
	before, swaps := reads(s), s.swaps()
	everywhere("robert ada lovelace eve-key")
	if reads(s) != before || s.swaps() != swaps {
		t.Error("what is known is asked or told again")
	}

	// Who was away learns it from status, and the account's login goes on.
	late := a.joined("late", pipe.InviteRequest{})
	disable(b, ada.ID)
	testenv.Must(t, set(b, ada.ID, pipe.Disabled))
	late.status()
	if got := settings(late); got != "robert (ada lovelace) eve-key" {
		t.Errorf("%q", got)
	}
	testenv.Must(t, a.refresh(bob.ID))
	sameEverywhere(t, bob.ID, a, b, c, late)
	if s.server.TokenRequests() != 1 || s.server.Reuse() != 0 {
		t.Errorf("%d token requests", s.server.TokenRequests())
	}
	for place, text := range s.written() {
		if strings.Contains(text, "robert") || strings.Contains(text, "lovelace") {
			t.Errorf("%s has a label in the open", place)
		}
	}
}

// A machine's own label stays where the new one is taken, and a disabled account isn't
// current any more.
func TestSettingsMeetWhatIsHere(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob := a.login("ada"), a.login("bob")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	carol := b.login("carol")
	testenv.Must(t, testenv.Err(account.Move(t.Context(), b.folder(), carol.ID, "own")))
	rename(a, ada.ID, "Carol")
	testenv.Must(t, set(a, ada.ID, pipe.Label))
	disable(a, ada.ID)
	testenv.Must(t, set(a, ada.ID, pipe.Disabled))
	if b.index().Pools["work"].Current != ada.ID {
		t.Fatal("another account is current")
	}
	testenv.Must(t, b.exchange())
	if got := settings(b); got != "(ada) bob" || b.index().Pools["work"].Current != bob.ID {
		t.Errorf("%q, and %+v is current", got, b.index().Pools)
	}
}

// A consumer changes nothing for others. What it sets stays here until a holder sets the
// same.
func TestConsumerSetsNothing(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	rename(c, ada.ID, "mine")
	disable(c, ada.ID)
	wantCode(t, set(c, ada.ID, pipe.Label), fault.NotAMember)
	testenv.Must(t, a.exchange())
	if got := settings(a); got != "ada" {
		t.Errorf("%q", got)
	}
	rename(a, ada.ID, "Ada")
	testenv.Must(t, set(a, ada.ID, pipe.Label))
	testenv.Must(t, c.exchange())
	if got := settings(c); got != "(Ada)" {
		t.Errorf("%q", got)
	}
	disable(a, ada.ID)
	testenv.Must(t, set(a, ada.ID, pipe.Disabled))
	enable(a, ada.ID)
	testenv.Must(t, set(a, ada.ID, pipe.Disabled))
	testenv.Must(t, c.exchange())
	if got := settings(c); got != "(Ada)" {
		t.Errorf("%q: nothing had changed when it looked", got)
	}
}

// Without the engine it is set here alone. Done again, it is told; also where the record
// was changed, and that it was isn't known.
func TestSettingsWithoutEngine(t *testing.T) {
	t.Parallel()
	_, a, b, ada := two(t)
	a.fault = unreachable
	disable(a, ada.ID)
	wantCode(t, set(a, ada.ID, pipe.Disabled), fault.EngineUnreachable)
	a.fault = nil
	testenv.Must(t, a.exchange())
	if got := settings(a); got != "(ada)" {
		t.Errorf("%q", got)
	}
	testenv.Must(t, set(a, ada.ID, pipe.Disabled))
	testenv.Must(t, b.exchange())
	if got := settings(b); got != "(ada)" {
		t.Errorf("%q", got)
	}
	enable(a, ada.ID)
	a.fault = func(c enginetest.Call) enginetest.Fault {
		if strings.Contains(c.Key, "/hold") {
			return unreachable(c)
		}
		return enginetest.Fault{}
	}
	wantCode(t, set(a, ada.ID, pipe.Disabled), fault.EngineUnreachable)
	a.fault = nil
	testenv.Must(t, set(a, ada.ID, pipe.Disabled))
	testenv.Must(t, b.exchange())
	if got := settings(b); got != "ada" {
		t.Errorf("%q", got)
	}
}

// A change while a machine refreshes costs neither the change nor the login: before the
// claim, the announcement, and the publication.
func TestSettingsDuringRefresh(t *testing.T) {
	t.Parallel()
	for n, label := range []string{"claim", "announce", "publish"} {
		s, a, b, ada := two(t)
		rename(b, ada.ID, label)
		swaps := 0
		a.fault = func(c enginetest.Call) enginetest.Fault {
			if c.Op == "swap" && strings.Contains(c.Key, "/acc/") {
				if swaps == n {
					testenv.Check(t, set(b, ada.ID, pipe.Label))
				}
				swaps++
			}
			return enginetest.Fault{}
		}
		testenv.Must(t, a.refresh(ada.ID))
		sameEverywhere(t, ada.ID, a, b)
		if d := a.status(); swaps < 3 || s.server.Refreshes("ada") != 1 || s.server.Reuse() != 0 || settings(a) != label || d.Accounts[0].Generation != 2 {
			t.Errorf("%s: %d swaps, %d refreshes, %+v", label, swaps, s.server.Refreshes("ada"), d)
		}
	}
}

// An index of before has no settings: then those of the engine count.
func TestSettingsOfOldIndex(t *testing.T) {
	t.Parallel()
	_, a, b, ada := two(t)
	rename(b, ada.ID, "old")
	testenv.Must(t, b.folder().Change(t.Context(), index.Fast, ada.ID, func(_ *index.Index, x *index.Account) {
		s := *x.Share
		s.Settings, x.Share = nil, &s
	}))
	b.status()
	if got := settings(b); got != "ada" {
		t.Errorf("%q", got)
	}
	if settings(a) != "ada" {
		t.Error(settings(a))
	}
}
