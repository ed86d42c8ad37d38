//go:build unix

package lock

import (
	"os"
	"syscall"
)

// linked reports that the file has another name, a hard link.
func linked(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
