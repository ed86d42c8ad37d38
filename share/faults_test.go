package share_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
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
	for _, at := range proofs.Sample(2, []string{"S12", "S13", "S10", "S10 2", "S14", "K14", "K15"}) {
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
	for _, at := range proofs.Sample(2, []string{"S15", "S16", "S17", "K14", "K15"}) {
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

// A join that died can be given up, and then another ticket is good.
func TestJoinGivenUp(t *testing.T) {
	for _, at := range []string{"S15", "S16", "S17", "K14"} {
		s := newScene(t)
		a := s.machine("laptop")
		ada := a.login("ada")
		a.start()
		b := s.machine("desktop")
		join := func(ticket string) error {
			return testenv.Err(share.Join(t.Context(), b.folder(), b.dial, pipe.JoinRequest{Ticket: ticket, Machine: "desktop"}))
		}
		if !crashing(t, at, 1, func() error { return join(a.invite(pipe.InviteRequest{}).Ticket) }) {
			t.Fatal("it didn't die")
		}
		other := a.invite(pipe.InviteRequest{}).Ticket
		wantCode(t, join(other), fault.LabelTaken)
		testenv.Must(t, testenv.Err(b.leave()))
		if m, err := b.open().Store.Manifest(t.Context()); err != nil || !m.Empty() {
			t.Errorf("after %s there is left: %+v, %v", at, m, err)
		}
		testenv.Must(t, join(other))
		sameEverywhere(t, ada.ID, a, b)
		list, err := share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})
		testenv.Must(t, err)
		if len(list.Machines) != 2 {
			t.Errorf("after %s: %+v", at, list.Machines)
		}
	}
}

// index.json is lost, with a login in the keystore that never reached the engine: asking for
// the pool brings the accounts back, and that login.
func TestLostIndex(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.login("bob")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	g := s.server.Issue("ada")
	testenv.Must(t, testenv.Err(account.Replace(t.Context(), a.folder(), ada.ID, account.NewAccount{Provider: s.provider(), RefreshToken: keystore.NewSecret(g.RefreshToken),
		AccessToken: keystore.NewSecret(g.AccessToken), ExpiresAt: time.Now().Add(time.Hour).UTC(), Identity: oauth.Identity{Issuer: s.server.URL, Subject: "ada"}})))
	testenv.Must(t, a.open().Folder.Update(t.Context(), index.Durable, func(i *index.Index) error {
		i.Accounts, i.Shares, i.Pools = nil, nil, nil
		return nil
	}))
	for _, c := range doctor.Examine(t.Context(), a.folder(), true) {
		if c.Status == doctor.Fail {
			t.Errorf("%+v", c)
		}
	}
	if d := a.status(); len(d.Accounts) != 2 || d.Engine != "ok" {
		t.Errorf("%+v", d)
	}
	if a.labels() != "ada bob" || a.token(ada.ID) != g.AccessToken {
		t.Errorf("it has %q, and another login", a.labels())
	}
	sameEverywhere(t, ada.ID, a, b)
	if b.token(ada.ID) != g.AccessToken || s.server.Reuse() != 0 {
		t.Errorf("the others have another login, %d reuses", s.server.Reuse())
	}
}

// A removal dies anywhere. Called again it ends as it would have, and until then the others
// lose nothing.
func TestRemoveDies(t *testing.T) {
	for _, at := range proofs.Sample(2, []string{"S20", "S21", "S22", "K16"}) {
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
	for seed := range uint64(proofs.Size(2, 40)) {
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
