//go:build !linux && !darwin && !windows

package index

// processName is not known.
func processName(int) string { return "" }
