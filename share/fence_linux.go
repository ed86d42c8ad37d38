package share

import (
	"sync"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// fence has the kernel kill this process at a time, by a clock that goes on while the
// process is stopped and the machine sleeps. A context or a timer of this process would be
// late: after a stop they race with what they should prevent.
type fence struct {
	mu    sync.Mutex
	armed bool
	timer int32
}

// sigevent is struct sigevent with SIGEV_SIGNAL.
type sigevent struct {
	value  uint64
	signo  int32
	notify int32
	_      [48]byte
}

// arm sets the fence to d from now.
func (f *fence) arm(d time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	kill := sigevent{signo: int32(unix.SIGKILL)}
	if _, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&kill)), uintptr(unsafe.Pointer(&f.timer))); errno != 0 {
		return errno
	}
	at := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(d))}
	if _, _, errno := unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(f.timer), 0, uintptr(unsafe.Pointer(&at)), 0, 0, 0); errno != 0 {
		_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(f.timer), 0, 0)
		return errno
	}
	f.armed = true
	return nil
}

// disarm removes the fence, if there is one.
func (f *fence) disarm() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.armed {
		_, _, _ = unix.Syscall(unix.SYS_TIMER_DELETE, uintptr(f.timer), 0, 0)
		f.armed = false
	}
}

// CanPass reports whether this machine can be one that may never come back.
func CanPass() bool { return true }
