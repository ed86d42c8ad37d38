//go:build !linux

package keystore

// memoryFolder is not known here.
func memoryFolder(string) bool { return false }
