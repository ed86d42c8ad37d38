package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// replace puts data in the place of the file at path, whole or not at all, and
// durably. A symbolic link at path is replaced, not followed.
func replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	if err := makeFolder(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "*.tmp") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = patiently(func() error { return os.Rename(f.Name(), path) })
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	sweep(dir)
	return syncFolder(dir)
}

// remove deletes the file at path durably. A missing one is no error.
func remove(path string) error {
	err := patiently(func() error { return os.Remove(path) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// makeFolder makes dir, and what it lies in, for this user alone.
func makeFolder(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(dir))
}

// sweep deletes what writers that were killed left behind.
func sweep(dir string) {
	left, _ := filepath.Glob(filepath.Join(dir, "*.tmp"))
	for _, path := range left {
		if info, err := os.Lstat(path); err == nil && time.Since(info.ModTime()) > time.Hour {
			_ = os.Remove(path) // the next write tries again
		}
	}
}

// syncFolder makes a rename or deletion in dir durable. Windows has no such call
// and journals the change itself.
func syncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// patiently repeats f while Windows says that another process has the file open:
// a reader is in the way of a rename, and a rename in the way of a reader.
func patiently(f func() error) error {
	var err error
	for wait := time.Millisecond; wait < 300*time.Millisecond; wait *= 2 {
		if err = f(); !inUse(err) {
			return err
		}
		time.Sleep(wait)
	}
	return err
}

func inUse(err error) bool {
	const accessDenied, sharingViolation, lockViolation syscall.Errno = 5, 32, 33
	return runtime.GOOS == "windows" &&
		(errors.Is(err, accessDenied) || errors.Is(err, sharingViolation) || errors.Is(err, lockViolation))
}
