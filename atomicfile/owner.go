package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// OwnerError says that a file or folder, or the folder that it would be made in, is
// another user's: what is written there may be led elsewhere, or lock that user out.
type OwnerError struct {
	Path string
	UID  uint32
}

func (e *OwnerError) Error() string { return fmt.Sprintf("%s belongs to user %d", e.Path, e.UID) }

// Mine returns an *OwnerError where the file or folder at path is neither this user's
// nor root's. Of one that is not there, the nearest folder that is counts. Where there
// are no owners (Windows) it always returns nil.
func Mine(path string) error {
	for {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) && path != filepath.Dir(path) {
			path = filepath.Dir(path)
			continue
		}
		if err != nil {
			return nil //nolint:nilerr // whoever writes there gets to know
		}
		if uid, ok := Owner(info); ok && !trusted(uid) {
			return &OwnerError{path, uid}
		}
		return nil
	}
}
