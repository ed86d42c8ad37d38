package share_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

func unreachable(enginetest.Call) enginetest.Fault {
	return enginetest.Fault{Err: engine.ErrUnreachable}
}

// Start dies anywhere, and goes on when it is called again; so does a join with the same
// ticket. Meanwhile no account is refreshed by one machine without the others.
func TestStartAndJoinDie(t *testing.T) {
	for _, at := range []string{"S12", "S13", "S10", "S10 2", "S14", "K14", "K15"} {
		t.Run("start "+at, func(t *testing.T) {
			s := newScene(t)
			a := s.machine("laptop")
			ada, bob := a.login("ada"), a.login("bob")
			point, n := at, 1
			if p, _, second := strings.Cut(at, " "); second {
				point, n = p, 2
			}
			start := func() error {
				return testenv.Err(share.Start(t.Context(), a.folder(), a.dial, a.startRequest()))
			}
			if !crashing(t, point, n, start) {
				t.Fatal("it didn't die")
			}
			if at == "S13" { // an account that isn't marked yet is still this machine's own
				testenv.Must(t, a.refresh(bob.ID))
			}
			testenv.Must(t, start())
			b := a.joined("desktop", pipe.InviteRequest{})
			testenv.Must(t, b.refresh(ada.ID))
			testenv.Must(t, a.refresh(ada.ID))
			testenv.Must(t, b.refresh(bob.ID))
			testenv.Must(t, a.refresh(bob.ID))
			sameEverywhere(t, ada.ID, a, b)
			sameEverywhere(t, bob.ID, a, b)
			if s.server.Reuse() != 0 {
				t.Errorf("%d reuses", s.server.Reuse())
			}
		})
	}
	for _, at := range []string{"S15", "S16", "S17", "K14", "K15"} {
		for _, consumer := range []bool{false, true} {
			t.Run(fmt.Sprintf("join %s %v", at, consumer), func(t *testing.T) {
				s := newScene(t)
				a := s.machine("laptop")
				ada := a.login("ada")
				a.login("bob")
				a.start()
				ticket := a.invite(pipe.InviteRequest{Consumer: consumer}).Ticket
				b := s.machine("desktop")
				join := func() error {
					return testenv.Err(share.Join(t.Context(), b.folder(), b.dial, pipe.JoinRequest{Ticket: ticket, Machine: "desktop"}))
				}
				if !crashing(t, at, 1, join) {
					t.Fatal("it didn't die")
				}
				testenv.Must(t, testenv.Err(share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})))
				testenv.Must(t, join())
				testenv.Must(t, a.refresh(ada.ID))
				testenv.Must(t, b.refresh(ada.ID))
				sameEverywhere(t, ada.ID, a, b)
				if b.labels() != "ada bob" {
					t.Errorf("it has %q", b.labels())
				}
				list, err := share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})
				testenv.Must(t, err)
				if len(list.Machines) != 2 || len(list.Tickets) != 0 {
					t.Errorf("%+v", list)
				}
			})
		}
	}
}

// A removal dies anywhere. Called again it ends as it would have, and until then the others
// lose nothing.
func TestRemoveDies(t *testing.T) {
	for _, at := range []string{"S20", "S21", "S22", "K16"} {
		t.Run(at, func(t *testing.T) {
			s := newScene(t)
			a := s.machine("laptop")
			ada, key := a.login("ada"), a.apiKey("ada")
			a.start()
			b := a.joined("desktop", pipe.InviteRequest{})
			c := a.joined("stolen", pipe.InviteRequest{})
			before := c.refreshToken(ada.ID)
			remove := func(m *machine) (*pipe.RemoveResult, error) {
				return share.Remove(t.Context(), m.folder(), m.dial, pipe.RemoveRequest{Pool: "work", Machine: "stolen"})
			}
			if !crashing(t, at, 1, func() error { return testenv.Err(remove(a)) }) {
				t.Fatal("it didn't die")
			}
			// Another machine goes on with it.
			done, err := remove(b)
			testenv.Must(t, err)
			if len(done.Replace) != 1 || len(done.Pending) != 0 {
				t.Errorf("%+v", done)
			}
			testenv.Must(t, b.refresh(ada.ID))
			testenv.Must(t, a.refresh(ada.ID))
			sameEverywhere(t, ada.ID, a, b)
			if a.refreshToken(ada.ID) == before {
				t.Error("the refresh token isn't spent")
			}
			wantCode(t, testenv.Err(share.Members(t.Context(), c.folder(), c.dial, pipe.PoolRequest{Pool: "work"})), fault.NotAMember)
			if s.server.Reuse() != 0 {
				t.Errorf("%d reuses", s.server.Reuse())
			}
			if a.token(key.ID) != b.token(key.ID) {
				t.Error("the key differs")
			}
		})
	}
}

// The engine answers late, not at all, or not whether it did what it was asked. Whoever
// asks again until there is an answer has what was to be.
func TestUnknownOutcomes(t *testing.T) {
	t.Parallel()
	for seed := range uint64(proofs.Size(4, 40)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			s := newScene(t)
			r := rand.New(rand.NewPCG(seed, seed)) // #nosec G404 -- a test's
			flaky := func(c enginetest.Call) enginetest.Fault {
				switch n := r.IntN(10); {
				case n == 0:
					return enginetest.Fault{Err: engine.ErrUnreachable}
				case n < 4 && c.Op == "swap":
					return enginetest.Fault{Outcome: []enginetest.Outcome{enginetest.AppliedNow, enginetest.NeverApplied}[r.IntN(2)]}
				}
				return enginetest.Fault{}
			}
			until := func(what string, do func() error) {
				t.Helper()
				var err error
				for range 200 {
					if err = do(); err == nil {
						return
					}
					if code := fault.CodeOf(err); code != fault.EngineUnreachable && code != fault.WaitingForMachine && code != fault.ProviderUnreachable {
						break
					}
				}
				t.Fatalf("%s: %v", what, err)
			}
			a, b, c := s.machine("laptop"), s.machine("desktop"), s.machine("runner")
			ada := a.login("ada")
			for _, m := range []*machine{a, b, c} {
				m.fault = flaky
			}
			until("start", func() error { return testenv.Err(share.Start(t.Context(), a.folder(), a.dial, a.startRequest())) })
			for _, m := range []*machine{b, c} {
				var ticket string
				until("invite", func() error {
					done, err := share.Invite(t.Context(), a.folder(), a.dial, pipe.InviteRequest{Pool: "work", Consumer: m == c})
					if err == nil {
						ticket = done.Ticket
					}
					return err
				})
				until("join", func() error {
					return testenv.Err(share.Join(t.Context(), m.folder(), m.dial, pipe.JoinRequest{Ticket: ticket, Machine: m.name}))
				})
			}
			until("members", func() error {
				return testenv.Err(share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"}))
			})
			until("remove", func() error {
				done, err := share.Remove(t.Context(), b.folder(), b.dial, pipe.RemoveRequest{Pool: "work", Machine: "laptop"})
				if fault.CodeOf(err) == fault.NoAccount {
					return nil // the last call's answer was lost
				}
				if err == nil && len(done.Pending) > 0 {
					err = fault.Errorf(fault.EngineUnreachable, "%s", done.Pending[0].Reason)
				}
				return err
			})
			b.fault, c.fault = nil, nil
			testenv.Must(t, b.refresh(ada.ID))
			testenv.Must(t, c.refresh(ada.ID))
			sameEverywhere(t, ada.ID, b, c)
			if s.server.Reuse() != 0 {
				t.Errorf("%d reuses", s.server.Reuse())
			}
		})
	}
}
