package doctor

import "golang.org/x/sys/unix"

// networkFileSystem names the file system of dir if it is on a network, else "".
func networkFileSystem(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil || s.Flags&unix.MNT_LOCAL != 0 {
		return ""
	}
	return unix.ByteSliceToString(s.Fstypename[:])
}
