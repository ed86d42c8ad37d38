package testenv

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// KeptOut runs do where a folder that is closed to its owner is closed to root as well.
// Elsewhere than on Linux, root's test is skipped.
func KeptOut(t Skipper, do func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var caps [2]unix.CapUserData
		err := unix.Capget(&header, &caps[0])
		if err == nil {
			caps[0].Effective &^= 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_DAC_READ_SEARCH
			err = unix.Capset(&header, &caps[0])
		}
		if err == nil {
			do()
		}
		done <- err
	}()
	Must(t, <-done)
}
