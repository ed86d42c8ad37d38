package share_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/testenv"
)

// One machine shares its pool; a second gets all of it, a consumer its access tokens, and
// another one keys too. Whoever refreshes, it is one request, and the others have the token.
func TestPoolOfFourMachines(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob, key := a.login("ada"), a.login("bob"), a.apiKey("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	d := b.joined("trusted", pipe.InviteRequest{Consumer: true, WithKeys: true})
	for _, m := range []*machine{a, b, d} {
		if m.labels() != "ada bob ada-key" {
			t.Errorf("%s has %q", m.name, m.labels())
		}
	}
	if c.labels() != "ada bob" {
		t.Errorf("a consumer has %q", c.labels())
	}
	sameEverywhere(t, ada.ID, a, b, c, d)
	sameEverywhere(t, key.ID, a, b, d)
	if a.refreshToken(ada.ID) != b.refreshToken(ada.ID) || c.refreshToken(ada.ID)+d.refreshToken(ada.ID) != "" {
		t.Error("a holder lacks the refresh token, or a consumer has one")
	}

	testenv.Must(t, b.refresh(ada.ID))
	for _, m := range []*machine{a, c, d} {
		testenv.Must(t, m.refresh(ada.ID))
	}
	sameEverywhere(t, ada.ID, a, b, c, d)
	if n := s.server.TokenRequests(); n != 1 || s.server.Reuse() != 0 {
		t.Errorf("%d token requests, %d reuses", n, s.server.Reuse())
	}
	testenv.Must(t, a.refresh(bob.ID))

	for _, m := range []*machine{a, b, c, d} {
		d := m.status()
		var got []string
		for _, x := range d.Accounts {
			got = append(got, x.Label+":"+x.State)
		}
		if text := strings.Join(got, " "); d.Engine != "ok" || d.Machine != m.name || text != "ada:idle bob:idle ada-key:idle" {
			t.Errorf("%s: %+v", m.name, d)
		}
		for _, x := range d.Accounts {
			if x.Label == "ada" && x.Generation != 2 {
				t.Errorf("%s: generation %d", m.name, x.Generation)
			}
		}
	}
	list, err := share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})
	testenv.Must(t, err)
	var names []string
	for _, m := range list.Machines {
		names = append(names, m.Name+":"+m.Role)
		if m.Self != (m.Name == "laptop") {
			t.Errorf("%+v", m)
		}
	}
	if text := strings.Join(names, " "); text != "laptop:holder desktop:holder runner:consumer trusted:consumer" || len(list.Tickets) != 0 {
		t.Errorf("%s, %v", text, list.Tickets)
	}
	for _, m := range []*machine{a, b, c, d} {
		for _, check := range m.doctor(false) {
			if check.Status != "ok" {
				t.Errorf("%s: %+v", m.name, check)
			}
		}
	}
}

// A ticket is used once, by one machine, in its time; a reusable one by any number.
func TestTickets(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	ticket := a.invite(pipe.InviteRequest{})
	if strings.Contains(ticket.Ticket, "\n") || !strings.HasPrefix(ticket.Ticket, "authferry-share1") {
		t.Error("not a line that one can recognise")
	}
	b, c := s.machine("desktop"), s.machine("thief")
	b.join(ticket.Ticket)
	join := func(m *machine, ticket string) error {
		return testenv.Err(share.Join(t.Context(), m.folder(), m.dial, pipe.JoinRequest{Ticket: ticket, Machine: m.name}))
	}
	wantCode(t, join(c, ticket.Ticket), fault.TicketUsed)
	wantCode(t, join(b, ticket.Ticket), fault.LabelTaken)
	if len(c.index().Accounts) != 0 {
		t.Error("a used ticket brought accounts")
	}
	m, err := c.open().Store.Manifest(t.Context())
	testenv.Must(t, err)
	if !m.Empty() {
		t.Errorf("a used ticket left %+v", m)
	}

	over := a.invite(pipe.InviteRequest{For: 1})
	wantCode(t, join(c, over.Ticket), fault.TicketUsed)
	many := a.invite(pipe.InviteRequest{Consumer: true, Reusable: true})
	before := len(s.lines)
	for _, name := range []string{"job-1", "job-2"} {
		m := s.machine(name)
		testenv.Must(t, join(m, many.Ticket))
		if m.token(ada.ID) != a.token(ada.ID) {
			t.Errorf("%s has another token", name)
		}
	}
	for _, line := range s.lines[before:] {
		for _, c := range line.Calls() {
			if c.Op == "swap" {
				t.Errorf("who joins by a reusable ticket writes %s", c.Key)
			}
		}
	}
	list, err := share.Members(t.Context(), a.folder(), a.dial, pipe.PoolRequest{Pool: "work"})
	testenv.Must(t, err)
	if len(list.Tickets) != 1 || list.Tickets[0].ID != many.ID {
		t.Errorf("%+v", list.Tickets)
	}
	for text, code := range map[string]fault.Code{"": fault.Usage, "authferry-share1": fault.Usage, "authferry-share2AAAA": fault.IndexTooNew, ticket.Ticket[:200]: fault.Usage, "ghp_x": fault.Usage} {
		wantCode(t, join(c, text), code)
	}
	wantCode(t, testenv.Err(share.Invite(t.Context(), b.folder(), b.dial, pipe.InviteRequest{Pool: "work", Reusable: true})), fault.Usage)
	x := a.joined("runner", pipe.InviteRequest{Consumer: true})
	wantCode(t, testenv.Err(share.Invite(t.Context(), x.folder(), x.dial, pipe.InviteRequest{Pool: "work"})), fault.NotAMember)
}

