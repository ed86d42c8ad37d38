package broker

import (
	"os"
	"testing"

	"github.com/authferry/authferry/broker/index"
)

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
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
