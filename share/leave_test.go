package share_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

func (m *machine) leave() (*pipe.LeaveResult, error) {
	return share.Leave(m.t.Context(), m.folder(), m.dial, pipe.PoolRequest{Pool: "work"})
}

// A machine that leaves takes nothing along and leaves nothing behind that only it had; the
// last one keeps the accounts, and the engine forgets the pool.
func TestLeave(t *testing.T) {
	t.Parallel()
	s, a, b, ada := two(t)
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	testenv.Must(t, b.refresh(ada.ID))
	done, err := b.leave()
	testenv.Must(t, err)
	if len(done.Removed) != 1 || done.Machine != "desktop" || len(b.index().Accounts)+len(b.index().Shares) != 0 {
		t.Errorf("%+v, %+v", done, b.index())
	}
	m, err := b.open().Store.Manifest(t.Context())
	testenv.Must(t, err)
	if !m.Empty() {
		t.Errorf("left in the keystore: %+v", m)
	}
	sameEverywhere(t, ada.ID, a, c)
	list, err := share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{})
	testenv.Must(t, err)
	if len(list.Machines) != 2 {
		t.Errorf("%+v", list.Machines)
	}

	_, err = a.leave()
	wantCode(t, err, fault.Fenced) // a consumer still needs it
	left, err := c.leave()
	testenv.Must(t, err)
	if left.Warning == "" || len(c.index().Accounts) != 0 {
		t.Errorf("%+v", left)
	}
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "runner"})))
	last, err := a.leave()
	testenv.Must(t, err)
	if len(last.Removed) != 0 || a.account(ada.ID).Share != nil {
		t.Errorf("%+v", last)
	}
	testenv.Must(t, a.refresh(ada.ID))
	rest, _, err := s.memory.List(t.Context(), "")
	testenv.Must(t, err)
	if len(rest) != 0 {
		t.Errorf("the engine still has %v", rest)
	}
	// And it can be shared again.
	a.start()
	sameEverywhere(t, ada.ID, a, a.joined("desktop", pipe.InviteRequest{}))
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}
}

// An account is taken out of the pool: it is one machine's own, and goes from the others,
// which don't refresh it any more. It can come back.
func TestTakeOut(t *testing.T) {
	for _, at := range append([]string{""}, proofs.Sample(1, []string{"S31", "K14", "K15"})...) {
		s := newScene(t)
		a := s.machine("laptop")
		ada, key := a.login("ada"), a.apiKey("ada")
		a.start()
		b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true, WithKeys: true})
		takeOut := func(m *machine, label string) error {
			return testenv.Err(share.TakeOut(t.Context(), m.folder(), m.dial, pipe.TakeOutRequest{Account: label}))
		}
		wantCode(t, takeOut(c, "ada"), fault.NotAMember)
		if at != "" && !crashing(t, at, 1, func() error { return takeOut(a, "ada") }) {
			t.Fatal("it didn't die")
		}
		if err := takeOut(a, "ada"); err != nil && at == "" {
			t.Fatal(err)
		}
		testenv.Must(t, takeOut(a, "ada-key"))
		wantCode(t, b.refresh(ada.ID), fault.NotAMember)
		b.status()
		if a.account(ada.ID).Share != nil || len(b.index().Accounts) != 0 || b.refreshToken(ada.ID) != "" {
			t.Errorf("after %q: %+v, %+v", at, a.account(ada.ID), b.index().Accounts)
		}
		wants(t, c.doctor(false), "warning", "still here")
		c.doctor(true)
		if len(c.index().Accounts) != 0 {
			t.Errorf("a consumer has %+v", c.index().Accounts)
		}
		testenv.Must(t, a.refresh(ada.ID))
		if len(a.status().Accounts) != 0 {
			t.Errorf("%+v", a.status())
		}
		// It comes back.
		testenv.Must(t, testenv.Err(share.Enter(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})))
		b.status()
		c.status()
		sameEverywhere(t, ada.ID, a, b, c)
		sameEverywhere(t, key.ID, a, b, c)
		testenv.Must(t, b.refresh(ada.ID))
		sameEverywhere(t, ada.ID, a, b, c)
		if s.server.Reuse() != 0 {
			t.Errorf("%d reuses", s.server.Reuse())
		}
	}
}

