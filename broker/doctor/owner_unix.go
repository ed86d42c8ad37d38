//go:build unix

package doctor

import "golang.org/x/sys/unix"

// writable reports whether this user may make files in dir.
func writable(dir string) bool { return unix.Access(dir, unix.W_OK) == nil }
