package atomicfile

import "os"

// Owner is unknown: on Windows a folder inherits who may write in it.
func Owner(os.FileInfo) (uid uint32, ok bool) { return 0, false }

func trusted(uint32) bool { return true }

// Group is unknown too.
func Group(os.FileInfo) (gid uint32, ok bool) { return 0, false }
