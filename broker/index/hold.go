package index

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrGone says that the held folder can't be found now: it was moved, deleted or replaced,
// or its index is gone. It may come back.
var ErrGone = errors.New("it is not the folder that was opened, or is incomplete")

// Existing returns f for changes of what exists: if the folder or its index is missing,
// nothing is made, and Update's error is as from Read.
func (f *File) Existing() *File { return &File{dir: f.dir, existing: true} }

// Hold returns f for this very folder: whatever happens to its path, all later reads and
// writes are in this folder. One that is moved is followed, if the system can tell where it
// went. If it is deleted, another folder with its store id (restored from a copy, say)
// takes its place. While there is none, the error of every method matches ErrGone, and
// nothing is made. A held File is for one goroutine.
func (f *File) Hold() (*File, error) {
	folder, err := os.Open(f.dir)
	if err != nil {
		return nil, err
	}
	h := &File{dir: f.dir, home: f.dir, existing: true}
	h.take(folder)
	if ix, err := h.Read(); err == nil {
		h.store = ix.Store
	}
	return h, nil
}

// take holds an open folder, and the vault in it if there is one.
func (f *File) take(folder *os.File) {
	f.held = folder
	f.vault, _ = os.Open(filepath.Join(folder.Name(), vaultDir))
}

// Release ends a Hold.
func (f *File) Release() {
	for _, folder := range []*os.File{f.held, f.vault} {
		if folder != nil {
			_ = folder.Close()
		}
	}
}

// VaultStill returns ErrGone if the held folder's vault was moved away: a new one would be
// empty, and in the way when the old one is put back. One that was deleted may be made
// again.
func (f *File) VaultStill() error {
	if f.vault == nil {
		return nil
	}
	if _, err := os.Lstat(filepath.Join(f.dir, vaultDir)); !errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if info, err := f.vault.Stat(); err == nil && !deleted(info) {
		return ErrGone
	}
	return nil
}

// Home returns the path of the folder when it was opened.
func (f *File) Home() string {
	if f.held == nil {
		return f.dir
	}
	return f.home
}

// Still finds the held folder, and returns ErrGone if that fails. Dir may be different
// afterwards.
func (f *File) Still() error {
	if f.held == nil || f.is(f.dir) {
		return nil
	}
	for _, dir := range []string{f.home, whereIs(f.held)} {
		if dir != "" && f.is(dir) {
			f.dir = dir
			return nil
		}
	}
	if ix, err := At(f.home).Read(); err == nil && f.store != "" && ix.Store == f.store {
		if folder, err := os.Open(f.home); err == nil {
			f.Release()
			f.take(folder)
			f.dir = f.home
			return nil
		}
	}
	return ErrGone
}

// is reports whether dir leads to the held folder.
func (f *File) is(dir string) bool {
	held, err := f.held.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(dir)
	return err == nil && os.SameFile(held, there)
}

// belongs reports whether ix is the index that the held folder had.
func (f *File) belongs(ix *Index) error {
	if f.held == nil {
		return nil
	}
	if f.store == "" {
		f.store = ix.Store
	}
	if ix.Store != f.store {
		return ErrGone
	}
	return nil
}

// missed is the error for a missing index.
func (f *File) missed(err error) error {
	if f.held != nil && errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	return err
}
