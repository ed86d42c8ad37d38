//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package main

import (
	"os"

	"golang.org/x/term"
)

func unlimited(*os.File) (restore func()) { return func() {} }

// readHidden reads a line that the terminal doesn't show, after asking for it.
func readHidden(f *os.File, ask func()) ([]byte, error) {
	ask()
	return term.ReadPassword(int(f.Fd())) // #nosec G115 -- a file descriptor is small
}
