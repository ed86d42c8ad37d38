//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// unlimited makes a terminal hand out a line of any length, until restore is called:
// by itself it drops what comes behind the 4,096th byte, and a code can be longer. It
// does not edit lines then; signals and echo stay.
func unlimited(f *os.File) (restore func()) {
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor is small
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return func() {}
	}
	now := *before
	now.Lflag &^= unix.ICANON
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if unix.IoctlSetTermios(fd, setTermios, &now) != nil {
		return func() {}
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }
}
