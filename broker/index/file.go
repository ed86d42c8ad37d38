package index

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/lock"
)

const (
	fileName = "index.json"
	vaultDir = "vault"

	// maxSize is far above any real index: 10,000 accounts take 5 MB.
	maxSize = 64 << 20
)

// File is the index of one folder. It is safe for concurrent use, by goroutines and by
// processes.
type File struct {
	dir      string
	existing bool     // nothing is made if the folder or the index is missing
	held     *os.File // the folder that Hold opened; nil: whatever is at dir
	vault    *os.File // the vault in it; nil: there was none
	home     string   // where it was
	store    string   // the index's store id; empty: unknown yet
}

// At returns the index of the folder dir. It accesses nothing on disk.
func At(dir string) *File { return &File{dir: dir} }

// Dir returns the folder.
func (f *File) Dir() string { return f.dir }

func (f *File) path() string { return filepath.Join(f.dir, fileName) }

func (f *File) backupPath() string { return f.path() + ".bak" }

// Read returns the current index. It takes no lock and reads one file once. Errors: one
// that matches fs.ErrNotExist if there is no index yet; a *FileError for one that can't be
// used. Unknown fields are not read, so the result must not be passed to Mend.
func (f *File) Read() (*Index, error) {
	if err := f.Still(); err != nil {
		return nil, err
	}
	ix, err := load(f.path(), f.backupPath(), parse)
	if err != nil {
		return nil, f.missed(err)
	}
	return ix, f.belongs(ix)
}

// Stat describes the file that Read reads, so that a caller can tell whether it has
// changed.
func (f *File) Stat() (fs.FileInfo, error) { return os.Lstat(f.path()) }

// LastGood returns the backup, for when Read returns ErrCorrupt. Errors are those of Read.
func (f *File) LastGood() (*Index, error) { return load(f.backupPath(), f.path(), parseKeeping) }

func load(path, beside string, parse func([]byte) (*Index, error)) (*Index, error) {
	data, err := readFile(path, beside)
	if err != nil {
		return nil, err
	}
	ix, err := parse(data)
	return ix, at(path, err)
}

// readFile reads one of the two files; beside is the path of the other.
func readFile(path, beside string) (data []byte, err error) {
	err = atomicfile.Patiently(func() error {
		info, err := os.Lstat(path)
		switch {
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return at(path, corrupt("it is not a regular file"))
		case info.Size() > maxSize:
			return at(path, corrupt("it has %d bytes", info.Size()))
		}
		data, err = atomicfile.Read(path, maxSize)
		return err
	}, func(err error) bool { return inUse(err) || errors.Is(err, fs.ErrNotExist) && betweenRenames(beside) })
	return data, err
}

// at adds the path to a *FileError.
func at(path string, err error) error {
	if e, ok := errors.AsType[*FileError](err); ok {
		e.Path = path
	}
	return err
}

// Update changes the index under its lock. fn gets the current index, or a new one if there
// is none, and changes it in place. Nothing is written if fn returns an error (which is
// returned), if fn changed nothing, or if Read would refuse the result. The context limits
// the wait for the lock; see lock.Acquire for that error. Errors of reading are as from
// Read, except that a missing index is a new one, unless it is Lost.
//
// fn must not wait for a network, a keychain or a person, and must not call Update. If
// syncing the folder fails, the change is visible already when the error is returned.
func (f *File) Update(ctx context.Context, d Durability, fn func(*Index) error) error {
	for range 3 {
		if err := f.update(ctx, d, fn); !errors.Is(err, lock.ErrLost) {
			return err
		}
	}
	return f.update(ctx, d, fn)
}

func (f *File) update(ctx context.Context, d Durability, fn func(*Index) error) error {
	l, err := f.acquire(ctx)
	if err != nil {
		return err
	}
	defer l.Release()

	var ix *Index
	old, err := readFile(f.path(), f.backupPath())
	switch {
	case err == nil:
		ix, err = parseKeeping(old)
		err = at(f.path(), err)
	case errors.Is(err, fs.ErrNotExist) && f.existing:
		err = cmp.Or(f.Lost(), f.missed(err))
	case errors.Is(err, fs.ErrNotExist):
		ix, err = f.first()
	}
	if err == nil {
		err = f.belongs(ix)
	}
	if err != nil {
		return err
	}
	if err := fn(ix); err != nil {
		return err
	}
	data, err := encode(ix)
	if err != nil {
		return at(f.path(), err)
	}
	if old != nil && bytes.Equal(old, data) {
		return nil
	}
	if err := cmp.Or(f.Still(), l.Confirm()); err != nil {
		return err
	}
	if err := f.write(d, old, data, func() error { return f.unchanged(l, old) }); err != nil {
		return f.missed(err)
	}
	if f.held != nil {
		f.store = ix.Store // which doctor may have replaced
	}
	return nil
}

