package index

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

// Durability says whether a change must outlive a power cut.
type Durability int

const (
	// Durable changes are on disk before Update returns: all that concerns grants.
	Durable Durability = iota
	// Fast changes outlive the process, not a power cut: holds, usage, current.
	// Losing one costs a refused request, not a login.
	Fast
)

const (
	tempSuffix = ".tmp"
	// A temp file is written and renamed within milliseconds, under the lock.
	tempAge = 10 * time.Minute
)

// write replaces index.json by data. Where it holds old now, that becomes the
// backup first, so that at no instant either of the two is missing or partial.
func (f *File) write(d Durability, old, data []byte) error {
	temp, err := f.writeTemp(d, data)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already unless something below failed
	if old != nil {
		// A backup that is being read keeps its content, which is as good.
		if err := f.keep(d, old); err != nil && !inUse(err) {
			return err
		}
	}
	if err := replace(temp, f.path()); err != nil {
		return err
	}
	f.sweep()
	if d == Durable {
		return syncFolder(f.dir)
	}
	return nil
}

func (f *File) writeTemp(d Durability, data []byte) (path string, err error) {
	path = f.tempPath()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err == nil && d == Durable {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
}

func (f *File) tempPath() string { return f.path() + "." + randomName() + tempSuffix }

// keep makes the current file, which holds old, the backup: by a second link to
// it, which costs no write, or else by a copy.
func (f *File) keep(d Durability, old []byte) error {
	temp := f.tempPath()
	if os.Link(f.path(), temp) != nil {
		var err error
		if temp, err = f.writeTemp(d, old); err != nil {
			return err
		}
	}
	// Also after success: renaming one link of a file over another does nothing,
	// and that is what they are when a change was cut off between its renames.
	defer os.Remove(temp)
	return replace(temp, f.backupPath())
}

// putAside keeps the file at path under another name. A link leaves no instant
// at which path is missing; what can not be linked (a directory) is renamed.
func putAside(path, aside string) error {
	if os.Link(path, aside) == nil {
		return nil
	}
	return replace(path, aside)
}

// sweep removes the temp files of processes that were killed. It is no failure
// of the change if it can not.
func (f *File) sweep() {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), fileName+".") || !strings.HasSuffix(e.Name(), tempSuffix) {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > tempAge {
			os.Remove(filepath.Join(f.dir, e.Name()))
		}
	}
}

// syncFolder makes renames in dir durable. Windows has no such call and journals
// them by itself.
func syncFolder(dir string) error {
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

func replace(from, to string) error {
	return patiently(func() error { return rename(from, to) }, inUse)
}

// Tests put faults here.
var (
	rename = os.Rename
	inUse  = sharingViolation

	atomicRename = runtime.GOOS != "windows"
)

// sharingViolation reports that Windows refused because somebody has the file
// open: Go opens files without FILE_SHARE_DELETE, so a reader gets in the way of
// a rename, and the rename in the way of a reader.
func sharingViolation(err error) bool {
	const accessDenied, sharing = syscall.Errno(5), syscall.Errno(32)
	return runtime.GOOS == "windows" && !errors.Is(err, fs.ErrNotExist) &&
		(errors.Is(err, accessDenied) || errors.Is(err, sharing))
}

// betweenRenames reports whether a file may be missing only for the moment in
// which it is replaced: Windows promises no atomic rename. That the other version
// is there shows that this one was.
func betweenRenames(beside string) bool {
	if atomicRename {
		return false
	}
	_, err := os.Lstat(beside)
	return err == nil
}

// patiently does op again while its error is one to wait out, ten times within
// 225 ms.
func patiently(op func() error, again func(error) bool) error {
	for try := 1; ; try++ {
		err := op()
		if err == nil || try == 10 || !again(err) {
			return err
		}
		time.Sleep(time.Duration(try) * 5 * time.Millisecond)
	}
}
