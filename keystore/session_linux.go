package keystore

import "golang.org/x/sys/unix"

// memoryFolder reports whether files in dir are never on a disk, except in swap space.
func memoryFolder(dir string) bool {
	var s unix.Statfs_t
	return unix.Statfs(dir, &s) == nil && (s.Type == unix.TMPFS_MAGIC || s.Type == unix.RAMFS_MAGIC)
}
