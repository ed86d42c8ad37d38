//go:build unix

package keystore

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByAnother reports whether a folder belongs to another user, but not to root, as /tmp
// does.
func ownedByAnother(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid != 0 && !ownedByMe(info)
}

func ownedByMe(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == uint32(os.Geteuid()) // #nosec G115 -- never negative on Unix
}
