package setup

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/authferry/authferry/atomicfile"
)

// Change is a file before and after. Nil is no file.
type Change struct {
	Path          string
	Before, After []byte
	Mode          fs.FileMode // of a file that isn't there yet
	Link          string      // the program that the file links to, whose name is After; empty: no link

	private []string // not shown by Diff
}

// ErrChanged is Apply's error for a file that has changed since the plan was made. It is
// left as it is.
var ErrChanged = errors.New("the file has changed meanwhile; run the command again")

// ApplyAll makes all of the changes or, if one fails, none.
func ApplyAll(changes []Change) error {
	for i, c := range changes {
		err := c.Apply()
		if err == nil {
			continue
		}
		for _, done := range changes[:i] {
			done.Before, done.After = done.After, done.Before
			err = errors.Join(err, done.Apply())
		}
		return err
	}
	return nil
}

// Apply makes the change: it replaces the file as a whole and keeps its mode. If the file
// is a link (as dotfile managers make them), its target is changed and the link stays. A
// file of another user is not changed: the error is an *atomicfile.OwnerError.
func (c Change) Apply() error {
	if err := c.unchanged(); err != nil {
		return err
	}
	if c.Link != "" {
		if err := atomicfile.Mine(filepath.Dir(c.Path)); err != nil {
			return err
		}
		if c.After == nil {
			return os.Remove(c.Path)
		}
		return writeLink(c.Path, string(c.After))
	}
	// The target of a link is changed, not the link, even if the target doesn't exist yet.
	path, err := follow(c.Path)
	if err == nil {
		err = atomicfile.Mine(path) // the new file would belong to this user
	}
	if err != nil {
		return err
	}
	if c.After == nil {
		return os.Remove(path)
	}
	mode := c.Mode
	if info, err := os.Stat(path); err == nil {
		if mode = info.Mode().Perm(); mode&0o200 == 0 {
			return &fs.PathError{Op: "change", Path: c.Path, Err: errReadOnly}
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return atomicfile.Write(path, c.After, mode, c.unchanged)
}

// unchanged returns an error if the file has changed since the plan was made.
func (c Change) unchanged() error {
	now, err := read(c.Path, c.Link)
	if err == nil && !same(now, c.Before) {
		err = &fs.PathError{Op: "change", Path: c.Path, Err: ErrChanged}
	}
	return err
}

// errReadOnly: the file was protected, and replacing it would succeed all the same.
var errReadOnly = errors.New("the file is read-only; it was left as it is")

// follow returns the end of a chain of links, whether or not a file is there.
func follow(path string) (string, error) {
	for range 40 {
		target, err := os.Readlink(path)
		if err != nil {
			return path, nil //nolint:nilerr // not a link: the end of the chain
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", &fs.PathError{Op: "change", Path: path, Err: errors.New("too many links")}
}
