//go:build !linux && !darwin && !windows

package lock

// processName is not known.
func processName(int) string { return "" }
