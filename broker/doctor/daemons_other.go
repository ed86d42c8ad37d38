//go:build !linux

package doctor

// keyringDaemons exist on Linux only.
func keyringDaemons() []int { return nil }
