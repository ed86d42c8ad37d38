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

// ErrChanged says that a file has changed since it was read, so it was left as it is.
var ErrChanged = errors.New("the file changed meanwhile")

// ErrBusy says that the other program is refreshing, so its file was left as it is.
var ErrBusy = errors.New("the other program is refreshing right now")

// ErrTaking says that another import is working on the file, so it was left as it is.
var ErrTaking = errors.New("another import is taking logins out of it")

// Removable fails if Remove would fail because of the folder: it makes a file beside the
// other one, and deletes it.
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

// Remove removes logins of f from the file. The rest stays byte for byte, as do its mode
// and a symbolic link to it, and there is no copy of the old content. If no login is left,
// and the program would take such a file for a damaged one, the file is deleted. twoNames
// reports that the old file has another name (a hard link), which still has its content.
//
// Errors: ErrChanged, ErrBusy, ErrTaking and those of the file system; the file is then
// unchanged. If two processes remove at once, from whatever stores, one gets ErrChanged.
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
	if alone { // a killed import's temporary file may have the entries that were to stay
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
	// The entry is gone from the file, even if a sync fails now.
	_ = atomicfile.SyncFolder(filepath.Dir(f.target))
	return linked(info), nil
}

// unchanged returns ErrChanged if the file is not what was read.
func (f *File) unchanged() (os.FileInfo, error) {
	now, info, err := read(f.target)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errUnsteady), err == nil && !bytes.Equal(now, f.data):
		return nil, ErrChanged
	}
	return info, err
}

// Without is the file's content without the logins, in its own encoding. gone reports that
// the whole file, or item, is to be removed.
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

// moved is the new place of index i of a list without the elements that are removed. If i
// itself is removed, it becomes the first.
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

// turn waits for other imports that work on files of the same folder. It returns with the
// folder locked until done is called or the process ends. alone is false if the file system
// has no locks; then a temporary file may belong to another import.
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

// staleLock is the age at which the other program itself removes a lock.
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
				continue // not a kind of lock that we know, and nobody holds it any more
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
