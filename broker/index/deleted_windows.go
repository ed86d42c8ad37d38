package index

import "os"

// deleted need not know: a folder that is open is not moved there.
func deleted(os.FileInfo) bool { return true }
