package broker

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// bindings are a folder without a keystore, whose directories are bound: what is
// selected there is decided by the index alone.
type bindings struct {
	t   *testing.T
	dir string // everything is in it
	b   *Broker
	idx *index.Index
}

// newBindings has a pool p and a pool work of provider p, and a pool q of provider q.
func newBindings(t *testing.T) *bindings {
	t.Helper()
	dir := realDir(t, t.TempDir())
	return &bindings{t: t, dir: dir, b: New(Options{Dir: filepath.Join(dir, "authferry")}), idx: &index.Index{
		Accounts: []index.Account{
			{ID: "acc_aaaaaaaaaaaaaaaa", Label: "Home", Provider: "p", Pool: "p"},
			{ID: "acc_bbbbbbbbbbbbbbbb", Label: "Work", Provider: "p", Pool: "work"},
			{ID: "acc_cccccccccccccccc", Label: "Other", Provider: "q", Pool: "q"},
		},
		Pools: map[string]index.Pool{"p": {Provider: "p"}, "work": {Provider: "p"}, "q": {Provider: "q"}},
	}}
}

// at makes a directory.
func (w *bindings) at(path ...string) string {
	w.t.Helper()
	dir := filepath.Join(append([]string{w.dir}, path...)...)
	testenv.Must(w.t, os.MkdirAll(dir, 0o700))
	return dir
}

func (w *bindings) bind(dir, provider, pool string) {
	w.idx.Bindings = append(w.idx.Bindings, index.Binding{Dir: dir, Provider: provider, Pool: pool})
}

// expect checks which pool, or which error, a selection comes to.
func (w *bindings) expect(what string, s pool.Selection, want string) {
	w.t.Helper()
	sel, err := w.b.rules().Resolve(w.idx, s)
	got := sel.Pool
	if err != nil {
		got = string(fault.CodeOf(err))
	}
	if got != want {
		w.t.Errorf("%s: %s (%v), want %s", what, got, err, want)
	}
}

// A directory that nobody knows is bound wherever there is a binding that it could have.
func TestUnknownPlace(t *testing.T) {
	w := newBindings(t)
	gone := filepath.Join(w.dir, "gone")
	for _, s := range []pool.Selection{{DirUnknown: true}, {Dir: gone}} {
		s.Provider = "p"
		w.expect("nothing is bound", s, "p")
	}
	w.bind(w.at("job"), "p", "work")
	for _, s := range []pool.Selection{{DirUnknown: true}, {Dir: gone}, {Dir: filepath.Join(w.dir, "job", "gone")}} {
		with := func(change func(*pool.Selection)) pool.Selection { own := s; change(&own); return own }
		w.expect("nothing is named", s, "fenced")
		w.expect("its provider", with(func(s *pool.Selection) { s.Provider = "p" }), "fenced")
		w.expect("another provider", with(func(s *pool.Selection) { s.Provider = "q" }), "q")
		w.expect("--account", with(func(s *pool.Selection) { s.Account = "Work" }), "fenced")
		w.expect("--account of another provider", with(func(s *pool.Selection) { s.Account = "Other" }), "q")
		w.expect("AUTHFERRY_POOL", with(func(s *pool.Selection) { s.EnvPool = "work" }), "fenced")
		w.expect("AUTHFERRY_ACCOUNT", with(func(s *pool.Selection) { s.EnvAccount = "Home" }), "fenced")
		w.expect("--pool", with(func(s *pool.Selection) { s.Pool = "p" }), "p")
		if _, err := w.b.rules().ResolveLease(w.idx, s, &w.idx.Accounts[0]); fault.CodeOf(err) != fault.Fenced {
			t.Errorf("a lease: %v", err)
		}
	}
	if _, err := w.b.Chosen(pool.Selection{}); err != nil {
		t.Errorf("what names nothing: %v", err)
	}
	w.expect("no directory counts", pool.Selection{Provider: "p"}, "p")
}

