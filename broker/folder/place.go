package folder

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
)

// sameFolder reports whether two paths are the same folder, as with a bind mount or another
// case on a file system that ignores case.
func sameFolder(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// IsIn reports whether path is real, or in it. If path is on another network share than
// real, it is not accessed.
func IsIn(path, real string) bool {
	if OnShare(path) && !OnShare(real) {
		return false
	}
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if sameFolder(p, real) {
			return true
		}
		if p == filepath.Dir(p) {
			return false
		}
	}
}

// isOriginal reports whether the folder that the index says it came from exists. One whose
// index can't be read at the moment counts too: its locks tell it from a file that happens
// to have that name. Inside this very folder it doesn't count, because it could have been
// put there together with the index.
func isOriginal(idx *index.Index, inside bool) bool {
	at := index.At(idx.Path)
	other, err := at.Read()
	if _, unusable := errors.AsType[*index.FileError](err); unusable && !inside {
		_, err := os.Lstat(lock.Index.In(at.Dir()))
		return err == nil
	}
	return err == nil && other.Store == idx.Store
}

// OnShare reports whether accessing path asks a file server. On Windows every path that
// begins with two slashes of either kind does, and logs in there: that must not happen just
// because index.json names such a path.
func OnShare(path string) bool {
	path = strings.ReplaceAll(path, "/", `\`)
	return strings.HasPrefix(path, `\\`) || strings.HasPrefix(path, `\??\`)
}

// CheckPlace refuses to rotate in a copy of a folder whose original still exists: both
// would own the same grants. A folder that was moved just records its new path. Work that
// is running was checked when it began.
func CheckPlace(f *Folder, idx *index.Index) error {
	if err := f.index.Still(); err != nil {
		return Fault(err)
	}
	if f.index.Dir() != f.index.Home() {
		return nil
	}
	real, err := index.RealPath(f.Dir)
	if err != nil && f.held {
		err = index.ErrGone // at this moment
	}
	if err != nil {
		return Fault(err)
	}
	if OnShare(idx.Path) && !OnShare(real) {
		return fault.Errorf(fault.Fenced, "index.json says that this folder came from the network share %s; nothing was refreshed", strconv.Quote(idx.Path)).
			Try(fault.Remedy{Do: fault.Fix})
	}
	if idx.Path == real || sameFolder(idx.Path, real) {
		return nil
	}
	switch inside := IsIn(idx.Path, real); {
	case !isOriginal(idx, inside):
	case inside: // it can't be told which of the two is the copy
		return fault.Errorf(fault.Fenced, "%s, in this folder, has the same logins, and two folders can't own one; nothing was refreshed. Keep the right one, and move the other away", strconv.Quote(idx.Path)).
			Try(fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_DIR", Value: idx.Path})
	default:
		return fault.Errorf(fault.Fenced, "this folder is a copy of %s, and two folders can't own one login; nothing was refreshed", idx.Path).
			Try(fault.Remedy{Do: fault.Fix})
	}
	return f.Update(context.Background(), index.Durable, func(idx *index.Index) error {
		idx.Path = real
		return nil
	})
}