// A machine that the engine refuses deletes its copies only where others have them.
func TestLeaveRefused(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	refused := func(enginetest.Call) enginetest.Fault { return enginetest.Fault{Err: engine.ErrRefused} }
	a.fault = refused
	_, err := a.leave()
	wantCode(t, err, fault.NotAMember)
	a.fault = nil
	b := a.joined("desktop", pipe.InviteRequest{})
	a.status()
	// Its newest login never reached the engine.
	a.loginAgain(ada.ID, "ada")
	a.fault = refused
	keepsOwn(t, a, ada.ID)
	b.fault = refused
	done, err := b.leave()
	testenv.Must(t, err)
	if len(done.Removed) != 1 || done.Warning == "" || !done.Listed {
		t.Errorf("%+v", done)
	}
}

// keepsOwn has a machine leave a pool that doesn't let it in, and keep its one account.
func keepsOwn(t *testing.T, m *machine, id string) {
	t.Helper()
	done, err := m.leave()
	testenv.Must(t, err)
	if len(done.Removed) != 0 || len(done.Kept) != 1 || done.Warning == "" || m.account(id).Share != nil || len(m.index().Shares) != 0 {
		t.Errorf("%+v, %+v", done, m.index())
	}
	testenv.Must(t, m.refresh(id))
}

// A machine that was removed keeps a login that a person made there since.
func TestLeaveRemoved(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "desktop"})))
	b.loginAgain(ada.ID, "ada")
	keepsOwn(t, b, ada.ID)
	testenv.Must(t, a.refresh(ada.ID))
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}
}

// A machine without refresh tokens leaves whatever the engine says, or doesn't.
func TestConsumerLeaves(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	a.login("ada")
	a.start()
	for _, err := range []error{engine.ErrUnreachable, engine.ErrRefused} {
		c := a.joined("runner", pipe.InviteRequest{Consumer: true})
		c.fault = func(enginetest.Call) enginetest.Fault { return enginetest.Fault{Err: err} }
		left, err := c.leave()
		testenv.Must(t, err)
		if len(left.Removed) != 1 || !left.Listed || len(c.index().Accounts)+len(c.index().Shares) != 0 {
			t.Errorf("%+v, %+v", left, c.index())
		}
		testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "runner"})))
	}
	c := a.joined("runner", pipe.InviteRequest{Consumer: true, Reusable: true})
	testenv.Must(t, testenv.Err(a.leave()))
	left, err := c.leave() // the engine doesn't know the pool
	testenv.Must(t, err)
	if len(left.Removed) != 1 || left.Listed {
		t.Errorf("%+v", left)
	}
}

// The last machine dies while it leaves, and leaves again.
func TestLeaveDies(t *testing.T) {
	for _, at := range []string{"K14", "K15", "S30"} {
		s := newScene(t)
		a := s.machine("laptop")
		ada, bob := a.login("ada"), a.login("bob")
		a.start()
		if !crashing(t, at, 1, func() error { return testenv.Err(a.leave()) }) {
			t.Fatal("it didn't die")
		}
		testenv.Must(t, testenv.Err(a.leave()))
		for _, x := range []*index.Account{ada, bob} {
			if a.account(x.ID).Share != nil {
				t.Errorf("after %s, %s is shared", at, x.Label)
			}
			testenv.Must(t, a.refresh(x.ID))
		}
	}
}

// A machine dies while it makes an account its own, and leaves the pool, or is removed from
// it and leaves then: it keeps that account.
func TestLeaveKeepsOwn(t *testing.T) {
	for _, removed := range []bool{false, true} {
		s := newScene(t)
		a := s.machine("laptop")
		a.login("ada")
		a.start()
		b := a.joined("desktop", pipe.InviteRequest{})
		bob := b.login("bob")
		testenv.Must(t, testenv.Err(share.Enter(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})))
		if !crashing(t, "K14", 1, func() error {
			return testenv.Err(share.TakeOut(t.Context(), b.folder(), b.dial, pipe.TakeOutRequest{Account: "bob"}))
		}) {
			t.Fatal("it didn't die")
		}
		if removed {
			testenv.Must(t, testenv.Err(a.remove("desktop")))
		}
		testenv.Must(t, testenv.Err(b.leave()))
		if len(b.index().Accounts) != 1 {
			t.Fatalf("%+v", b.index().Accounts)
		}
		testenv.Must(t, b.refresh(bob.ID))
	}
}

