package folder

import (
	"io/fs"
	"os"
	"time"

	"github.com/authferry/authferry/broker/lock"
)

// Stamp distinguishes one state of a folder from the next by three files: the index, the
// settings and the folder of the locks, where proxies announce themselves. It misses a
// proxy that was killed, and a second change within a tick of the file system's clock.
type Stamp [3]struct {
	size    int64
	changed time.Time
}

// StampOf returns the current stamp of f.
func StampOf(f *Folder) (s Stamp) {
	for i, stat := range []func() (fs.FileInfo, error){
		f.index.Stat,
		func() (fs.FileInfo, error) { return os.Stat(configPath(f)) },
		func() (fs.FileInfo, error) { return os.Stat(lock.Folder(f.Dir)) },
	} {
		if info, err := stat(); err == nil {
			s[i].size, s[i].changed = info.Size(), info.ModTime()
		}
	}
	return s
}
