//go:build unix && !linux

package main

// hide is Linux's alone.
func hide() {}
