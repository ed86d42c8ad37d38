package broker

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/broker/index"
)

// copyFolder copies file by file, over what is there: others may be at work in it.
func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
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
	}); err != nil {
		t.Error(err)
	}
}

func removeAll(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func move(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func (w *world) keyFile() string {
	w.t.Helper()
	idx, err := index.At(w.dir).Read()
	if err != nil {
		w.t.Fatal(err)
	}
	return idx.KeyFile
}

func realDir(t *testing.T, dir string) string {
	t.Helper()
	real, err := index.RealPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	return real
}
