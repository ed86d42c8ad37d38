//go:build unix

package rotation

import (
	"os/exec"
	"os/signal"
	"syscall"
)

// startDetached starts cmd in a session of its own, so that the caller's terminal and
// process group can't end it.
func startDetached(cmd *exec.Cmd) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd.Start()
}

// deafen makes this process ignore the signals that usually end one: hang-up, interrupt, a
// closed pipe, and those of resource limits. A write that fails for such a limit is tried
// again.
func deafen() {
	signal.Ignore(syscall.SIGHUP, syscall.SIGINT, syscall.SIGPIPE, syscall.SIGXFSZ, syscall.SIGXCPU)
}

// holdFast also ignores SIGTERM, until the returned function is called: while the death of
// this process would lose the login.
func holdFast() (letGo func()) {
	signal.Ignore(syscall.SIGTERM)
	return func() { signal.Reset(syscall.SIGTERM) }
}
