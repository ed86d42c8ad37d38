//go:build !linux

package testenv

// inMemory is a folder in memory for what tests write: here there is none.
func inMemory() string { return "" }
