package broker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
)

func labelsOf(t *testing.T, w *world, pool string) []string {
	t.Helper()
	idx, err := index.At(w.dir).Read()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for i, m := range idx.Members(pool) {
		if m.Rank != i+1 {
			t.Errorf("%s has rank %d, want %d", m.Label, m.Rank, i+1)
		}
		names = append(names, m.Label)
	}
	return names
}

func equal(t *testing.T, got []string, want ...string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("%v, want %v", got, want)
		}
	}
}

func TestOrderAndMoveKeepTheRanks(t *testing.T) {
	w, a := pooled(t, "ada", "bob", "cat")
	b := w.broker()
	must := func(_ *index.Account, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Order(t.Context(), "cat", 1))
	equal(t, labelsOf(t, w, "sim"), "cat", "ada", "bob")
	must(b.Order(t.Context(), "cat", 99))
	equal(t, labelsOf(t, w, "sim"), "ada", "bob", "cat")
	if _, err := b.Order(t.Context(), "cat", 0); CodeOf(err) != Usage {
		t.Error(err)
	}
	must(b.Move(t.Context(), "ada", "work"))
	equal(t, labelsOf(t, w, "sim"), "bob", "cat")
	equal(t, labelsOf(t, w, "work"), "ada")
	if w.current("sim") != a[1].ID || w.current("work") != a[0].ID {
		t.Error("a pool's current account is not one of its own")
	}
	must(b.Move(t.Context(), "ada", "SIM"))
	equal(t, labelsOf(t, w, "sim"), "bob", "cat", "ada")
	if _, err := b.Move(t.Context(), "ada", "a/b"); CodeOf(err) != Usage {
		t.Error(err)
	}
}

func TestUseAndDisableMoveThePool(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	if _, err := b.Use(t.Context(), "bob"); err != nil || w.current("sim") != a[1].ID {
		t.Fatal(err)
	}
	if _, err := b.Disable(t.Context(), "bob"); err != nil || w.current("sim") != a[0].ID {
		t.Fatal(err, w.current("sim"))
	}
	if _, err := b.Use(t.Context(), "bob"); CodeOf(err) != NoAccount {
		t.Fatal(err)
	}
	if _, err := b.Enable(t.Context(), "bob"); err != nil || StateOf(new(w.account(a[1].ID)), time.Now()) != Valid {
		t.Fatal(err)
	}
}

// A bound directory is found by its real path, from anywhere below it, and is
// a fence for its own provider.
func TestBinding(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	if _, err := b.Move(t.Context(), "bob", "work"); err != nil {
		t.Fatal(err)
	}
	project := filepath.Join(t.TempDir(), "project")
	below := filepath.Join(project, "a", "b")
	if err := os.MkdirAll(below, 0o700); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(project, link); err != nil {
		t.Skip("needs symbolic links: ", err)
	}
	if _, err := filepath.EvalSymlinks(link); err != nil {
		t.Skip("needs symbolic links: ", err) // Wine makes them and does not follow them
	}
	if _, err := b.Bind(t.Context(), link, "", "work"); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{project, below, link, filepath.Join(link, "a")} {
		tok, err := b.Token(t.Context(), TokenRequest{Selection: Selection{Dir: dir}})
		if err != nil || tok.Account.ID != a[1].ID {
			t.Errorf("in %s: %v", dir, err)
		}
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: Selection{Dir: below, Account: "ada"}}); CodeOf(err) != Fenced {
		t.Errorf("the fence: %v", err)
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: Selection{Dir: filepath.Dir(project), Provider: "sim"}}); err != nil {
		t.Errorf("outside: %v", err)
	}
	if r := w.report(Selection{Dir: below}, limited(a[1], 3600)); r.Action != Wait || r.Next != nil {
		t.Errorf("a report from the bound directory says %s", r.Action)
	}
	// The nearer one wins, and goes when it is taken back.
	if _, err := b.Bind(t.Context(), below, "ada", ""); err != nil {
		t.Fatal(err)
	}
	if tok, err := b.Token(t.Context(), TokenRequest{Selection: Selection{Dir: below}}); err != nil || tok.Account.ID != a[0].ID {
		t.Error(err)
	}
	if gone, err := b.Unbind(t.Context(), below); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: Selection{Dir: below}}); CodeOf(err) != AllHeld {
		t.Error(err)
	}
}
