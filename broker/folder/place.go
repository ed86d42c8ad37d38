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

// sameFolder reports that two paths lead to one folder: a bind mount, or another
// case where case doesn't matter.
func sameFolder(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// IsIn reports that path is real, or somewhere in it; a network share that real is not
// on is not looked at.
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

// isOriginal reports that the folder which the index says it came from is there. One
// whose index can't be read at this moment is one all the same; its locks tell it from
// a file that happens to be called so. That is not believed of what is in this folder:
// it could be put there together with the index.
func isOriginal(idx *index.Index, inside bool) bool {
	at := index.At(idx.Path)
	other, err := at.Read()
	if _, unusable := errors.AsType[*index.FileError](err); unusable && !inside {
		_, err := os.Lstat(lock.Index.In(at.Dir()))
		return err == nil
	}
	return err == nil && other.Store == idx.Store
}

// OnShare reports that looking at path asks a file server, as on Windows does
// whatever begins with two slashes of either kind, and logs in there. What index.json
// says is no reason for that.
func OnShare(path string) bool {
	path = strings.ReplaceAll(path, "/", `\`)
	return strings.HasPrefix(path, `\\`) || strings.HasPrefix(path, `\??\`)
}

// CheckPlace refuses to rotate in a copy of a folder whose original is still
// there: both would own the same grants. A folder that was moved just learns
// its new path. Work under way was checked where it began, and goes with its folder.
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
	case inside: // which of the two is the copy is not to be seen
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
