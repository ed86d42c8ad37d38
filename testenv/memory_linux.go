package testenv

import "golang.org/x/sys/unix"

// shm is memory that is used like a disk.
const shm = "/dev/shm"

// inMemory is a folder in memory for what tests write, where programs can run, with 2 GiB
// or more to spare; empty if there is none.
func inMemory() string {
	var s unix.Statfs_t
	if unix.Statfs(shm, &s) != nil || s.Type != unix.TMPFS_MAGIC || s.Flags&unix.ST_NOEXEC != 0 ||
		s.Bavail < 2<<30/uint64(s.Bsize) || unix.Access(shm, unix.W_OK|unix.X_OK) != nil { // #nosec G115 -- sizes
		return ""
	}
	return shm
}
