package index

import "os"

// linked does not know: nothing that brings a folder along makes hard links there.
func linked(os.FileInfo) bool { return false }

// deleted need not know: a folder that is open is not moved there.
func deleted(os.FileInfo) bool { return true }
