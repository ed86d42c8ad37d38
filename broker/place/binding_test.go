package place

import (
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// bindings are directories that are bound.
type bindings struct {
	t    *testing.T
	dir  string // everything is in it
	home string // authferry's folder
	idx  *index.Index
}

func newBindings(t *testing.T) *bindings {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	testenv.Must(t, err)
	return &bindings{t: t, dir: dir, home: filepath.Join(dir, "authferry"), idx: &index.Index{}}
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

// expect checks to which pool dir is bound for a provider, or which error says so.
func (w *bindings) expect(what, dir, provider, want string) {
	w.t.Helper()
	bd, err := Bound(w.idx, w.home, At{Dir: dir}, provider)
	got := ""
	switch {
	case err != nil:
		got = string(fault.CodeOf(err))
	case bd != nil:
		got = bd.Pool
	}
	if got != want {
		w.t.Errorf("%s: %q (%v), want %q", what, got, err, want)
	}
}

// No file server is asked because index.json names it; whether its directory is this
// one is then not known, unless their paths are the same.
func TestBindingOnAServer(t *testing.T) {
	w := newBindings(t)
	home := w.at("home")
	for _, share := range []string{"//server/share/job", `\\server\share\job`} {
		w.idx.Bindings = nil
		w.bind(share, "p", "work")
		w.expect(share, home, "p", "fenced")
		w.expect(share+", another provider", home, "q", "")
		w.bind(home, "p", "p")
		w.expect(share+", and here", w.at("home", "sub"), "p", "p")
	}
	if runtime.GOOS != "linux" {
		t.Skip("needs a table of mounts")
	}
	server := w.at("server")
	table, err := readMounts()
	testenv.Must(t, err)
	table = append(table, mount{id: "share", parent: (&Mounts{table: table, top: topMount(table)}).at(w.dir).id, device: "0:999", root: "/", point: server})
	readMounts = func() ([]mount, error) { return table, nil }
	t.Cleanup(func() { readMounts = mountTable })
	testenv.Symlink(t, server, filepath.Join(w.dir, "to"))
	for name, dir := range map[string]string{
		"on it":           filepath.Join(server, "job"), // which isn't there: nobody looks
		"by a link to it": filepath.Join(w.dir, "to", "a", "job"),
	} {
		w.idx.Bindings = nil
		w.bind(dir, "p", "work")
		w.expect(name, home, "p", "fenced")
	}
	job := w.at("server", "job")
	w.idx.Bindings = nil
	w.bind(job, "p", "work")
	w.expect("the same path", w.at("server", "job", "sub"), "p", "work")
	w.home = w.at("server", "authferry")
	w.expect("the folder is there too", home, "p", "")
}

// What is to be seen through an overlay is bound as it is below it.
func TestBindingBelowAnOverlay(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs a table of mounts")
	}
	w := newBindings(t)
	merged := w.at("merged")
	table, err := readMounts()
	testenv.Must(t, err)
	table = append(table, mount{id: "overlay", parent: (&Mounts{table: table, top: topMount(table)}).at(w.dir).id, device: "0:999", root: "/", point: merged,
		local: true, layers: []string{filepath.Join(w.dir, "lower"), filepath.Join(w.dir, "upper")}})
	readMounts = func() ([]mount, error) { return table, nil }
	t.Cleanup(func() { readMounts = mountTable })
	w.bind(filepath.Join(w.dir, "upper", "job"), "p", "work") // not there by that path any more
	w.expect("in it", w.at("merged", "job", "sub"), "p", "work")
	w.expect("beside it", w.at("merged", "other"), "p", "")
}
