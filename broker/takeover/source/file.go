package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"

	"github.com/authferry/authferry/rawtext"
)

// maxLogins is far above what anybody has. It limits the work, because each login is
// compared with all others.
const maxLogins = 1000

// maxFile is far above any such file. It keeps a wrong one from filling the memory.
const maxFile = 1 << 20

// File is another program's file as it was at one moment.
type File struct {
	Source  Source
	Path    string // as it was given; a symbolic link is followed
	Logins  []Login
	Skipped []Skipped
	// Failover says whether the other program changed accounts by itself; nil: unknown.
	Failover *bool
	// OpenTo says who else may read the file; empty: nobody.
	OpenTo string

	target   string // Path, with links resolved
	data     []byte
	text     []byte // data as UTF-8
	form     rawtext.Form
	root     *node
	pointers []pointer
}

// pointer is a number in the file that is an index into a list.
type pointer struct{ number, list *node }

// BadFileError says why logins can't be taken from a file that exists.
type BadFileError struct{ Path, Reason string }

func (e *BadFileError) Error() string { return e.Path + ": " + e.Reason }

// Open reads a file of the source's program. Errors: an fs.PathError; a *BadFileError for a
// file that is not a regular one, belongs to another user, is over 1 MiB, keeps changing or
// is not in the program's format.
func Open(source Source, path string) (*File, error) {
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, err
	}
	f := &File{Source: source, Path: path, target: target}
	var info os.FileInfo
	if f.data, info, err = read(target); err != nil {
		return nil, f.bad(err)
	}
	f.OpenTo = openTo(info)
	if err := f.parse(); err != nil {
		return nil, f.bad(err)
	}
	return f, nil
}

// Parse reads data that the source's program stores elsewhere than in a file; where
// describes the place.
func Parse(source Source, where string, data []byte) (*File, error) {
	f := &File{Source: source, Path: where, data: data}
	if len(data) > maxFile {
		return nil, f.bad(errTooBig)
	}
	if err := f.parse(); err != nil {
		return nil, f.bad(err)
	}
	return f, nil
}

// Same reports whether g has the same content.
func (f *File) Same(g *File) bool { return bytes.Equal(f.data, g.data) }

// At reports whether path is the file's, or leads to it.
func (f *File) At(path string) bool {
	if path == f.Path {
		return true
	}
	target, err := filepath.EvalSymlinks(path)
	return err == nil && target == f.target
}

func (f *File) bad(err error) error {
	if _, ok := errors.AsType[*os.PathError](err); ok {
		return err
	}
	return &BadFileError{f.Path, err.Error()}
}

func (f *File) parse() (err error) {
	if f.text, f.form, err = rawtext.Decode(f.data); err != nil {
		return err
	}
	if len(bytes.TrimSpace(f.text)) == 0 {
		return errors.New("it is empty")
	}
	if f.root, err = parse(f.text); err != nil {
		return err
	}
	if !f.root.isObject() {
		return errForeign
	}
	if err := f.Source.parse(f); err != nil {
		return err
	}
	if len(f.Logins)+len(f.Skipped) > maxLogins {
		return errTooMany
	}
	return nil
}

var (
	errForeign  = errors.New("it is not in the format of that program")
	errTooBig   = errors.New("it is over 1 MiB, too big for a file of logins")
	errTooMany  = fmt.Errorf("it has over %d logins, too many for such a file", maxLogins)
	errUnsteady = errors.New("it keeps changing; close the program that it belongs to")
)

// read returns the whole content of one of this user's files, as it was at one moment.
func read(path string) ([]byte, os.FileInfo, error) {
	for range 5 {
		data, info, err := readOnce(path)
		if !errors.Is(err, errUnsteady) {
			return data, info, err
		}
	}
	return nil, nil, errUnsteady
}

func kind(mode os.FileMode) string {
	switch {
	case mode.IsDir():
		return "a folder"
	case mode&os.ModeNamedPipe != 0:
		return "a pipe"
	case mode&os.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

func readOnce(path string) ([]byte, os.FileInfo, error) {
	named, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !named.Mode().IsRegular() {
		return nil, nil, errors.New("it is " + kind(named.Mode()) + ", not a file")
	}
	in, err := os.OpenFile(path, os.O_RDONLY|nonblocking, 0)
	if err != nil {
		return nil, nil, err
	}
	defer in.Close()
	before, err := in.Stat()
	switch {
	case err != nil:
		return nil, nil, err
	case !os.SameFile(named, before):
		return nil, nil, errUnsteady
	case before.Size() > maxFile:
		return nil, nil, errTooBig
	}
	if uid, ok := foreign(before); ok {
		return nil, nil, errors.New("it belongs to another user (" + strconv.FormatUint(uid, 10) + "); run the import as that one")
	}
	data, err := io.ReadAll(io.LimitReader(in, maxFile+1))
	if err != nil {
		return nil, nil, err
	}
	after, err := os.Stat(path)
	if err != nil || !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) || int64(len(data)) != after.Size() {
		return nil, nil, errUnsteady
	}
	return data, before, nil
}

// take adds a login; skip adds an entry that can't be taken.
func (f *File) take(l Login, cut ...item) {
	if reason := l.clean(); reason != "" {
		f.skip(l.Entry, reason)
		return
	}
	l.cut = cut
	f.Logins = append(f.Logins, l)
}

func (f *File) skip(entry, reason string) {
	f.Skipped = append(f.Skipped, Skipped{entry, reason})
}

// notText names a member that exists and is no string.
func notText(n *node, names ...string) string {
	for _, name := range names {
		if v := n.get(name); !v.absent() && v.kind() != '"' {
			return "its " + name + " is not text"
		}
	}
	return ""
}
