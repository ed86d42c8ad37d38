//go:build unix

package index

import (
	"os"
	"syscall"
)

// deleted reports that the folder that is open has no name any more.
func deleted(info os.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink == 0
}