// What is here already isn't mixed with what comes.
func TestJoinRefuses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	a.login("ada")
	a.start()
	b := s.machine("desktop")
	bob := b.login("bob")
	ticket := a.invite(pipe.InviteRequest{}).Ticket
	join := func(as string) error {
		return testenv.Err(share.Join(t.Context(), b.folder(), b.dial, pipe.JoinRequest{Ticket: ticket, Machine: "desktop", As: as}))
	}
	wantCode(t, join(""), fault.LabelTaken)
	again := b.login("ada")
	wantCode(t, join("team"), fault.LabelTaken)
	testenv.Must(t, testenv.Err(account.Remove(t.Context(), b.folder(), again.ID, account.RevokeNever)))
	testenv.Must(t, join("team"))
	if b.labels() != "bob" || b.account(bob.ID).Share != nil || len(b.index().Members("team")) != 1 {
		t.Errorf("%+v", b.index().Accounts)
	}
}

// Start refuses what can't be shared, and then nothing has happened.
func TestStartRefuses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	start := func(change func(*pipe.StartRequest)) error {
		req := a.startRequest()
		if change != nil {
			change(&req)
		}
		return testenv.Err(share.Start(t.Context(), a.folder(), a.dial, req))
	}
	wantCode(t, start(func(r *pipe.StartRequest) { r.Pool = "nowhere" }), fault.NoAccount)
	wantCode(t, start(func(r *pipe.StartRequest) { r.Endpoints = []string{"http://engine.example"} }), fault.Usage)
	wantCode(t, start(func(r *pipe.StartRequest) { r.Endpoints = nil }), fault.Usage)
	wantCode(t, start(func(r *pipe.StartRequest) { r.Machine = "a b" }), fault.Usage)
	wantCode(t, start(func(r *pipe.StartRequest) { r.CA = "no" }), fault.Usage)
	wantCode(t, start(func(r *pipe.StartRequest) { r.Cert = "no" }), fault.Usage)
	wantCode(t, start(func(r *pipe.StartRequest) { r.Prefix = "a b" }), fault.Usage)
	a.fault = unreachable
	wantCode(t, start(nil), fault.EngineUnreachable)
	a.fault = nil
	if a.account(ada.ID).Share != nil || len(a.index().Shares) != 0 {
		t.Errorf("%+v", a.index())
	}
	a.start()
	wantCode(t, start(nil), fault.Fenced)
}

