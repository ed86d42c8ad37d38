package broker

import (
	"testing"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// What a selection comes to, and where its tokens may go, is told by the index and
// the keystore; the provider is not asked, nor is it of interest who is free.
func TestChosen(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	testenv.Must(t, testenv.Err(account.Move(t.Context(), b.Folder, "bob", "work")))
	testenv.Must(t, testenv.Err(account.Disable(t.Context(), b.Folder, "bob")))
	before := w.server.Ledger().TokenRequests
	for _, test := range []struct {
		name string
		s    pool.Selection
		want Chosen
		code fault.Code
	}{
		{"nothing", pool.Selection{Dir: t.TempDir()}, Chosen{}, ""},
		{"an account", pool.Selection{Account: "bob"}, Chosen{"sim", "work", a[1].ID}, ""},
		{"a pool", pool.Selection{Pool: "work"}, Chosen{"sim", "work", ""}, ""},
		{"a provider", pool.Selection{Provider: "sim"}, Chosen{"sim", "sim", ""}, ""},
		{"the environment's pool", pool.Selection{EnvPool: "work"}, Chosen{"sim", "work", ""}, ""},
		{"the environment's account", pool.Selection{EnvAccount: "ada"}, Chosen{"sim", "sim", a[0].ID}, ""},
		{"a pool before the environment's account", pool.Selection{Pool: "work", EnvAccount: "ada"}, Chosen{"sim", "work", ""}, ""},
		{"outside of the pool", pool.Selection{Pool: "work", Account: "ada"}, Chosen{}, fault.Fenced},
		{"outside of the environment's pool", pool.Selection{EnvPool: "work", Provider: "other"}, Chosen{}, fault.Fenced},
		{"nobody", pool.Selection{Account: "nobody"}, Chosen{}, fault.NoAccount},
		{"nowhere", pool.Selection{Pool: "nowhere"}, Chosen{}, fault.NoAccount},
	} {
		got, err := b.Chosen(test.s)
		if got != test.want || (err == nil) != (test.code == "") || err != nil && fault.CodeOf(err) != test.code {
			t.Errorf("%s: %+v, %v, want %+v, %s", test.name, got, err, test.want, test.code)
			continue
		}
		if err != nil {
			continue
		}
		origins, err := b.Origins(t.Context(), got)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		equal(t, origins, w.server.URL)
	}
	if after := w.server.Ledger().TokenRequests; after != before {
		t.Errorf("%d requests were made", after-before)
	}
}

// spread is three accounts of provider sim, the last two in pool work, and one of
// provider other.
func spread(t *testing.T) (*world, []*index.Account) {
	t.Helper()
	w, a := pooled(t, "ada", "bob", "cat")
	for _, x := range a[1:] {
		testenv.Must(t, testenv.Err(account.Move(t.Context(), w.broker().Folder, x.ID, "work")))
	}
	dan, err := addIn(w, "other", "", "dan")
	testenv.Must(t, err)
	return w, append(a, dan)
}

// A refused token says by its lease which pool is meant where nothing else does,
// and a generation that there never was is the stored one.
func TestARejectedLeaseFindsItsPool(t *testing.T) {
	w, a := spread(t)
	b, bound := w.broker(), t.TempDir()
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, bound, "", "sim")))
	for _, test := range []struct {
		name     string
		s        pool.Selection
		rejected string
		want     string
		code     fault.Code
	}{
		{"a named pool", pool.Selection{Pool: "sim"}, lease(a[1].ID, 1), "", fault.Fenced},
		{"a named account", pool.Selection{Account: "cat"}, lease(a[1].ID, 1), "", fault.Fenced},
		{"the environment's pool", pool.Selection{EnvPool: "other"}, lease(a[1].ID, 1), "", fault.Fenced},
		{"a bound directory", pool.Selection{Dir: bound}, lease(a[1].ID, 1), "", fault.Fenced},
		{"another provider", pool.Selection{Provider: "other"}, lease(a[1].ID, 1), "", fault.Fenced},
		{"nobody's", pool.Selection{}, lease(index.NewID(), 1), "", fault.NoAccount},
		{"nothing", pool.Selection{}, lease(a[1].ID, 1), lease(a[1].ID, 2), ""},
		{"its provider", pool.Selection{Provider: "sim"}, lease(a[2].ID, 1), lease(a[2].ID, 2), ""},
		{"a directory that is bound for another provider", pool.Selection{Dir: bound}, lease(a[3].ID, 1), lease(a[3].ID, 2), ""},
		{"a generation that never was", pool.Selection{}, lease(a[0].ID, 50), lease(a[0].ID, 2), ""},
	} {
		tok, err := b.Token(t.Context(), TokenRequest{Selection: test.s, Rejected: test.rejected})
		switch {
		case test.code != "" && (err == nil || fault.CodeOf(err) != test.code):
			t.Errorf("%s: %v, want %s", test.name, err, test.code)
		case test.code == "" && err != nil:
			t.Errorf("%s: %v", test.name, err)
		case err == nil && tok.Lease != test.want:
			t.Errorf("%s: %s, want %s", test.name, tok.Lease, test.want)
		}
	}
}

// Whatever is selected, a limit is a fact about the lease's account; the selection
// is about who comes next.
func TestAReportHoldsWhoeverIsSelected(t *testing.T) {
	w, a := spread(t)
	for _, test := range []struct {
		name string
		s    pool.Selection
		next *index.Account
		code fault.Code
	}{
		{"a pool of another provider", pool.Selection{EnvPool: "other"}, nil, fault.Fenced},
		{"that pool by a flag", pool.Selection{Pool: "other"}, nil, fault.Fenced},
		{"an account of another provider", pool.Selection{EnvAccount: "dan"}, nil, fault.Fenced},
		{"a pool of the same provider", pool.Selection{EnvPool: "work"}, a[1], ""},
		{"a pool that there is not", pool.Selection{EnvPool: "nowhere"}, nil, fault.NoAccount},
		{"an account outside of the pool", pool.Selection{Pool: "work", Account: "ada"}, nil, fault.Fenced},
	} {
		w.edit(a[0].ID, func(a *index.Account) { a.Holds = nil })
		r, err := w.broker().Report(t.Context(), test.s, limited(a[0], 60))
		switch {
		case test.code != "" && (err == nil || fault.CodeOf(err) != test.code):
			t.Errorf("%s: %v, want %s", test.name, err, test.code)
		case test.code == "" && (err != nil || r.Action != Switch || r.Next == nil || r.Next.Account.ID != test.next.ID):
			t.Errorf("%s: %+v, %v", test.name, r, err)
		}
		if n := len(w.account(a[0].ID).Holds); n != 1 {
			t.Errorf("%s: %d holds", test.name, n)
		}
	}
	only := limited(a[0], 60)
	only.Next = false
	if r, err := w.broker().Report(t.Context(), pool.Selection{EnvPool: "other"}, only); err != nil || r.Action != Wait || r.Hold == nil {
		t.Errorf("a verdict alone: %+v, %v", r, err)
	}
}
