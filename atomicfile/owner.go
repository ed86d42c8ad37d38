package atomicfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// OwnerError says that a file or folder, or the folder that it would be made in, belongs to
// another user: what is written there could be led elsewhere, or lock that user out.
type OwnerError struct {
	Path string
	UID  uint32
}

func (e *OwnerError) Error() string { return fmt.Sprintf("%s belongs to user %d", e.Path, e.UID) }

// Mine returns an *OwnerError if the file or folder at path belongs neither to this user
// nor to root. If path doesn't exist, its nearest existing parent counts. On Windows, where
// files have no such owners, it always returns nil.
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
