package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/authferry/authferry/atomicfile"
)

// replace replaces the file at path by data, durably, for this user only.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	// Its parent is not made: it may just have been moved away.
	if err := os.Mkdir(dir, 0o700); err == nil {
		if err := atomicfile.SyncFolder(filepath.Dir(dir)); err != nil {
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := atomicfile.Write(path, data, 0o600, nil); err != nil {
		return err
	}
	atomicfile.Sweep(dir, time.Hour)
	return atomicfile.SyncFolder(dir)
}

// remove deletes the file at path durably. A missing one is no error.
func remove(path string) error {
	err := atomicfile.Patiently(func() error { return os.Remove(path) }, atomicfile.InUse)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return atomicfile.SyncFolder(filepath.Dir(path))
}

// makeFolder makes dir and its parents, for this user only.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return atomicfile.SyncFolder(filepath.Dir(dir))
}
