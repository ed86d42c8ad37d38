package source

import (
	"os"
	"path/filepath"
	"syscall"

	"github.com/authferry/authferry/atomicfile"
)

const nonblocking = 0

// On Windows, who may read a file is in its access list, which it inherits from its folder
// in the user's profile.
func foreign(os.FileInfo) (uid uint64, is bool) { return 0, false }

func linked(os.FileInfo) bool { return false }

func openTo(os.FileInfo) string { return "" }

// lockFolder locks a folder against other processes that call it, by a file that can't be
// shared and disappears when it is closed.
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

// taken reports that another process has the lock, or has just released it.
func taken(err error) bool { return atomicfile.InUse(err) }
