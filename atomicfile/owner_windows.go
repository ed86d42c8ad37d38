package atomicfile

import "os"

// Owner does not know: a folder inherits there who may write in it.
func Owner(os.FileInfo) (uid uint32, ok bool) { return 0, false }

func trusted(uint32) bool { return true }

// Group does not know either.
func Group(os.FileInfo) (gid uint32, ok bool) { return 0, false }
