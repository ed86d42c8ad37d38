package share_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share"
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
	s := newScene(t)
	a := s.machine("laptop")
	ada := a.login("ada")
	a.start()
	b := a.joined("desktop", pipe.InviteRequest{})
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
