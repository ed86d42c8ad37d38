package index

import (
	"os"
	"strconv"
)

// whereIs returns the path of an open folder, which may be gone.
func whereIs(folder *os.File) string {
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(folder.Fd()))) // #nosec G115 -- a file descriptor is small
	if err != nil {
		return ""
	}
	return path
}
