package share_test

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share"
	"github.com/authferry/authferry/share/engine/enginetest"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
	"github.com/authferry/authferry/testenv"
)

// part is what a machine has in its keystore of the pool: what a thief would have.
func (m *machine) part() (id string, ring seal.Ring) {
	m.t.Helper()
	o := m.open()
	id = o.Index.Shares[0].ID
	item, err := o.Store.Share(m.t.Context(), id)
	testenv.Must(m.t, err)
	var w struct{ Keys json.RawMessage }
	testenv.Must(m.t, json.Unmarshal([]byte(item.Reveal()), &w))
	ring, err = seal.DecodeRing(keystore.NewSecret(string(w.Keys)))
	testenv.Must(m.t, err)
	return id, ring
}

// forge stores a login of m's as that of another account.
func (m *machine) forge(from, as string, edit func(*seal.Contents)) {
	m.t.Helper()
	pool, ring := m.part()
	e, _, err := m.memory.Get(m.t.Context(), share.Key("authferry", pool, "acc", from))
	testenv.Must(m.t, err)
	r, err := seal.Open(ring, pool, from, e.Value)
	testenv.Must(m.t, err)
	c := r.Contents
	c.Account = as
	g := *c.Grant
	g.Account = as
	c.Grant = &g
	if c.Access != nil {
		acc := *c.Access
		acc.Account = as
		c.Access = &acc
	}
	if edit != nil {
		edit(&c)
	}
	next, err := seal.Seal(ring, c)
	testenv.Must(m.t, err)
	value, err := next.Encode(ring)
	testenv.Must(m.t, err)
	m.memory.Put(share.Key("authferry", pool, "acc", as), value)
}

// private is an account of m's that isn't in the pool.
func (m *machine) private(user string) *index.Account {
	m.t.Helper()
	g := m.server.Issue(user)
	a, err := account.Add(m.t.Context(), m.folder(), account.NewAccount{Label: user, Provider: m.provider(), Pool: "home", RefreshToken: keystore.NewSecret(g.RefreshToken),
		AccessToken: keystore.NewSecret(g.AccessToken), ExpiresAt: time.Now().Add(time.Hour).UTC(), Identity: oauth.Identity{Issuer: m.server.URL, Subject: user}})
	testenv.Must(m.t, err)
	return a
}

// A member of the pool stores its own login under the id of an account that another member
// has elsewhere. That account stays what it was.
func TestAccountOfAnotherPool(t *testing.T) {
	t.Parallel()
	s, a, b, ada := two(t)
	victim := b.private("victim")
	refresh, access := b.refreshToken(victim.ID), b.token(victim.ID)
	a.forge(ada.ID, victim.ID, nil)
	b.status()
	b.doctor(true)
	testenv.Check(t, b.refresh(victim.ID))
	if got := b.account(victim.ID); got.Share != nil || got.Pool != "home" || got.Subject != "victim" {
		t.Errorf("it is another account now: %+v, %+v", got, got.Share)
	}
	if b.token(victim.ID) == a.token(ada.ID) || b.refreshToken(victim.ID) == a.refreshToken(ada.ID) {
		t.Error("it has the other's login")
	}
	if s.server.Refreshes("victim") != 1 || b.refreshToken(victim.ID) == refresh || b.token(victim.ID) == access {
		t.Error("it wasn't refreshed on its own")
	}
}

func (m *machine) remove(name string) (*pipe.RemoveResult, error) {
	m.t.Helper()
	return share.Remove(m.t.Context(), m.folder(), m.dial, pipe.RemoveRequest{Pool: "work", Machine: name})
}

// The engine is restored from a backup of before a removal, whose keys are over: the
// machines that are left put back what they have.
func TestRestoredFromBeforeARemoval(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada, key := a.login("ada"), a.apiKey("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
	c := a.joined("stolen", pipe.InviteRequest{})
	r := a.joined("runner", pipe.InviteRequest{Consumer: true})
	backup := s.memory.Snapshot()
	testenv.Must(t, testenv.Err(a.remove("stolen")))
	for _, m := range []*machine{b, r} {
		testenv.Must(t, m.refresh(ada.ID))
		m.status()
	}
	newest := a.refreshToken(ada.ID)
	s.memory.Restore(backup, false)
	s.memory.SetCluster("restored")
	for _, m := range []*machine{a, b, r} {
		wantCode(t, m.refresh(ada.ID), fault.EngineRestored)
		wants(t, m.doctor(false), "fail", "forgotten")
	}
	for _, m := range []*machine{a, b, r} {
		for _, c := range m.doctor(true) {
			if c.Status == "fail" {
				t.Errorf("%s: %+v", m.name, c)
			}
		}
	}
	if a.refreshToken(ada.ID) != newest {
		t.Error("the newest login is lost")
	}
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b, r)
	sameEverywhere(t, key.ID, a, b)
	wantCode(t, testenv.Err(share.Members(t.Context(), c.folder(), c.dial, pipe.PoolRequest{Pool: "work"})), fault.NotAMember)
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}
}

