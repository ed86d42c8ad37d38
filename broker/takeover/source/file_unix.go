//go:build unix

package source

import (
	"errors"
	"os"
	"syscall"
)

// nonblocking: if a pipe has taken the file's place, don't wait for a writer.
const nonblocking = syscall.O_NONBLOCK

// foreign returns the owner of a file that belongs to another user.
func foreign(info os.FileInfo) (uid uint64, is bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return uint64(st.Uid), int(st.Uid) != os.Geteuid()
}

// linked reports whether the file has another name, a hard link.
func linked(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// openTo says who besides its user may read the file.
func openTo(info os.FileInfo) string {
	switch mode := info.Mode().Perm(); {
	case mode&0o007 != 0:
		return "everybody"
	case mode&0o070 != 0:
		return "its group"
	}
	return ""
}

// lockFolder locks a folder against other processes that call it. Closing it unlocks it, as
// does the end of the process.
func lockFolder(dir string) (*os.File, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(folder.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = folder.Close()
		return nil, err
	}
	return folder, nil
}

// taken reports that another process has the lock, or that it can't be told yet.
func taken(err error) bool {
	return errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR)
}
