package share

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernelFence has the kernel kill this process at a time, by a clock that goes on while the
// process is stopped and the machine sleeps. A context or a timer of this process would be
// late: after a stop they race with what they should prevent.
type kernelFence struct {
	mu    sync.Mutex
	armed bool
	timer uintptr
}

// sigevent is struct sigevent with SIGEV_SIGNAL.
type sigevent struct {
	value  uint64
	signo  int32
	notify int32
	_      [48]byte
}

// arm sets the fence to d from now.
func (f *kernelFence) arm(d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kill, id := sigevent{signo: int32(unix.SIGKILL)}, uint32(0)
	// #nosec G103 -- the system call's arguments
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&kill)), uintptr(unsafe.Pointer(&id))); errno != 0 {
		return errno
	}
	f.timer, f.armed = uintptr(id), true
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	// #nosec G103 -- likewise
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, f.timer, 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// disarm removes the fence, if there is one.
func (f *kernelFence) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, f.timer, 0, 0)
		f.armed = false
	}
}

// CanPass reports whether this machine can be one that may never come back.
func CanPass() bool { return true }
