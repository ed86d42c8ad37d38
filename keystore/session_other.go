//go:build !linux

package keystore

// memoryFolder can't be told here.
func memoryFolder(string) bool { return false }
