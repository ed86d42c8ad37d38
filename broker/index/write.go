package index

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/authferry/authferry/atomicfile"
)

// Durability says whether a change must outlive a power cut.
type Durability int

const (
	// Durable changes are on disk before Update returns: all that concerns grants.
	Durable Durability = iota
	// Fast changes outlive the process; a power cut may undo the last ones: holds,
	// usage, current. That costs a refused request, not a login.
	Fast
)

// tempAge: a temp file is written and renamed within milliseconds, under the lock.
const tempAge = 10 * time.Minute

// write replaces index.json by data. Where it holds old now, that becomes the
// backup first, so that at no instant either of the two is missing or partial. still,
// unless nil, is asked last, and its error ends it with index.json as it is.
func (f *File) write(d Durability, old, data []byte, still func() error) error {
	temp, err := f.writeTemp(data)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already unless something below failed
	if old != nil {
		// A backup that is being read keeps its content, which is as good.
		if err := f.keep(old); err != nil && !inUse(err) {
			return err
		}
	}
	if still != nil {
		if err := still(); err != nil {
			return err
		}
	}
	if err := replace(temp, f.path()); err != nil {
		return err
	}
	atomicfile.Sweep(f.dir, tempAge)
	if d == Durable {
		return atomicfile.SyncFolder(f.dir)
	}
	return nil
}

// writeTemp syncs what it writes, also for a Fast change: on some file systems a
// file that was renamed before it was written is empty after a power cut, and the
// backup is the file before, which another Fast change may have written.
func (f *File) writeTemp(data []byte) (path string, err error) {
	path = f.tempPath()
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = file.Write(data)
	if err == nil {
		err = file.Sync()
	}
	err = errors.Join(err, file.Close())
	if err != nil {
		os.Remove(path)
		return "", err
	}
	return path, nil
}

func (f *File) tempPath() string {
	return filepath.Join(f.dir, atomicfile.Prefix+randomName()+atomicfile.Suffix)
}

// keep makes the current file, which holds old, the backup: by a second link to
// it, which costs no write, or else by a copy.
func (f *File) keep(old []byte) error {
	temp := f.tempPath()
	if os.Link(f.path(), temp) != nil {
		var err error
		if temp, err = f.writeTemp(old); err != nil {
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

func replace(from, to string) error {
	return atomicfile.Patiently(func() error { return rename(from, to) }, inUse)
}

// Tests put faults here.
var (
	rename = os.Rename
	inUse  = atomicfile.InUse

	atomicRename = runtime.GOOS != "windows"
)

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