// No secret is in anything that goes to the engine, whatever the machines do.
func TestEngineSeesNoSecret(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, key := a.login("ada"), a.apiKey("bob")
	secrets := []string{a.refreshToken(ada.ID), a.token(ada.ID), a.token(key.ID), `"ada"`, "ada@", "bob@", "laptop", "desktop", "runner", `"work"`, "AGE-SECRET-KEY"} // quoted: a few letters may be in base64, too
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	testenv.Must(t, b.refresh(ada.ID))
	secrets = append(secrets, b.refreshToken(ada.ID), b.token(ada.ID))
	testenv.Must(t, c.refresh(ada.ID))
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "desktop"})))
	secrets = append(secrets, a.refreshToken(ada.ID), a.token(ada.ID))
	for place, text := range s.written() {
		for _, secret := range secrets {
			if secret == "" || strings.Contains(text, secret) || strings.Contains(place, secret) {
				t.Errorf("%s has %q", place, secret)
			}
		}
	}
	if len(s.written()) < 5 {
		t.Fatal("nothing was written")
	}
}

// One machine removes another: what that one has is spent, it gets no more, and those who
// stay go on. What can't be spent is named until it is replaced.
func TestRemove(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, bob := a.login("ada"), a.login("bob")
	a.apiKey("ada")
	a.start()
	b := a.joined("stolen", pipe.InviteRequest{})
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	many := a.invite(pipe.InviteRequest{Consumer: true, Reusable: true})
	job := s.machine("job")
	job.join(many.Ticket)
	given := b.invite(pipe.InviteRequest{})
	testenv.Must(t, b.refresh(ada.ID)) // which this machine doesn't know of yet
	spent := b.refreshToken(ada.ID)

	remove := func() *pipe.RemoveResult {
		t.Helper()
		done, err := share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "stolen"})
		testenv.Must(t, err)
		return done
	}
	done := remove()
	labels := func(all []pipe.Account) string {
		var names []string
		for _, x := range all {
			names = append(names, x.Label)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	if labels(done.Rotated) != "ada bob" || labels(done.Replace) != "ada-key" || len(done.Pending) != 0 || done.Machine != "stolen" {
		t.Errorf("%+v", done)
	}
	if a.refreshToken(ada.ID) == spent {
		t.Error("its refresh token isn't spent")
	}
	wantCode(t, b.refresh(ada.ID), fault.NotAMember)
	wantCode(t, testenv.Err(share.Members(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})), fault.NotAMember)
	x := s.machine("accomplice")
	wantCode(t, testenv.Err(share.Join(t.Context(), x.folder(), x.dial, pipe.JoinRequest{Ticket: given.Ticket, Machine: "x"})), fault.TicketUsed)
	for _, m := range []*machine{c, job} {
		testenv.Must(t, m.refresh(ada.ID))
		sameEverywhere(t, ada.ID, a, m)
	}
	testenv.Must(t, a.refresh(bob.ID))
	testenv.Must(t, c.refresh(bob.ID))
	sameEverywhere(t, bob.ID, a, c)
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}

	wants(t, a.doctor(false), "warning", "still knows")
	if again := remove(); labels(again.Replace) != "ada-key" || len(again.Rotated) != 0 {
		t.Errorf("again: %+v", again)
	}
	wantCode(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "laptop"})), fault.Usage)
	wantCode(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: "nobody"})), fault.NoAccount)
	wantCode(t, testenv.Err(share.Remove(t.Context(), c.folder(), c.dial, pipe.RemoveRequest{Pool: "work", Machine: "laptop"})), fault.NotAMember)

	// The one that was removed cleans up after itself.
	left, err := share.Leave(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})
	testenv.Must(t, err)
	if len(left.Removed) != 3 || left.Warning == "" || len(b.index().Accounts)+len(b.index().Shares) != 0 {
		t.Errorf("%+v", left)
	}

	// A reusable ticket is withdrawn: who has used it gets no more.
	testenv.Must(t, testenv.Err(share.Remove(t.Context(), a.folder(), a.dial, pipe.RemoveRequest{Pool: "work", Machine: many.ID})))
	wantCode(t, job.refresh(ada.ID), fault.NotAMember)
	testenv.Must(t, c.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, c)
}