// Who was removed, and can still write at the engine, stores a login of its own with the keys
// that it had: no machine that has newer ones believes it.
func TestKeysOfTheRemoved(t *testing.T) {
	s, a, b, ada := two(t)
	r := a.joined("runner", pipe.InviteRequest{Consumer: true})
	c := a.joined("stolen", pipe.InviteRequest{})
	pool, old := c.part()
	if !crashing(t, "S22", 1, func() error { return testenv.Err(a.remove("stolen")) }) {
		t.Fatal("it didn't die")
	}
	for _, m := range []*machine{b, r} { // each has old keys and new ones
		testenv.Must(t, m.refresh(ada.ID))
		if _, ring := m.part(); len(ring) != 2 {
			t.Fatalf("%s has the keys of %d epochs", m.name, len(ring))
		}
	}
	testenv.Must(t, testenv.Err(a.remove("stolen")))
	good := a.token(ada.ID)
	evil := s.server.Issue("mallory")
	g := record.Grant{Account: ada.ID, Provider: "sim", RefreshToken: keystore.NewSecret(evil.RefreshToken), Origins: []string{"https://evil.example"}}
	acc := record.Access{Account: ada.ID, AccessToken: keystore.NewSecret(evil.AccessToken), TokenType: "Bearer", ObtainedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour), Origins: g.Origins}
	forged, err := seal.Seal(old, seal.Contents{Pool: pool, Account: ada.ID, Gen: 99, Grant: &g, Access: &acc, Public: seal.Public{Label: "ada", Provider: "sim", Kind: index.KindOAuth}})
	testenv.Must(t, err)
	value, err := forged.Encode(old)
	testenv.Must(t, err)
	s.memory.Put(share.Key("authferry", pool, "acc", ada.ID), value)
	for _, m := range []*machine{a, b, r} {
		wantCode(t, m.refresh(ada.ID), fault.EngineRestored)
		if m.token(ada.ID) == evil.AccessToken {
			t.Errorf("%s has the thief's token", m.name)
		}
	}
	for _, m := range []*machine{a, b, r} {
		m.doctor(true)
	}
	testenv.Must(t, b.refresh(ada.ID))
	sameEverywhere(t, ada.ID, a, b, r)
	if a.token(ada.ID) == good || s.server.Reuse() != 0 {
		t.Errorf("not refreshed, or %d reuses", s.server.Reuse())
	}
}

// While a machine is removed, another one refreshes an account with the old keys, and the
// one that is removed reads that. It is refreshed again.
func TestRefreshedDuringRemoval(t *testing.T) {
	for _, at := range []string{"S20", "S21"} {
		for _, consumer := range []bool{false, true} {
			s := newScene(t)
			a := s.machine("laptop")
			ada := a.login("ada")
			a.start()
			b := a.joined("desktop", pipe.InviteRequest{})
			c := a.joined("stolen", pipe.InviteRequest{Consumer: consumer})
			var stop func()
			stop = onReaching(func(point string) {
				if point == at {
					stop()
					testenv.Must(t, b.refresh(ada.ID))
					testenv.Must(t, c.refresh(ada.ID))
				}
			})
			done, err := a.remove("stolen")
			testenv.Must(t, err)
			if len(done.Rotated) != 1 || len(done.Pending)+len(done.Replace) != 0 {
				t.Errorf("%s: %+v", at, done)
			}
			sameEverywhere(t, ada.ID, a, b)
			if b.token(ada.ID) == c.token(ada.ID) || !consumer && b.refreshToken(ada.ID) == c.refreshToken(ada.ID) {
				t.Errorf("%s: who was removed has what the others use", at)
			}
		}
	}
}

