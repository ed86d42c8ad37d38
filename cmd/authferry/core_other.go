//go:build unix && !linux

package main

// hide exists on Linux only.
func hide() {}
