//go:build !linux && !darwin && !windows

package lock

// processName can't be told.
func processName(int) string { return "" }
