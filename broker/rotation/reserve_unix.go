//go:build unix

package rotation

import (
	"syscall"

	"github.com/authferry/authferry/broker/fault"
)

// spareFiles is the most files that are open at once while new tokens are stored.
const spareFiles = 4

// spares are open files, to be closed when others are needed.
type spares []int

// newReserve opens the spare files. It comes first of all, because the lowest descriptors
// can be used again whatever the limit is by then.
func newReserve() (*reserve, error) {
	r := &reserve{}
	for range spareFiles {
		fd, err := syscall.Open("/dev/null", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			r.release()
			return nil, fault.Errorf(fault.Internal, "this process may not open enough files; nothing was sent").Because(err)
		}
		r.files = append(r.files, fd)
	}
	return r, nil
}

// release closes the spare files, so that as many others can be opened.
func (r *reserve) release() {
	if r == nil {
		return
	}
	for _, fd := range r.files {
		_ = syscall.Close(fd)
	}
	r.files = nil
}
