//go:build unix

package main

import (
	"errors"
	"net"
	"os"
	"syscall"

	"github.com/authferry/authferry/atomicfile"
)

// bindUnix makes a socket that only its owner can access, from the first moment on.
func bindUnix(path string) (net.Listener, error) {
	defer syscall.Umask(syscall.Umask(0o177))
	return net.Listen("unix", path) //nolint:noctx // it waits for nothing
}

// ownFolder refuses a folder in which another user could replace the socket.
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