// A machine answers its ticket just when the pool gets new keys. It is a member all the same.
func TestJoinDuringRemoval(t *testing.T) {
	for _, consumer := range []bool{false, true} {
		s := newScene(t)
		a := s.machine("laptop")
		ada := a.login("ada")
		a.start()
		a.joined("stolen", pipe.InviteRequest{})
		ticket := a.invite(pipe.InviteRequest{Consumer: consumer})
		d := s.machine("desktop")
		ready, answer, answered, removed := make(chan bool), make(chan bool), make(chan bool), make(chan bool)
		step := 0
		d.fault = func(c enginetest.Call) (f enginetest.Fault) {
			switch {
			case c.Op == "swap" && strings.HasSuffix(c.Key, ticket.ID) && step == 0:
				step = 1
				ready <- true
				<-answer
			case step == 1:
				step = 2
				answered <- true
				<-removed
			}
			return f
		}
		joined := make(chan error)
		go func() {
			joined <- testenv.Err(share.Join(t.Context(), d.folder(), d.dial, pipe.JoinRequest{Ticket: ticket.Ticket, Machine: "desktop"}))
		}()
		<-ready
		a.fault = func(c enginetest.Call) (f enginetest.Fault) {
			if c.Op == "swap" && strings.HasSuffix(c.Key, ticket.ID) && step == 1 {
				answer <- true
				<-answered
			}
			return f
		}
		testenv.Must(t, testenv.Err(a.remove("stolen")))
		close(removed)
		testenv.Must(t, <-joined)
		d.status()
		sameEverywhere(t, ada.ID, a, d)
		testenv.Must(t, a.refresh(ada.ID))
		sameEverywhere(t, ada.ID, a, d)
	}
}

// An account is put into the pool just when the pool gets new keys. All who stay have it.
func TestEnterDuringRemoval(t *testing.T) {
	for _, at := range []string{"S22", ""} {
		s := newScene(t)
		a := s.machine("laptop")
		ada := a.login("ada")
		a.start()
		b := a.joined("desktop", pipe.InviteRequest{})
		a.joined("stolen", pipe.InviteRequest{})
		bob := b.login("bob")
		entered := make(chan error)
		begin, published := make(chan bool), false
		b.fault = func(c enginetest.Call) (f enginetest.Fault) {
			if c.Op == "swap" && strings.HasSuffix(c.Key, bob.ID) && !published {
				published = true
				begin <- true
				<-begin
			}
			return f
		}
		go func() {
			entered <- testenv.Err(share.Enter(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"}))
		}()
		<-begin
		if at != "" {
			var stop func()
			stop = onReaching(func(point string) {
				if point == at {
					begin <- true
					stop()
					testenv.Must(t, <-entered)
				}
			})
		}
		testenv.Must(t, testenv.Err(a.remove("stolen")))
		if at == "" {
			begin <- true
			testenv.Must(t, <-entered)
		}
		a.status()
		for _, x := range []*index.Account{ada, bob} {
			sameEverywhere(t, x.ID, a, b)
			testenv.Must(t, a.refresh(x.ID))
			sameEverywhere(t, x.ID, a, b)
		}
		for _, m := range []*machine{a, b} {
			for _, c := range m.doctor(false) {
				if c.Status != "ok" {
					t.Errorf("%s, %s: %+v", at, m.name, c)
				}
			}
		}
	}
}

// A machine enters a user of the engine whose name is a command. Who removes it is told a
// command with that name as one word.
func TestUserThatIsACommand(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"ci-1":            "ci-1",
		"Ada's; touch /x": `-- 'Ada'\''s; touch /x'`,
		"-f":              "-- '-f'",
		"$(id)\n\u202e#":  "-- '$(id)\ufffd\ufffd#'",
	} {
		s := newScene(t)
		a := s.machine("laptop")
		a.login("ada")
		a.start()
		b := a.joined("stolen", pipe.InviteRequest{})
		pool, ring := b.part()
		e, _, err := s.memory.Get(t.Context(), share.Key("authferry", pool, "meta", ""))
		testenv.Must(t, err)
		meta, err := seal.OpenMeta(ring, pool, e.Value)
		testenv.Must(t, err)
		meta.Roster.Named("stolen").User = user
		value, err := meta.Encode(ring)
		testenv.Must(t, err)
		s.memory.Put(e.Key, value)
		done, err := a.remove("stolen")
		testenv.Must(t, err)
		if len(done.Revoke) != 1 || done.Revoke[0] != "etcdctl user delete "+want {
			t.Errorf("%q: %q", user, done.Revoke)
		}
	}
}

// A ticket's end is what the pool's list says, whatever is written in the ticket itself.
func TestTicketThatWasProlonged(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	a.login("ada")
	a.start()
	const prefix = "authferry-share1"
	text := a.invite(pipe.InviteRequest{For: 1}).Ticket
	plain, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, prefix))
	testenv.Must(t, err)
	var w map[string]any
	testenv.Must(t, json.Unmarshal(plain, &w))
	w["expires_at"] = time.Now().Add(time.Hour)
	plain, err = json.Marshal(w)
	testenv.Must(t, err)
	b := s.machine("thief")
	wantCode(t, testenv.Err(share.Join(t.Context(), b.folder(), b.dial, pipe.JoinRequest{Ticket: prefix + base64.RawURLEncoding.EncodeToString(plain)})), fault.TicketUsed)
}

