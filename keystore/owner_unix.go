//go:build unix

package keystore

import (
	"io/fs"
	"os"
	"syscall"
)

// ownedByAnother tells another person's folder from one of root's, such as /tmp.
func ownedByAnother(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid != 0 && !ownedByMe(info)
}

func ownedByMe(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return ok && s.Uid == uint32(os.Geteuid()) // #nosec G115 -- never negative on Unix
}
