//go:build !unix

package main

import "os"

// peakKB: not known here; the bench needs a Secret Service anyway.
func peakKB(*os.ProcessState) int64 { return 0 }
