package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// copyFolder copies file by file, over what is there: others may be at work in it.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	testenv.Check(t, filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			return os.MkdirAll(filepath.Join(to, rel), 0o700)
		}
		data, err := os.ReadFile(path)
		return errors.Join(err, os.WriteFile(filepath.Join(to, rel), data, 0o600))
	}))
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	testenv.Must(t, os.RemoveAll(path))
}

func move(t *testing.T, from, to string) {
	t.Helper()
	testenv.Must(t, os.Rename(from, to))
}

func keyFileOf(w *world) string {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	testenv.Must(w.t, err)
	return idx.KeyFile
}

func realDir(t *testing.T, dir string) string {
	t.Helper()
	real, err := index.RealPath(dir)
	testenv.Must(t, err)
	return real
}
