//go:build unix && !linux

package keystore

// hide exists on Linux only.
func hide() {}