// A person logs in again on one machine: that login replaces the one that all had, whether
// it was refused for good, is being refreshed, or was refreshed meanwhile.
func TestLoginAgain(t *testing.T) {
	t.Parallel()
	for name, before := range map[string]func(s *scene, a, b *machine, id string){
		"as it was": func(*scene, *machine, *machine, string) {},
		"refreshed elsewhere": func(_ *scene, a, _ *machine, id string) {
			testenv.Must(t, a.refresh(id))
			testenv.Must(t, a.refresh(id))
		},
		"refused for good": func(s *scene, a, _ *machine, id string) {
			s.server.Revoke("ada")
			wantCode(t, a.refresh(id), fault.LoginNeeded)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			a := s.machine("laptop")
			ada := a.login("ada")
			a.start()
			b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true})
			before(s, a, b, ada.ID)
			g := s.server.Issue("ada")
			again := account.NewAccount{Provider: s.provider(), RefreshToken: keystore.NewSecret(g.RefreshToken), AccessToken: keystore.NewSecret(g.AccessToken), ExpiresAt: time.Now().Add(time.Hour).UTC(),
				Identity: oauth.Identity{Issuer: s.server.URL, Subject: "ada"}}
			wantCode(t, testenv.Err(account.Replace(t.Context(), c.folder(), ada.ID, again)), fault.NotAMember)
			testenv.Must(t, testenv.Err(account.Replace(t.Context(), b.folder(), ada.ID, again)))
			sameEverywhere(t, ada.ID, b, a, c)
			if a.token(ada.ID) != g.AccessToken || a.refreshToken(ada.ID) != g.RefreshToken {
				t.Error("the others don't have the new login")
			}
			// It is an account like any other again.
			testenv.Must(t, a.refresh(ada.ID))
			testenv.Must(t, b.refresh(ada.ID))
			sameEverywhere(t, ada.ID, b, a, c)
			if s.server.Reuse() != 0 {
				t.Errorf("%d reuses", s.server.Reuse())
			}
		})
	}
}

// A machine looks for the pool at other addresses, also one that has joined by a ticket. If
// the pool isn't there, it stays where it was.
func TestPoolAtOtherAddresses(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	c := a.joined("runner", pipe.InviteRequest{Consumer: true})
	const before, now, empty = "http://127.0.0.1:1", "http://127.0.0.1:2", "http://127.0.0.1:3"
	elsewhere := enginetest.NewMemory()
	asked := map[string]bool{}
	s.engine = func(_ context.Context, c share.Connection) (engine.Engine, error) {
		asked[c.Endpoints[0]] = true
		switch c.Endpoints[0] {
		case now:
			return enginetest.NewFaulty(s.memory), nil
		case empty:
			return enginetest.NewFaulty(elsewhere), nil
		}
		away := enginetest.NewFaulty(elsewhere)
		away.Inject(unreachable)
		return away, nil
	}
	at := func(m *machine, change func(*pipe.StartRequest)) error {
		req := pipe.StartRequest{Pool: "work", Endpoints: []string{now}}
		change(&req)
		return testenv.Err(share.Start(t.Context(), m.folder(), m.dial, req))
	}
	for _, m := range []*machine{a, b, c} {
		wantCode(t, at(m, func(r *pipe.StartRequest) { r.Endpoints = []string{before} }), fault.Fenced)
		wantCode(t, at(m, func(r *pipe.StartRequest) { r.Endpoints = []string{"http://127.0.0.1:4"} }), fault.EngineUnreachable)
		wantCode(t, at(m, func(r *pipe.StartRequest) { r.Endpoints = []string{empty} }), fault.EngineRestored)
		for _, change := range []func(*pipe.StartRequest){
			func(r *pipe.StartRequest) { r.Prefix = "other" }, func(r *pipe.StartRequest) { r.Machine = "other" },
			func(r *pipe.StartRequest) { r.Endpoints = []string{"http://etcd.example"} }, func(r *pipe.StartRequest) { r.Cert = "x" },
		} {
			wantCode(t, at(m, change), fault.Usage)
		}
		clear(asked)
		if d := m.status(); d.Engine != "unreachable" || !asked[before] {
			t.Errorf("%s is elsewhere: %+v, %v", m, d, asked)
		}
		testenv.Must(t, at(m, func(*pipe.StartRequest) {}))
		clear(asked)
		if d := m.status(); d.Engine != "ok" || len(asked) != 1 || !asked[now] {
			t.Errorf("%s: %+v, %v", m, d, asked)
		}
	}
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b, c)
	late := b.joined("late", pipe.InviteRequest{}) // tickets carry the new ones
	if late.status().Engine != "ok" {
		t.Error("a ticket names the old address")
	}
}
