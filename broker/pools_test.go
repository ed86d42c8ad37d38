package broker

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

func labelsOf(t *testing.T, w *world, poolName string) []string {
	t.Helper()
	idx, err := index.At(w.dir).Read()
	testenv.Must(t, err)
	var names []string
	for i, m := range idx.Members(poolName) {
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
		testenv.Must(t, err)
	}
	must(account.Order(t.Context(), b.Folder, "cat", 1))
	equal(t, labelsOf(t, w, "sim"), "cat", "ada", "bob")
	must(account.Order(t.Context(), b.Folder, "cat", 99))
	equal(t, labelsOf(t, w, "sim"), "ada", "bob", "cat")
	if _, err := account.Order(t.Context(), b.Folder, "cat", 0); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
	must(account.Move(t.Context(), b.Folder, "ada", "work"))
	equal(t, labelsOf(t, w, "sim"), "bob", "cat")
	equal(t, labelsOf(t, w, "work"), "ada")
	if w.current("sim") != a[1].ID || w.current("work") != a[0].ID {
		t.Error("a pool's current account is not one of its own")
	}
	must(account.Move(t.Context(), b.Folder, "ada", "SIM"))
	equal(t, labelsOf(t, w, "sim"), "bob", "cat", "ada")
	if _, err := account.Move(t.Context(), b.Folder, "ada", "a/b"); fault.CodeOf(err) != fault.Usage {
		t.Error(err)
	}
}

// addIn imports a login of user at provider into pool.
func addIn(w *world, provider, poolName, user string) (*index.Account, error) {
	w.t.Helper()
	g := w.server.Issue(user)
	n := testLogin(w.server.URL, user, g.AccessToken, g.RefreshToken, time.Hour)
	n.Provider.Name, n.Pool = provider, poolName
	return account.Add(w.t.Context(), w.broker().Folder, n)
}

// A pool is found by its name in any case, whoever joins it or asks for it, so no
// second one comes to be and none of another provider's accounts gets into it.
func TestAPoolHasOneSpelling(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	for user, poolName := range map[string]string{"ada": "work", "bob": "Work", "cat": " WORK "} {
		testenv.Must(t, testenv.Err(addIn(w, "sim", poolName, user)))
	}
	idx, err := index.At(w.dir).Read()
	testenv.Must(t, err)
	pools := idx.PoolsOf("")
	if len(pools) != 1 || len(idx.Pools) != 1 || len(labelsOf(t, w, pools[0])) != 3 {
		t.Fatalf("%q %+v", pools, idx.Pools)
	}
	if _, err := addIn(w, "other", "wORK", "dan"); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("another provider's account: %v", err)
	}
	for _, s := range []pool.Selection{{Pool: "wOrk"}, {EnvPool: "wOrk"}, {Pool: "wOrk", Account: "cat"}} {
		if _, err := w.broker().Token(t.Context(), TokenRequest{Selection: s}); err != nil {
			t.Errorf("%+v: %v", s, err)
		}
	}
}

// So is a provider's own pool.
func TestAProviderFindsItsPool(t *testing.T) {
	w := newWorld(t, brokertest.Config{})
	for user, poolName := range map[string]string{"ada": "SIM", "bob": "work", "cat": ""} {
		testenv.Must(t, testenv.Err(addIn(w, "sim", poolName, user)))
	}
	tok, err := w.broker().Token(t.Context(), TokenRequest{Selection: pool.Selection{Provider: "sim"}})
	if err != nil || !index.EqualLabel(tok.Account.Pool, "sim") {
		t.Errorf("%+v, %v", tok, err)
	}
	idx, err := index.At(w.dir).Read()
	if err != nil || len(idx.PoolsOf("")) != 2 {
		t.Fatalf("%+v, %v", idx, err)
	}
}

