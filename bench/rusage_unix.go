//go:build unix

package main

import (
	"os"
	"runtime"
	"syscall"
)

// peakKB is the peak memory of a process that ended.
func peakKB(s *os.ProcessState) int64 {
	u, ok := s.SysUsage().(*syscall.Rusage)
	if !ok {
		return 0
	}
	if runtime.GOOS == "darwin" { // bytes there
		return u.Maxrss / 1024
	}
	return u.Maxrss
}
