//go:build unix

package rotation

import (
	"os/exec"
	"os/signal"
	"syscall"
)

// startDetached starts cmd in a session of its own, out of reach of the
// caller's terminal and process group.
func startDetached(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// deafen makes this process ignore what usually ends one: hang-ups, interrupts,
// a reader that went away, and the signals of limits that a write or the processor's
// time has come to: the write fails, and is tried again.
func deafen() {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGXFSZ, syscall.SIGXCPU)
}

// holdFast ignores SIGTERM as well until the returned function is called: for
// the time in which being ended would cost the grant.
func holdFast() (letGo func()) {
	signal.Ignore(syscall.SIGTERM)
	return func() { signal.Reset(syscall.SIGTERM) }
}
