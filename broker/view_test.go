package broker

import (
	"testing"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// currentOnes are the accounts that list shows as current, which every other view of
// them has to agree with.
func currentOnes(w *world) []string {
	w.t.Helper()
	b := w.broker()
	all, err := List(b.Folder)
	testenv.Must(w.t, err)
	s, err := Status(b.Folder)
	testenv.Must(w.t, err)
	var current []string
	for _, v := range all {
		info, err := Info(b.Folder, v.ID)
		if err != nil || info.Current != v.Current || ViewOf(b.Folder, new(w.account(v.ID))).Current != v.Current {
			w.t.Errorf("info says that current is %t of %s, list %t; %v", info.Current, v.Label, v.Current, err)
		}
		for _, p := range s.Pools {
			if p.Name == v.Pool && (p.Current == v.ID) != v.Current {
				w.t.Errorf("current of pool %s is %s by status, and %t of %s by list", p.Name, p.Current, v.Current, v.Label)
			}
		}
		if v.Current {
			current = append(current, v.Label)
		}
	}
	return current
}

// A login that ends at the provider moves the pool on, and it stays with the one
// that took its place.
func TestADeadLoginMovesThePool(t *testing.T) {
	w, a := pooled(t, "ada", "bob", "cat")
	w.server.Revoke("ada")
	tok, err := w.broker().Token(t.Context(), TokenRequest{Rejected: lease(a[0].ID, 1)})
	if err != nil || tok.Account.ID != a[1].ID || w.current("sim") != a[1].ID {
		t.Fatalf("current is %s: %v", w.current("sim"), err)
	}
	equal(t, currentOnes(w), "bob")
	w.report(pool.Selection{}, limited(a[1], 60))
	equal(t, currentOnes(w), "cat")
	w.edit(a[1].ID, func(a *index.Account) { a.Holds = nil })
	equal(t, currentOnes(w), "cat")
}

// So it does where nobody could write it down: the stored one can't be used, and
// the one that is used in its place gets a hold.
func TestAReportMovesThePoolFromWhoIsUsed(t *testing.T) {
	w, a := pooled(t, "ada", "bob", "cat")
	w.edit(a[0].ID, func(a *index.Account) { a.Dead = a.Fingerprint })
	equal(t, currentOnes(w), "bob")
	r := w.report(pool.Selection{}, limited(a[1], 60))
	if r.Account.Current || r.Next.Account.ID != a[2].ID {
		t.Fatalf("%+v", r)
	}
	w.edit(a[1].ID, func(a *index.Account) { a.Holds = nil })
	equal(t, currentOnes(w), "cat")
	for _, x := range a {
		w.edit(x.ID, func(a *index.Account) { a.Disabled = true })
	}
	equal(t, currentOnes(w))
}
