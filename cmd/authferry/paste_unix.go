//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// unlimited makes a terminal accept lines of any length, until restore is called: normally
// it drops everything after the 4,096th byte, and a code can be longer. Meanwhile it can't
// edit lines; signals and echo stay.
func unlimited(f *os.File) (restore func()) {
	restore, err := withMode(f, func(m *unix.Termios) { m.Lflag &^= unix.ICANON })
	if err != nil {
		return func() {}
	}
	return restore
}

// readHidden reads a line of any length that the terminal doesn't show, after asking for
// it. Ctrl-D at its beginning is io.EOF, for which term.ReadPassword waits on.
func readHidden(f *os.File, ask func()) ([]byte, error) {
	restore, err := withMode(f, func(m *unix.Termios) { m.Lflag &^= unix.ICANON | unix.ECHO })
	if err != nil {
		return nil, err
	}
	defer restore()
	ask()
	in := typed{f}
	var line []byte
	for one := make([]byte, 1); ; { // what is typed ahead is for the next question
		n, err := in.Read(one)
		switch {
		case n > 0 && one[0] == '\n', err != nil && len(line) > 0:
			return []byte(edited(string(line))), nil
		case err != nil:
			return nil, err
		}
		line = append(line, one[:n]...)
	}
}

// withMode changes a terminal that hands out what is typed as it comes, until restore is
// called.
func withMode(f *os.File, change func(*unix.Termios)) (restore func(), err error) {
	fd := int(f.Fd()) // #nosec G115 -- a file descriptor is small
	before, err := unix.IoctlGetTermios(fd, getTermios)
	if err != nil {
		return nil, err
	}
	now := *before
	change(&now)
	now.Cc[unix.VMIN], now.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, setTermios, &now); err != nil {
		return nil, err
	}
	return func() { _ = unix.IoctlSetTermios(fd, setTermios, before) }, nil
}
