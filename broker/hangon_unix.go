//go:build unix

package broker

import (
	"os/signal"
	"syscall"
)

// hangOn ignores that the terminal closed, or who reads what is printed, until the
// returned function is called.
func hangOn() (letGo func()) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	return func() { signal.Reset(syscall.SIGHUP, syscall.SIGPIPE) }
}
