package doctor

import "golang.org/x/sys/unix"

// networkFileSystem names the file system of dir if it is on a network or belongs to
// another machine (as a host's does, seen by its guest), else "".
func networkFileSystem(dir string) string {
	var s unix.Statfs_t
	if unix.Statfs(dir, &s) != nil {
		return ""
	}
	return networkFileSystems[uint32(s.Type)] // #nosec G115 -- magic numbers have 32 bits
}

// FUSE is included because its best known use is sshfs; the number doesn't tell which use
// it is.
var networkFileSystems = map[uint32]string{
	unix.NFS_SUPER_MAGIC: "NFS", unix.SMB_SUPER_MAGIC: "SMB", unix.CIFS_SUPER_MAGIC: "SMB", unix.SMB2_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC: "9P", unix.AFS_SUPER_MAGIC: "AFS", unix.CODA_SUPER_MAGIC: "Coda", unix.CEPH_SUPER_MAGIC: "Ceph", unix.FUSE_SUPER_MAGIC: "FUSE (sshfs?)",
	0x47504653: "GPFS", 0x0bd00bd0: "Lustre", 0xaad7aaea: "PanFS",
}
