//go:build !linux

package doctor

// keyringDaemons are Linux's alone.
func keyringDaemons() []int { return nil }