// A machine dies while it leaves others, and leaves again; what came to it meanwhile is theirs.
func TestLeaveOthersDies(t *testing.T) {
	for _, at := range []string{"S30", "S11"} {
		s := newScene(t)
		a := s.machine("laptop")
		ada, bob := a.login("ada"), a.login("bob")
		a.start()
		b := a.joined("desktop", pipe.InviteRequest{})
		if !crashing(t, at, 1, func() error { return testenv.Err(b.leave()) }) {
			t.Fatal("it didn't die")
		}
		newest := b.loginAgain(bob.ID, "bob")
		testenv.Must(t, testenv.Err(b.leave()))
		if m, err := b.open().Store.Manifest(t.Context()); err != nil || !m.Empty() || len(b.index().Accounts) != 0 {
			t.Errorf("after %s there is left: %+v, %v", at, m, err)
		}
		sameEverywhere(t, bob.ID, a)
		if a.token(bob.ID) != newest {
			t.Errorf("after %s the newest login of bob is lost", at)
		}
		testenv.Must(t, a.refresh(ada.ID))
	}
}

// What a machine announced and never finished is waited for, until a person says otherwise.
func TestRecover(t *testing.T) {
	share.ClaimsLast(t, 200*time.Millisecond)
	s, a, b, ada := two(t)
	recover := func(claim string) (*pipe.RecoverResult, error) {
		return share.Recover(t.Context(), b.folder(), b.dial, pipe.RecoverRequest{Account: "ada", Claim: claim})
	}
	if done, err := recover(""); err != nil || !done.Recovered {
		t.Errorf("nobody is waited for: %+v, %v", done, err)
	}
	// It announces, and then it has no engine any more: it hasn't sent, but nobody else knows.
	announced := false
	a.fault = func(c enginetest.Call) enginetest.Fault {
		if announced {
			return unreachable(c)
		}
		if announced = strings.Contains(string(c.Value), `"state":"sending"`); announced {
			return enginetest.Fault{Outcome: enginetest.AppliedNow}
		}
		return enginetest.Fault{}
	}
	wantCode(t, a.refresh(ada.ID), fault.EngineUnreachable)
	a.fault = nil
	wait := func() error {
		f := b.folder()
		f.HTTPTimeout = time.Second
		return refreshWith(b, f, ada.ID)
	}
	wantCode(t, wait(), fault.WaitingForMachine)
	if d := b.status(); d.Accounts[0].State != "sending" || d.Accounts[0].Machine != "laptop" {
		t.Errorf("%+v", d.Accounts)
	}
	done, err := recover("")
	testenv.Must(t, err)
	if done.Recovered || done.Machine != "laptop" || done.Claim == "" {
		t.Errorf("%+v", done)
	}
	_, err = recover("another")
	wantCode(t, err, fault.Fenced)
	done, err = recover(done.Claim)
	testenv.Must(t, err)
	if !done.Recovered {
		t.Errorf("%+v", done)
	}
	testenv.Must(t, b.refresh(ada.ID)) // after it has looked on for a while
	sameEverywhere(t, ada.ID, a, b)
	if n := s.server.Refreshes("ada"); n != 1 || s.server.Reuse() != 0 {
		t.Errorf("%d refreshes, %d reuses", n, s.server.Reuse())
	}
}

