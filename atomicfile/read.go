package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrUnfit is matched by Read's error if the file must not be read.
var ErrUnfit = errors.New("it is not a regular file")

// Read returns the contents of the regular file at path, at most limit bytes. It follows
// symbolic links. A pipe, a device or a longer file is neither read nor waited for:
// ErrUnfit.
func Read(path string, limit int64) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|gently, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if info.Mode().IsRegular() && info.Size() <= limit {
		b.Grow(int(info.Size()) + bytes.MinRead) // and it takes one call to read it
		if _, err = b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
			return nil, err
		}
		if int64(b.Len()) <= limit {
			return b.Bytes(), nil
		}
	}
	return nil, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("%w of at most %d bytes", ErrUnfit, limit)}
}
