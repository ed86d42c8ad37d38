// Package atomicfile replaces files as a whole or not at all, on all systems.
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

// A file that is being written has another name beside its target, Prefix + something +
// Suffix. A killed process leaves it there; Sweep removes it.
const (
	Prefix = ".authferry-"
	Suffix = ".tmp"
)

// Write replaces the file at path by data, or makes it, with this mode (on Windows, which
// has no modes, the folder decides who can read it). The folder must exist. A symbolic link
// at path is replaced, not followed. still, unless nil, is called last; if it returns an
// error, nothing is changed.
//
// The data is on disk when Write returns; the name is after SyncFolder.
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

// Sweep deletes the files that killed writers left in dir at least age ago, by the clock of
// its file system, after a change in it: this machine's clock may be hours ahead of that.
// What can't be deleted stays for the next time.
func Sweep(dir string, age time.Duration) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	folder, err := os.Stat(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), Prefix) || !strings.HasSuffix(e.Name(), Suffix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && (age == 0 || folder.ModTime().Sub(info.ModTime()) >= age) {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// SyncFolder makes the renames and deletions in dir durable. Windows has no call for that,
// because it journals them; some file systems have none either.
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

// InUse reports whether Windows refused because another process has the file open now: Go
// opens files without FILE_SHARE_DELETE, so a reader blocks a rename, and a rename blocks a
// reader.
func InUse(err error) bool {
	const accessDenied, sharingViolation, lockViolation = syscall.Errno(5), syscall.Errno(32), syscall.Errno(33)
	return runtime.GOOS == "windows" && !errors.Is(err, fs.ErrNotExist) &&
		(errors.Is(err, accessDenied) || errors.Is(err, sharingViolation) || errors.Is(err, lockViolation))
}

// Patiently retries op while its error is one that passes, ten times within half a second,
// and returns the last error.
func Patiently(op func() error, again func(error) bool) error {
	for pause := time.Millisecond; ; pause *= 2 {
		err := op()
		if err == nil || pause > 256*time.Millisecond || !again(err) {
			return err
		}
		time.Sleep(pause)
	}
}