// The engine was restored from a backup: nothing is refreshed until a person confirms, and
// the machine that has seen more puts it back.
func TestRestoredEngine(t *testing.T) {
	t.Parallel()
	s, a, b, ada := two(t)
	testenv.Must(t, b.refresh(ada.ID))
	backup := s.memory.Snapshot()
	testenv.Must(t, a.refresh(ada.ID))
	testenv.Must(t, a.refresh(ada.ID))
	newest := a.refreshToken(ada.ID)
	s.memory.Restore(backup, false)
	s.memory.SetCluster("restored")

	wantCode(t, b.refresh(ada.ID), fault.EngineRestored)
	wantCode(t, testenv.Err(share.Invite(t.Context(), a.folder(), a.dial, pipe.InviteRequest{Pool: "work"})), fault.EngineRestored)
	if d := b.status(); d.Engine != "restored" {
		t.Errorf("%+v", d)
	}
	wants(t, a.doctor(false), "fail", "forgotten something")
	wants(t, a.doctor(true), "ok", "confirmed")
	if a.refreshToken(ada.ID) != newest {
		t.Error("the newest login is lost")
	}
	wants(t, b.doctor(true), "ok", "confirmed")
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b)
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}
}

// The engine's operator deletes keys: doctor puts back what this machine has.
func TestDeletedKeys(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, key := a.login("ada"), a.apiKey("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	rest, _, err := s.memory.List(t.Context(), "")
	testenv.Must(t, err)
	for _, e := range rest {
		s.memory.Delete(e.Key)
	}
	wantCode(t, b.refresh(ada.ID), fault.EngineRestored)
	wantCode(t, testenv.Err(share.Members(t.Context(), b.folder(), b.dial, pipe.PoolRequest{})), fault.EngineRestored)
	for _, c := range b.doctor(true) {
		if c.Status == "fail" {
			t.Errorf("%+v", c)
		}
	}
	a.doctor(true)
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b)
	sameEverywhere(t, key.ID, a, b, b.joined("runner", pipe.InviteRequest{Consumer: true, WithKeys: true}))
}

// An account that comes later is put into the pool by doctor, and comes to the others.
func TestAccountsComeLater(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	a.login("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	bob := a.login("bob")
	wants(t, a.doctor(false), "warning", "not shared with the other machines")
	wants(t, a.doctor(true), "ok", "shared now")
	b.status()
	sameEverywhere(t, bob.ID, a, b)
	testenv.Must(t, b.refresh(bob.ID))
	sameEverywhere(t, bob.ID, a, b)
}

// Without its engine a pool is as it was last seen.
func TestStatusAlone(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	a.fault = unreachable
	d := a.status()
	if d.Engine != "unreachable" || d.SeenAt.IsZero() || d.Reason == "" || len(d.Accounts) != 1 || d.Accounts[0].State != "alone" || d.Accounts[0].ID != ada.ID {
		t.Errorf("%+v", d)
	}
	wants(t, a.doctor(false), "fail", "can't be reached")
	_, err := a.leave()
	wantCode(t, err, fault.EngineUnreachable)
	wantCode(t, testenv.Err(share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "other"})), fault.NotAMember)
}

// A machine that joined long after an account's token had ended can't know whether the engine
// is up to date. It says so, and a person can confirm it.
func TestStrangerIsConfirmed(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	g := s.server.Issue("ada")
	ada := a.add(account.NewAccount{Label: "ada", RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken),
		ObtainedAt: time.Now().Add(-9 * time.Hour).UTC(), ExpiresAt: time.Now().Add(-8 * time.Hour).UTC()})
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	wantCode(t, b.refresh(ada.ID), fault.EngineRestored)
	wants(t, b.doctor(false), "warning", "never seen")
	wants(t, b.doctor(true), "ok", "confirmed")
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b)
}

// A ticket that is over goes without anybody's command, where the pool is in use.
func TestTicketEnds(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	a.login("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	made, err := share.Invite(t.Context(), a.folder(), a.dial, pipe.InviteRequest{Pool: "work", For: time.Second})
	testenv.Must(t, err)
	invited := func() bool {
		all, _, err := s.memory.List(t.Context(), "")
		testenv.Must(t, err)
		return slices.ContainsFunc(all, func(e engine.Entry) bool { return strings.HasSuffix(e.Key, "/invite/"+made.ID) })
	}
	testenv.Must(t, a.exchange())
	if !invited() && time.Now().Before(made.ExpiresAt) {
		t.Error("it went before its time")
	}
	time.Sleep(time.Until(made.ExpiresAt))
	testenv.Must(t, b.exchange()) // which hasn't heard of it
	testenv.Must(t, a.exchange())
	if invited() {
		t.Error("the engine still has the invitation")
	}
}
