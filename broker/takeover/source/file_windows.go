package source

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/authferry/authferry/atomicfile"
)

const nonblocking = 0

// Who may read and own a file stands in its access list, which its folder in the
// user's profile passes on.
func foreign(os.FileInfo) (uid uint64, is bool) { return 0, false }

func linked(os.FileInfo) bool { return false }

func openTo(os.FileInfo) string { return "" }

// lockFolder locks a folder against every other process that does: by a file in it
// that none can share, and that is gone as soon as it is closed.
func lockFolder(dir string) (*os.File, error) {
	const deleteAccess, deleteOnClose = 0x00010000, 0x04000000
	path := filepath.Join(dir, atomicfile.Prefix+"lock")
	name, err := syscall.UTF16PtrFromString(path)
	if err != nil {
		return nil, err
	}
	h, err := syscall.CreateFile(name, syscall.GENERIC_WRITE|deleteAccess, 0, nil, syscall.OPEN_ALWAYS, syscall.FILE_ATTRIBUTE_NORMAL|deleteOnClose, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), path), nil
}

// taken reports that another one has the lock, or has just let go of it.
func taken(err error) bool { return atomicfile.InUse(err) }