// Another path to a bound directory is bound as well.
func TestBindingByAnotherPath(t *testing.T) {
	w := newBindings(t)
	job, below := w.at("job"), w.at("job", "a", "b")
	w.bind(job, "p", "work")
	testenv.Symlink(t, job, filepath.Join(w.dir, "link"))
	w.expect("a link", pool.Selection{Dir: filepath.Join(w.dir, "link", "a", "b"), Provider: "p"}, "work")
	w.expect("beside it", pool.Selection{Dir: w.at("home"), Provider: "p"}, "p")
	w.expect("above it", pool.Selection{Dir: w.dir, Provider: "p"}, "p")
	if runtime.GOOS == "linux" {
		t.Chdir(below)
		w.expect("/proc", pool.Selection{Dir: "/proc/self/cwd", Provider: "p"}, "work")
		t.Chdir(w.dir)
	}

	// The directory is moved, and a link left in its place.
	moved := filepath.Join(w.dir, "moved")
	move(t, job, moved)
	w.expect("moved, nothing in its place", pool.Selection{Dir: filepath.Join(moved, "a"), Provider: "p"}, "p")
	testenv.Symlink(t, moved, job)
	w.expect("moved", pool.Selection{Dir: filepath.Join(moved, "a"), Provider: "p"}, "work")
	w.expect("moved, by the link", pool.Selection{Dir: filepath.Join(job, "a"), Provider: "p"}, "work")

	// What is nearer wins, however it is found; at one place the path does.
	w.bind(w.dir, "p", "p")
	w.expect("moved, and above it", pool.Selection{Dir: filepath.Join(moved, "a"), Provider: "p"}, "work")
	w.bind(moved, "p", "p")
	w.expect("bound by both paths", pool.Selection{Dir: filepath.Join(moved, "a"), Provider: "p"}, "p")

	// A loop of links leads nowhere, and nobody knows whether here.
	w.idx.Bindings = nil
	testenv.Must(t, os.Symlink(filepath.Join(w.dir, "loop"), filepath.Join(w.dir, "loop")))
	w.bind(filepath.Join(w.dir, "loop"), "p", "work")
	w.expect("a loop", pool.Selection{Dir: moved, Provider: "p"}, "fenced")
}

// What can't be looked at may be here.
func TestBindingOutOfReach(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs modes: not on Windows")
	}
	w := newBindings(t)
	closed := w.at("closed")
	w.bind(w.at("closed", "job"), "p", "work")
	testenv.Must(t, os.Chmod(closed, 0))
	t.Cleanup(func() { _ = os.Chmod(closed, 0o700) })
	home := w.at("home")
	testenv.KeptOut(t, func() {
		w.expect("elsewhere", pool.Selection{Dir: home, Provider: "p"}, "fenced")
		w.expect("in it", pool.Selection{Dir: filepath.Join(closed, "job"), Provider: "p"}, "fenced")
	})
}

// A hostile index is no work.
func TestVeryManyBindings(t *testing.T) {
	w := newBindings(t)
	here := w.at("here")
	for range place.MaxCompared + 1 {
		w.bind(w.at("there"), "p", "work")
	}
	w.expect("elsewhere", pool.Selection{Dir: here, Provider: "p"}, "fenced")
	w.bind(here, "p", "p")
	w.expect("here", pool.Selection{Dir: here, Provider: "p"}, "p")
}

// A directory that is bound for several providers is bound for the one that has accounts.
func TestBindingForSeveralProviders(t *testing.T) {
	w := newBindings(t)
	job := w.at("job")
	w.bind(job, "p", "work")
	w.bind(job, "q", "q")
	w.expect("both", pool.Selection{Dir: job}, "ambiguous")
	w.expect("one of them", pool.Selection{Dir: job, Provider: "q"}, "q")

	w.idx.Accounts = w.idx.Accounts[:2] // q's ended
	delete(w.idx.Pools, "q")
	w.expect("one has accounts", pool.Selection{Dir: job}, "work")
	w.idx.Accounts = w.idx.Accounts[:1] // and work
	delete(w.idx.Pools, "work")
	w.expect("one pool is left, outside of the fence", pool.Selection{Dir: job}, "no_account")
	w.expect("and its provider is named", pool.Selection{Dir: job, Provider: "p"}, "no_account")
	w.expect("elsewhere", pool.Selection{Dir: w.dir}, "p")
	w.idx.Accounts[0].Provider, w.idx.Pools["p"] = "r", index.Pool{Provider: "r"}
	w.expect("a third provider's is left", pool.Selection{Dir: job}, "no_account")
}

// What a directory is bound to may end, or its name come to mean something else: the
// fence stands.
func TestBindingToWhatEnded(t *testing.T) {
	w := newBindings(t)
	job := w.at("job")
	w.idx.Bindings = []index.Binding{{Dir: job, Provider: "p", Account: "acc_bbbbbbbbbbbbbbbb"}}
	w.expect("its account", pool.Selection{Dir: job, Provider: "p"}, "work")
	w.idx.Accounts[1].Pool = "elsewhere"
	w.idx.Pools["elsewhere"] = index.Pool{Provider: "p"}
	w.expect("its account was moved", pool.Selection{Dir: job, Provider: "p"}, "elsewhere")
	w.expect("AUTHFERRY_POOL is where it was", pool.Selection{Dir: job, EnvPool: "p"}, "fenced")
	w.idx.Drop("acc_bbbbbbbbbbbbbbbb")
	w.expect("its account was removed", pool.Selection{Dir: job, Provider: "p"}, "no_account")
	w.expect("and another is named", pool.Selection{Dir: job, Account: "Home"}, "fenced")
	w.expect("or a pool, by the environment", pool.Selection{Dir: job, EnvPool: "p"}, "fenced")

	w.idx.Bindings = []index.Binding{{Dir: job, Provider: "p", Pool: "work"}}
	delete(w.idx.Pools, "work")
	w.expect("its pool ended", pool.Selection{Dir: job, Provider: "p"}, "no_account")
	w.idx.Accounts[1].Pool, w.idx.Pools["work"] = "work", index.Pool{Provider: "q"}
	w.expect("another provider has a pool of that name", pool.Selection{Dir: job, Provider: "p"}, "no_account")
	w.expect("and nothing is named", pool.Selection{Dir: job}, "no_account")
}

