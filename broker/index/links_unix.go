//go:build unix

package index

import (
	"os"
	"syscall"
)

// linked reports that the file has another name, a hard link.
func linked(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// deleted reports that the folder that is open has no name any more.
func deleted(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
