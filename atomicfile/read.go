package atomicfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrUnfit is what the error of Read matches where it would not read.
var ErrUnfit = errors.New("it is not a regular file")

// Read returns what the regular file at path holds, at most limit bytes. A symbolic
// link is followed. Of a pipe, a device or anything longer nothing is read, and
// nothing is waited for: ErrUnfit.
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
