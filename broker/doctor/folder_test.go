package doctor

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/testenv"
)

// A folder on another machine's disk is pointed out.
func TestFolderOnNFS(t *testing.T) {
	fileSystem = func(string) string { return "NFS" }
	t.Cleanup(func() { fileSystem = networkFileSystem })
	d := &examination{f: folder.New(folder.Options{Dir: t.TempDir()})}
	d.folder()
	if !slices.ContainsFunc(d.checks, func(c Check) bool {
		return c.Status == Warning && strings.Contains(c.Message, "is on NFS: locks may not reach other machines")
	}) {
		t.Errorf("%+v", d.checks)
	}
}

// A folder of authferry's own that only somebody else may look into is named too.
func TestOwnFolderThatIsClosed(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a system with modes")
	}
	f := folder.New(folder.Options{Dir: t.TempDir()})
	locks := filepath.Join(f.Dir, "locks")
	testenv.Must(t, os.Mkdir(locks, 0))
	t.Cleanup(func() { _ = os.Chmod(locks, 0o700) }) // #nosec G302 -- a folder
	testenv.KeptOut(t, func() {
		for alone, want := range map[bool]bool{true: true, false: false} {
			if got := slices.Contains(ownFiles(f, alone), locks); got != want {
				t.Errorf("alone %v: %v", alone, got)
			}
		}
	})
}
