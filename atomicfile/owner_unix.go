//go:build unix

package atomicfile

import (
	"os"
	"syscall"
)

// Owner returns whose a file is; ok is false where that is not known.
func Owner(info os.FileInfo) (uid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Uid, true
}

// trusted: root can do what it likes anyway, and owns /tmp and many a volume.
func trusted(uid uint32) bool {
	return uid == 0 || uid == uint32(os.Geteuid()) // #nosec G115 -- never negative on Unix
}

// Group returns whose group's a file is.
func Group(info os.FileInfo) (gid uint32, ok bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return st.Gid, true
}
