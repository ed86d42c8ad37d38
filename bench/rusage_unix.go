//go:build unix

package main

import (
	"os"
	"syscall"
)

// pageFaults is how many a process had that ended.
func pageFaults(s *os.ProcessState) int64 {
	if u, ok := s.SysUsage().(*syscall.Rusage); ok {
		return u.Minflt + u.Majflt
	}
	return 0
}
