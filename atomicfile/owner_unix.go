//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// Owner returns the owner of a file; ok is false if it is unknown.
func Owner(info os.FileInfo) (uid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// trusted: root can do everything anyway, and owns /tmp and many volumes.
func trusted(uid uint32) bool {
	return uid == 0 || uid == uint32(os.Geteuid()) // #nosec G115 -- never negative on Unix
}

// Group returns the group of a file.
func Group(info os.FileInfo) (gid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Gid, true
}
