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
	// Durable changes are on disk before Update returns. For everything about grants.
	Durable Durability = iota
	// Fast changes survive the process; a power cut may undo the last of them. For holds,
	// usage and the current account: a lost one costs a refused request, not a login.
	Fast
)

// tempAge: a temporary file is written and renamed within milliseconds, under the lock.
const tempAge = 10 * time.Minute

// write replaces index.json by data. If the file has the content old now, that becomes the
// backup first, so that neither file is ever missing or incomplete. still, unless nil, is
// called last; if it returns an error, index.json stays as it is.
func (f *File) write(d Durability, old, data []byte, still func() error) error {
	temp, err := f.writeTemp(data)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already, unless something below failed
	if old != nil {
		// A backup that another process is reading stays as it is, which is good enough.
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

// writeTemp syncs what it writes, even for a Fast change: on some file systems a file that
// was renamed before it was written is empty after a power cut, and the backup may be just
// such a file of another Fast change.
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

// keep makes the current file, whose content is old, the backup: by a second link to it,
// which costs no write, or else by a copy.
func (f *File) keep(old []byte) error {
	temp := f.tempPath()
	if os.Link(f.path(), temp) != nil {
		var err error
		if temp, err = f.writeTemp(old); err != nil {
			return err
		}
	}
	// Also after success: renaming one link of a file over another does nothing, which can
	// be the case after a change that was killed between its renames.
	defer os.Remove(temp)
	return replace(temp, f.backupPath())
}

// putAside keeps the file at path under another name. With a link, path is never missing;
// what can't be linked (a directory) is renamed.
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

// betweenRenames reports whether a file may be missing only because it is being replaced:
// Windows promises no atomic rename. If the other version exists, this one did too.
func betweenRenames(beside string) bool {
	if atomicRename {
		return false
	}
	_, err := os.Lstat(beside)
	return err == nil
}
