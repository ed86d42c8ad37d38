//go:build unix

package index

import (
	"os"
	"syscall"
)

// deleted reports whether the open folder has been deleted.
func deleted(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
