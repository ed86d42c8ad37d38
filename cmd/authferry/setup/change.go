package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// Change is a file as it is and as it is to become. Nil is no file.
type Change struct {
	Path          string
	Before, After []byte
	Mode          fs.FileMode // of a file that isn't there yet
}

// ErrChanged is Apply's error for a file that somebody else changed since the
// plan was made. It is as they left it.
var ErrChanged = errors.New("the file has changed meanwhile; run the command again")

// Apply makes the change: the file is replaced as a whole, keeps its mode, and
// where it is a link (as dotfile managers make them) the link stays.
func (c Change) Apply() error {
	now, err := read(c.Path)
	if err != nil {
		return err
	}
	if !same(now, c.Before) {
		return &fs.PathError{Op: "change", Path: c.Path, Err: ErrChanged}
	}
	if c.After == nil {
		return os.Remove(c.Path)
	}
	path := c.Path
	mode := c.Mode
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	if info, err := os.Stat(path); err == nil {
		mode = info.Mode().Perm()
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".authferry-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already once it is renamed
	_, err = f.Write(c.After)
	if err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
