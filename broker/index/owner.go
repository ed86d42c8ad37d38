package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// OwnerError says that a folder, or the one that it would be made in, is another
// user's: what is written there may be led elsewhere, or lock that user out.
type OwnerError struct {
	Path string
	UID  uint32
}

func (e *OwnerError) Error() string { return fmt.Sprintf("%s belongs to user %d", e.Path, e.UID) }

// Mine returns an *OwnerError where the folder dir is neither this user's nor root's.
// Of one that is not there, the nearest that is counts. Where there are no owners
// (Windows) it always returns nil.
func Mine(dir string) error {
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if err != nil {
			return nil // whoever writes there gets to know
		}
		if uid, ok := Owner(info); ok && !trusted(uid) {
			return &OwnerError{dir, uid}
		}
		return nil
	}
}
