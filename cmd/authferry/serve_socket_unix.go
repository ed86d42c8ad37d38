//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/authferry/authferry/atomicfile"
)

// bindUnix makes a socket that is its owner's alone from the first moment on.
func bindUnix(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path) //nolint:noctx // it waits for nothing
}

// ownFolder refuses one in which another user could put something in a socket's place.
func ownFolder(dir string) error {
	if err := atomicfile.Mine(dir); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err == nil && info.Mode().Perm()&0o022 != 0 {
		err = errors.New(dir + " can be written to by others")
	}
	return err
}