// Where a folder has several spellings, each is found by its own name, and what
// is none of them is not guessed.
func TestAnExactPoolNameWins(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	w.edit(a[0].ID, func(a *index.Account) { a.Pool = "work" })
	testenv.Must(t, index.At(w.dir).Update(t.Context(), index.Fast, func(idx *index.Index) error {
		idx.Accounts[1].Pool = "WORK"
		idx.Pools = map[string]index.Pool{"work": {Provider: "sim"}, "WORK": {Provider: "sim"}}
		return nil
	}))
	b := w.broker()
	for i, poolName := range []string{"work", "WORK"} {
		if tok, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Pool: poolName}}); err != nil || tok.Account.ID != a[i].ID {
			t.Errorf("%s: %v", poolName, err)
		}
		if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Pool: poolName, Account: a[1-i].ID}}); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("outside of %s: %v", poolName, err)
		}
		if c, err := addIn(w, "sim", poolName, []string{"cat", "dan"}[i]); err != nil || c.Pool != poolName {
			t.Errorf("%s: %+v, %v", poolName, c, err)
		}
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Pool: "Work"}}); fault.CodeOf(err) != fault.NoAccount {
		t.Errorf("neither: %v", err)
	}
	if moved, err := account.Move(t.Context(), b.Folder, "bob", "work"); err != nil || moved.Pool != "work" {
		t.Errorf("%+v, %v", moved, err)
	}
}

func TestUseAndDisableMoveThePool(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	if _, err := account.Use(t.Context(), b.Folder, "bob"); err != nil || w.current("sim") != a[1].ID {
		t.Fatal(err)
	}
	if _, err := account.Disable(t.Context(), b.Folder, "bob"); err != nil || w.current("sim") != a[0].ID {
		t.Fatal(err, w.current("sim"))
	}
	if _, err := account.Use(t.Context(), b.Folder, "bob"); fault.CodeOf(err) != fault.NoAccount {
		t.Fatal(err)
	}
	if _, err := account.Enable(t.Context(), b.Folder, "bob"); err != nil || pool.StateOf(new(w.account(a[1].ID)), time.Now()) != pool.Valid {
		t.Fatal(err)
	}
}

// A bound directory is found by its real path, from anywhere below it, and is
// a fence for its own provider.
func TestBinding(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b := w.broker()
	testenv.Must(t, testenv.Err(account.Move(t.Context(), b.Folder, "bob", "work")))
	project := filepath.Join(t.TempDir(), "project")
	below := filepath.Join(project, "a", "b")
	testenv.Must(t, os.MkdirAll(below, 0o700))
	link := filepath.Join(t.TempDir(), "link")
	testenv.Symlink(t, project, link)
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, link, "", "work")))
	for _, dir := range []string{project, below, link, filepath.Join(link, "a")} {
		tok, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Dir: dir}})
		if err != nil || tok.Account.ID != a[1].ID {
			t.Errorf("in %s: %v", dir, err)
		}
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Dir: below, Account: "ada"}}); fault.CodeOf(err) != fault.Fenced {
		t.Errorf("the fence: %v", err)
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Dir: filepath.Dir(project), Provider: "sim"}}); err != nil {
		t.Errorf("outside: %v", err)
	}
	if r := w.report(pool.Selection{Dir: below}, limited(a[1], 3600)); r.Action != Wait || r.Next != nil {
		t.Errorf("a report from the bound directory says %s", r.Action)
	}
	// The nearer one wins, and goes when it is taken back.
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, below, "ada", "")))
	if tok, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Dir: below}}); err != nil || tok.Account.ID != a[0].ID {
		t.Error(err)
	}
	if gone, err := account.Unbind(t.Context(), b.Folder, below); err != nil || len(gone) != 1 {
		t.Fatal(gone, err)
	}
	if _, err := b.Token(t.Context(), TokenRequest{Selection: pool.Selection{Dir: below}}); fault.CodeOf(err) != fault.AllHeld {
		t.Error(err)
	}
}
