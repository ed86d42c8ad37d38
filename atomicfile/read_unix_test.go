//go:build unix

package atomicfile_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

// What never ends, or never begins, is no file; a link to a file is one.
func TestReadWhatIsNoFile(t *testing.T) {
	dir := t.TempDir()
	pipe, link, file := filepath.Join(dir, "pipe"), filepath.Join(dir, "link"), filepath.Join(dir, "file")
	testenv.Must(t, errors.Join(syscall.Mkfifo(pipe, 0o600), os.WriteFile(file, []byte("mine"), 0o600), os.Symlink(pipe, link)))
	for _, path := range []string{pipe, link, "/dev/zero", "/dev/null"} {
		if data, err := atomicfile.Read(path, 1000); !errors.Is(err, atomicfile.ErrUnfit) || data != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	testenv.Must(t, errors.Join(os.Remove(link), os.Symlink(file, link)))
	if data, err := atomicfile.Read(link, 1000); err != nil || string(data) != "mine" {
		t.Errorf("a link: %q (%v)", data, err)
	}
}