// unchanged reports whether what was read under the lock l is still the file to replace.
// Folder and lock may have been removed meanwhile, and the lock's former holder may write
// late.
func (f *File) unchanged(l *lock.Lock, old []byte) error {
	dir := f.dir
	if err := f.Still(); err != nil {
		return err
	}
	if f.dir != dir {
		return ErrGone // the file to replace it was written to its old place
	}
	if err := l.Confirm(); err != nil {
		return err
	}
	if now, err := readFile(f.path(), f.backupPath()); err == nil && !bytes.Equal(now, old) {
		return fmt.Errorf("another program changed it despite the lock: %w", lock.ErrLost)
	}
	return nil
}

// Mend replaces an index that can't be used by ix, durably and under the lock, and reports
// whether it did: if another process has replaced it already, that one stays. The damaged
// file is kept as index.json.corrupt-<time>. One of a newer schema is not replaced
// (ErrTooNew).
func (f *File) Mend(ctx context.Context, ix *Index) (mended bool, err error) {
	l, err := f.acquire(ctx)
	if err != nil {
		return false, err
	}
	defer l.Release()

	// What the lost file noted last of a claim isn't known.
	for i := range ix.Accounts {
		if s := ix.Accounts[i].Share; s != nil {
			s.Claims = nil
		}
	}
	data, err := encode(ix)
	if err != nil {
		return false, at(f.path(), err)
	}
	there, err := readFile(f.path(), f.backupPath())
	if err == nil {
		_, err = parse(there)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err == nil:
		return false, nil
	case errors.Is(err, ErrCorrupt):
		aside := f.path() + ".corrupt-" + time.Now().UTC().Format("20060102T150405.000000000Z")
		if err := putAside(f.path(), aside); err != nil {
			return false, err
		}
	default:
		return false, at(f.path(), err)
	}
	return true, f.write(Durable, nil, data, nil) // no version to go back to
}

// BackUp makes the backup equal to the index, durably: for changes after which the version
// before must not be used. It is a copy and not a link, so that damage to one file doesn't
// affect the other. Errors are those of Update.
func (f *File) BackUp(ctx context.Context) error {
	l, err := f.acquire(ctx)
	if err != nil {
		return err
	}
	defer l.Release()

	data, err := readFile(f.path(), f.backupPath())
	if err == nil {
		_, err = parse(data)
	}
	if err != nil {
		return at(f.path(), err)
	}
	temp, err := f.writeTemp(data)
	if err != nil {
		return err
	}
	defer os.Remove(temp) // gone already, unless the next step failed
	if err := replace(temp, f.backupPath()); err != nil {
		return err
	}
	return atomicfile.SyncFolder(f.dir)
}

func (f *File) acquire(ctx context.Context) (*lock.Lock, error) {
	if err := f.Still(); err != nil {
		return nil, err
	}
	if !f.existing {
		if err := atomicfile.Mine(f.dir); err != nil {
			return nil, err
		}
		if err := os.MkdirAll(f.dir, 0o700); err != nil {
			return nil, err
		}
	}
	l, err := lock.Acquire(ctx, lock.Index.In(f.dir))
	if err != nil {
		return nil, err
	}
	if err := f.Still(); err != nil {
		l.Release()
		return nil, err
	}
	return l, nil
}

// first returns the index of a new folder.
func (f *File) first() (*Index, error) {
	path, err := RealPath(f.dir)
	if err != nil {
		return nil, err
	}
	if err := f.Lost(); err != nil {
		return nil, err
	}
	alone, err := f.Alone()
	if err == nil && alone {
		err = os.Chmod(f.dir, 0o700)
	}
	if err != nil {
		return nil, err
	}
	return &Index{Schema: Schema, Store: NewStoreID(), Path: path}, nil
}

// Lost returns an error (ErrCorrupt) if a folder without an index is not a new one. Only
// the lost index's store id leads to its items in the keystore, of which the manifest is
// the first.
func (f *File) Lost() error {
	last, err := f.LastGood()
	switch {
	case err == nil:
		return at(f.path(), corrupt("it is missing; accounts in its last version: %d", len(last.Accounts)))
	case !errors.Is(err, fs.ErrNotExist):
		return at(f.path(), corrupt("it is missing, and its backup can't be used"))
	}
	return nil
}

// HasVault reports whether the folder has secrets in sealed files.
func (f *File) HasVault() bool {
	entries, _ := os.ReadDir(filepath.Join(f.dir, vaultDir))
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool { return filepath.Ext(e.Name()) == ".age" })
}

// Alone reports whether only authferry uses the folder, which is then made 0700. One with
// anything else in it (a home folder, /tmp) stays as it is; index, locks and vault are
// private by themselves.
func (f *File) Alone() (bool, error) {
	entries, err := os.ReadDir(f.dir)
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		name := e.Name()
		if name != filepath.Base(lock.Folder(f.dir)) && name != vaultDir && name != "key.age" && !strings.HasPrefix(name, fileName) &&
			!strings.HasPrefix(name, atomicfile.Prefix) && filepath.Ext(name) != ".toml" {
			return false, nil
		}
	}
	return true, nil
}

// RealPath returns the absolute path of dir with all links resolved. An index records it as
// Path: if that is different, the folder was moved or copied.
func RealPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