// A caller that says where it will send the token is fenced as well, unless nobody's
// may go there.
func TestUnknownPlaceForAnOrigin(t *testing.T) {
	w, _ := spread(t)
	b := w.broker()
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, t.TempDir(), "", "work")))
	ask := func(s pool.Selection, origin string) error {
		_, err := b.Token(t.Context(), TokenRequest{Selection: s, Origin: origin})
		return err
	}
	if err := ask(pool.Selection{DirUnknown: true}, w.server.URL); fault.CodeOf(err) != fault.Fenced || errors.Is(err, ErrOtherOrigin) {
		t.Error(err)
	}
	if err := ask(pool.Selection{DirUnknown: true}, "https://elsewhere.example.com"); !errors.Is(err, ErrOtherOrigin) {
		t.Errorf("elsewhere: %v", err)
	}
	if err := ask(pool.Selection{DirUnknown: true, Pool: "work"}, w.server.URL); err != nil {
		t.Errorf("--pool: %v", err)
	}
}

// Doctor names the bindings that people have forgotten.
func TestDoctorBindings(t *testing.T) {
	w, a := pooled(t, "ada", "bob")
	b, dir := w.broker(), realDir(t, t.TempDir())
	testenv.Must(t, b.Folder.Update(t.Context(), index.Durable, func(idx *index.Index) error {
		idx.Bindings = []index.Binding{
			{Dir: dir, Provider: "sim", Pool: "sim"}, {Dir: filepath.Join(dir, "gone"), Provider: "sim", Pool: "sim"}, {Dir: "//server/x", Provider: "sim", Pool: "sim"},
			{Dir: dir, Provider: "other", Pool: "sim"}, {Dir: dir, Provider: "third", Account: index.NewID()}, {Dir: dir, Provider: "fourth", Account: a[0].ID},
		}
		return nil
	}))
	var said []string
	for _, c := range doctor.Examine(t.Context(), b.Folder, false) {
		if c.Name == "bindings" {
			said = append(said, c.Message)
		}
	}
	if len(said) != 4 || !strings.Contains(said[0], "is gone") || !strings.Contains(said[1], "can't be accessed") || !strings.Contains(said[2], "no account of provider other") || !strings.Contains(said[3], "was removed") {
		t.Errorf("%q", said)
	}
}

// Bind keeps what will be found again, once.
func TestBindWhatIsFoundAgain(t *testing.T) {
	w, _ := pooled(t, "ada")
	b, dir := w.broker(), realDir(t, t.TempDir())
	job, link := filepath.Join(dir, "job"), filepath.Join(dir, "link")
	for _, path := range []string{job, filepath.Join(dir, "file")} {
		testenv.Must(t, os.WriteFile(path, nil, 0o600))
	}
	if _, err := account.Bind(t.Context(), b.Folder, filepath.Join(dir, "file"), "", "sim"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("a file: %v", err)
	}
	if odd := filepath.Join(dir, "caf\xe9"); os.Mkdir(odd, 0o700) == nil && runtime.GOOS == "linux" {
		if _, err := account.Bind(t.Context(), b.Folder, odd, "", "sim"); fault.CodeOf(err) != fault.Usage {
			t.Errorf("a name that JSON can't have: %v", err)
		}
	}
	testenv.Must(t, os.Remove(job))
	testenv.Must(t, os.Mkdir(job, 0o700))
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, job, "", "sim")))
	move(t, job, filepath.Join(dir, "moved"))
	testenv.Symlink(t, filepath.Join(dir, "moved"), job)
	testenv.Must(t, os.Symlink(job, link))
	testenv.Must(t, testenv.Err(account.Bind(t.Context(), b.Folder, link, "ada", "")))
	idx, err := b.Folder.Read()
	if err != nil || len(idx.Bindings) != 1 || idx.Bindings[0].Dir != filepath.Join(dir, "moved") {
		t.Errorf("bound again: %+v, %v", idx.Bindings, err)
	}
	if gone, err := account.Unbind(t.Context(), b.Folder, link); err != nil || len(gone) != 1 {
		t.Errorf("unbound by a link: %+v, %v", gone, err)
	}
}
