//go:build windows || darwin

package keystore

import "runtime"

func reachable() error { return nil }

func busErrorName(error) string { return "" }

// quiet: Windows never prompts. macOS may, and can't tell beforehand.
func quiet(item string) bool {
	if runtime.GOOS == "darwin" {
		return false
	}
	_, err := system.backend.Get(item)
	return err == nil
}
