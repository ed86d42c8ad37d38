package broker

import (
	"testing"
)

// What a selection comes to, and where its tokens may go, is told by the index and
// the keystore; the provider is not asked, nor is it of interest who is free.
func TestChosen(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	if _, err := b.Move(t.Context(), "bob", "work"); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Disable(t.Context(), "bob"); err != nil {
		t.Fatal(err)
	}
	before := w.server.Ledger().TokenRequests
	for _, test := range []struct {
		name string
		s    Selection
		want Chosen
		code Code
	}{
		{"nothing", Selection{Dir: t.TempDir()}, Chosen{}, ""},
		{"an account", Selection{Account: "bob"}, Chosen{"sim", "work", a[1].ID}, ""},
		{"a pool", Selection{Pool: "work"}, Chosen{"sim", "work", ""}, ""},
		{"a provider", Selection{Provider: "sim"}, Chosen{"sim", "sim", ""}, ""},
		{"the environment's pool", Selection{EnvPool: "work"}, Chosen{"sim", "work", ""}, ""},
		{"the environment's account", Selection{EnvAccount: "ada"}, Chosen{"sim", "sim", a[0].ID}, ""},
		{"a pool before the environment's account", Selection{Pool: "work", EnvAccount: "ada"}, Chosen{"sim", "work", ""}, ""},
		{"outside of the pool", Selection{Pool: "work", Account: "ada"}, Chosen{}, Fenced},
		{"outside of the environment's pool", Selection{EnvPool: "work", Provider: "other"}, Chosen{}, Fenced},
		{"nobody", Selection{Account: "nobody"}, Chosen{}, NoAccount},
		{"nowhere", Selection{Pool: "nowhere"}, Chosen{}, NoAccount},
	} {
		got, err := b.Chosen(test.s)
		if got != test.want || (err == nil) != (test.code == "") || err != nil && CodeOf(err) != test.code {
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
