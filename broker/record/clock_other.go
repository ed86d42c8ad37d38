//go:build !linux

package record

// readBootClock: without an id of the boot, a boot clock can't be told from the
// one of the next boot.
func readBootClock() Boot { return Boot{} }
