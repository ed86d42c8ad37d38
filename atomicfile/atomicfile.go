// Package atomicfile replaces a file whole or not at all, on systems that differ
// in what that takes.
package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// What is being written stands in a file beside the other one, called
// Prefix + something + Suffix, which a process that is killed leaves there: Sweep.
const (
	Prefix = ".authferry-"
	Suffix = ".tmp"
)

// Write puts data in the place of the file at path, or makes it, with this mode
// (where Windows has no modes: for whom the folder is). Its folder must exist. A
// symbolic link at path is replaced, not followed. still, unless nil, is asked last,
// and its error ends it with nothing changed.
//
// The data is on disk when Write returns; that the name leads to it, after
// SyncFolder.
func Write(path string, data []byte, mode fs.FileMode, still func() error) error {
	f, err := os.CreateTemp(filepath.Dir(path), Prefix+"*"+Suffix) // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if mode != 0o600 && runtime.GOOS != "windows" {
		err = errors.Join(err, f.Chmod(mode))
	}
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && still != nil {
		err = still()
	}
	if err == nil {
		err = Patiently(func() error { return os.Rename(f.Name(), path) }, InUse)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return nil
}

// Sweep deletes what writers left in dir that were killed at least age ago. A
// failure is left to the next time.
func Sweep(dir string, age time.Duration) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), Prefix) || !strings.HasSuffix(e.Name(), Suffix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) >= age {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// SyncFolder makes the renames and deletions in dir durable. Windows has no call
// for that and journals them by itself; some file systems have none either.
func SyncFolder(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer folder.Close()
	if err := folder.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, syscall.EINVAL) {
		return err
	}
	return nil
}

// InUse reports that Windows refused because another process has the file open at
// this moment: Go opens files without FILE_SHARE_DELETE, so a reader gets in the
// way of a rename, and the rename in the way of a reader.
func InUse(err error) bool {
	const accessDenied, sharingViolation, lockViolation = syscall.Errno(5), syscall.Errno(32), syscall.Errno(33)
	return runtime.GOOS == "windows" && !errors.Is(err, fs.ErrNotExist) &&
		(errors.Is(err, accessDenied) || errors.Is(err, sharingViolation) || errors.Is(err, lockViolation))
}

// Patiently does op again while its error is one to wait out, ten times within
// half a second, and returns its last error.
func Patiently(op func() error, again func(error) bool) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := op()
		if err == nil || pause > 256*time.Millisecond || !again(err) {
			return err
		}
		time.Sleep(pause)
	}
}
