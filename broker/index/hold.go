package index

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// ErrGone says that the folder which is held on to is not to be had at this moment: it
// was moved, deleted or replaced, or its index is gone. It may come back.
var ErrGone = errors.New("it is not the folder that was opened, or is incomplete")

// Existing returns f for whoever changes what is there: nothing is made where the
// folder or its index is missing, and Update's error is then as from Read.
func (f *File) Existing() *File { return &File{dir: f.dir, existing: true} }

// Hold returns f held on to: whatever becomes of its path, what is read and written
// from now on is this folder's. One that is moved is followed, where the system tells
// where to; in the place of one that is deleted another will do that has its store id,
// as one that is put back from a copy has. As long as there is none, the error of every
// method matches ErrGone, and nothing is made anew. A held File is for one goroutine.
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

// take holds on to an open folder, and to the vault in it if there is one.
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

// VaultStill returns ErrGone where the vault of the folder that is held on to was moved
// away: a new one would have nothing of it, and be in its way when it is put back. One
// that was deleted may be made again.
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

// Home returns the path at which the folder was when it was opened.
func (f *File) Home() string {
	if f.held == nil {
		return f.dir
	}
	return f.home
}

// Still finds the folder that is held on to, and returns ErrGone where that can't be
// done. Dir may be another one afterwards.
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

// is reports that dir leads to the folder that is held on to.
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

// missed is the error for an index that is not there.
func (f *File) missed(err error) error {
	if f.held != nil && errors.Is(err, fs.ErrNotExist) {
		return ErrGone
	}
	return err
}