// The pool gets new keys while a machine refreshes an account: before it announces, it begins
// anew; after that it publishes with the new keys. It is one request.
func TestNewKeysDuringRefresh(t *testing.T) {
	for _, at := range []string{"S2", "S4", "K14"} {
		s := newScene(t)
		a := s.machine("laptop")
		ada := a.login("ada")
		a.start()
		b := a.joined("desktop", pipe.InviteRequest{})
		a.joined("stolen", pipe.InviteRequest{})
		var stop func()
		stop = onReaching(func(point string) {
			if point == at {
				stop()
				if !crashing(t, "S22", 1, func() error { return testenv.Err(a.remove("stolen")) }) {
					t.Error("it didn't die")
				}
			}
		})
		testenv.Must(t, b.refresh(ada.ID))
		if done, err := a.remove("stolen"); err != nil || len(done.Pending)+len(done.Replace) != 0 {
			t.Errorf("%s: %+v, %v", at, done, err)
		}
		sameEverywhere(t, ada.ID, a, b)
		most := 1
		if at == "K14" { // what came may have been published with the old keys, and read
			most = 2
		}
		if n := s.server.Refreshes("ada"); n == 0 || n > most || s.server.Reuse() != 0 {
			t.Errorf("%s: %d refreshes, %d reuses", at, n, s.server.Reuse())
		}
	}
}

// The list of machines at the engine is deleted, or replaced by what no machine has stored. A
// machine that holds the logins puts back what it saw; others say who can. What is put back
// is as it was: nothing was refreshed twice, and everybody is in the pool.
func TestListOfMachinesIsLost(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	b, c := a.joined("desktop", pipe.InviteRequest{}), a.joined("runner", pipe.InviteRequest{Consumer: true})
	id, _ := a.part()
	a.status()
	key := share.Key("authferry", id, "meta", "")
	good, _, err := s.memory.Get(t.Context(), key)
	testenv.Must(t, err)
	s.memory.Put(key, []byte("garbage"))
	wants(t, b.doctor(true), "fail", "1 machine joined after this one saw the list")
	s.memory.Put(key, good.Value)
	b.status()
	other := s.machine("elsewhere")
	other.login("eve")
	other.start()
	foreign, _ := other.part()
	theirs, _, err := s.memory.Get(t.Context(), share.Key("authferry", foreign, "meta", ""))
	testenv.Must(t, err)
	for name, value := range map[string][]byte{"missing": nil, "garbage": []byte("\x00garbage"), "cut off": good.Value[:len(good.Value)/2], "another pool's": theirs.Value} {
		s.memory.Put(key, value)
		code := fault.Fenced
		if value == nil {
			code = fault.EngineRestored
		}
		wantCode(t, testenv.Err(share.Members(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})), code)
		wants(t, c.doctor(true), "fail", "a machine that holds the logins can put the list back")
		wants(t, a.doctor(false), "fail", "can put back the list that it saw last, of 3 machines")
		now, _, err := s.memory.Get(t.Context(), key)
		testenv.Must(t, err)
		if string(now.Value) != string(value) {
			t.Errorf("%s: it was changed without being asked", name)
		}
		checks := a.doctor(true)
		wants(t, checks, "ok", "put back the list of machines")
		for _, check := range checks {
			if check.Status == "fail" {
				t.Errorf("%s: %+v", name, check)
			}
		}
		for _, m := range []*machine{b, c} {
			m.doctor(true) // confirms, where the engine had forgotten it
			testenv.Check(t, m.refresh(ada.ID))
			m.status()
		}
		list, err := share.Members(t.Context(), b.folder(), b.dial, pipe.PoolRequest{Pool: "work"})
		testenv.Must(t, err)
		if len(list.Machines) != 3 {
			t.Errorf("%s: %+v", name, list.Machines)
		}
	}
	if s.server.Reuse() != 0 {
		t.Errorf("%d reuses", s.server.Reuse())
	}

	// A machine that has no copy says so, and leaves what is there.
	o := a.open()
	item, err := o.Store.Share(t.Context(), id)
	testenv.Must(t, err)
	var w map[string]any
	testenv.Must(t, json.Unmarshal([]byte(item.Reveal()), &w))
	delete(w, "meta")
	text, err := json.Marshal(w)
	testenv.Must(t, err)
	testenv.Must(t, o.SetShare(t.Context(), id, keystore.NewSecret(string(text))))
	s.memory.Put(key, []byte("garbage"))
	wants(t, a.doctor(true), "fail", "this machine has no copy of the list, which is kept up to 64 KB")
	wants(t, b.doctor(true), "ok", "put back the list of machines")
}
