package atomicfile_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

func TestRead(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for size, fits := range map[int]bool{0: true, 1: true, 999: true, 1000: true, 1001: false, 100_000: false} {
		want := strings.Repeat("x", size)
		testenv.Must(t, os.WriteFile(path, []byte(want), 0o600))
		data, err := atomicfile.Read(path, 1000)
		if fits && (err != nil || string(data) != want) || !fits && (!errors.Is(err, atomicfile.ErrUnfit) || data != nil) {
			t.Errorf("%d bytes: %d are read (%v)", size, len(data), err)
		}
	}
	if err := os.Truncate(path, 1<<40); err == nil { // takes no room
		if _, err := atomicfile.Read(path, 1000); !errors.Is(err, atomicfile.ErrUnfit) {
			t.Errorf("a terabyte: %v", err)
		}
	}
	if _, err := atomicfile.Read(dir, 1000); !errors.Is(err, atomicfile.ErrUnfit) || !strings.Contains(err.Error(), dir) {
		t.Errorf("a folder: %v", err)
	}
	if _, err := atomicfile.Read(filepath.Join(dir, "none"), 1000); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}
