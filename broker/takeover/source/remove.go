package source

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/authferry/authferry/atomicfile"
)

// ErrChanged says that a file is no longer what was read, so that it was left
// as it is.
var ErrChanged = errors.New("the file changed meanwhile")

// ErrBusy says that the other program is just refreshing, so that its file was
// left as it is.
var ErrBusy = errors.New("the other program is refreshing at this moment")

// ErrTaking says that another import is at the file for long, so that it was left
// as it is.
var ErrTaking = errors.New("another import is taking logins out of it")

// Removable fails where Remove would because of the folder: it makes a file
// beside the other one, and deletes it.
func (f *File) Removable() error {
	done, _, err := f.turn()
	if err != nil {
		return err
	}
	defer done()
	temp, err := os.CreateTemp(filepath.Dir(f.target), atomicfile.Prefix+"*"+atomicfile.Suffix)
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), os.Remove(temp.Name()))
}

// Remove takes logins of f out of the file: what else stands in it stays byte for
// byte, its mode and a symbolic link to it stay, and there is no copy of what it
// was. A file in which no login is left, of a program that takes that for a
// damaged one, is deleted. twoNames reports that the old file has another name
// (a hard link), which keeps its content.
//
// Errors: ErrChanged, ErrBusy, ErrTaking and those of the file system; the file is
// then as it was. Of two that remove at once, whatever stores they are for, one
// gets ErrChanged.
func (f *File) Remove(logins []Login) (twoNames bool, err error) {
	left, gone := f.Without(logins)
	done, alone, err := f.turn()
	if err != nil {
		return false, err
	}
	defer done()
	unlock, err := f.lock()
	if err != nil {
		return false, err
	}
	defer unlock()
	if alone { // what a killed import left may hold the entries that were to stay
		atomicfile.Sweep(filepath.Dir(f.target), 0)
	}
	info, err := f.unchanged()
	if err != nil {
		return false, err
	}
	if gone {
		err = atomicfile.Patiently(func() error { return os.Remove(f.target) }, atomicfile.InUse)
	} else {
		err = atomicfile.Write(f.target, left, info.Mode().Perm(), func() error { _, err := f.unchanged(); return err })
	}
	if err != nil {
		return false, err
	}
	// The entry is gone from the file already, whatever a sync says.
	_ = atomicfile.SyncFolder(filepath.Dir(f.target))
	return linked(info), nil
}

// unchanged fails with ErrChanged where the file is not what was read.
func (f *File) unchanged() (os.FileInfo, error) {
	now, info, err := read(f.target)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errUnsteady), err == nil && !bytes.Equal(now, f.data):
		return nil, ErrChanged
	}
	return info, err
}

// Without is the file's content without the logins, in its own encoding. gone reports that the whole file, or
// item, goes with them.
func (f *File) Without(logins []Login) (left []byte, gone bool) {
	parents := map[*node]map[int]bool{}
	for _, l := range logins {
		for _, c := range l.cut {
			if parents[c.parent] == nil {
				parents[c.parent] = map[int]bool{}
			}
			parents[c.parent][c.index] = true
		}
	}
	var edits []edit
	for parent, gone := range parents {
		edits = append(edits, parent.cutting(gone)...)
	}
	for _, p := range f.pointers {
		if v, ok := p.number.number(); ok && len(parents[p.list]) > 0 {
			if i := moved(int(v), parents[p.list]); i != int(v) {
				with := strconv.Itoa(i)
				if p.number.kind() == '"' {
					with = strconv.Quote(with)
				}
				edits = append(edits, edit{p.number.start, p.number.end, with})
			}
		}
	}
	left = apply(f.text, edits)
	root, err := parse(left)
	return f.form.Encode(left), err == nil && f.Source.over != nil && f.Source.over(root)
}

// moved is what index i of a list is without the ones that are gone; one that is
// gone itself is followed by the first.
func moved(i int, gone map[int]bool) int {
	if gone[i] {
		return 0
	}
	n := i
	for g := range gone {
		if g < i {
			n--
		}
	}
	return n
}

// turn waits for imports that are at files of the same folder. Who has it is alone
// there until done is called or the process ends; alone is false where the file
// system has no locks, and a temporary file may be another's.
func (f *File) turn() (done func(), alone bool, err error) {
	for range 500 {
		lock, err := lockFolder(filepath.Dir(f.target))
		switch {
		case err == nil:
			return func() { _ = lock.Close() }, true, nil
		case !taken(err):
			return func() {}, false, nil
		}
		time.Sleep(20 * time.Millisecond)
	}
	return nil, false, ErrTaking
}

// staleLock is when the other program itself takes a lock of its own away.
const staleLock = time.Minute

// lock takes the other program's locks, which are folders.
func (f *File) lock() (unlock func(), err error) {
	var held []string
	unlock = func() {
		for _, dir := range held {
			_ = os.Remove(dir)
		}
	}
	if f.Source.locks == nil {
		return unlock, nil
	}
	for _, dir := range f.Source.locks(f.target) {
		err := os.Mkdir(dir, 0o700)
		if info, statErr := os.Stat(dir); errors.Is(err, fs.ErrExist) && statErr == nil && time.Since(info.ModTime()) >= staleLock {
			if os.Remove(dir) != nil {
				continue // no lock of the kind that we know, and nobody's any more
			}
			err = os.Mkdir(dir, 0o700)
		}
		if err != nil {
			unlock()
			if errors.Is(err, fs.ErrExist) {
				err = ErrBusy
			}
			return nil, err
		}
		held = append(held, dir)
	}
	return unlock, nil
}
