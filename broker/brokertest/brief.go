package brokertest

import (
	"os/exec"
	"testing"
)

// Brief reports whether tests of many like cases are to take a sample of them:
// with -short, and on a machine without gnome-keyring, which is one for writing
// code and not one for proofs.
func Brief() bool {
	_, err := exec.LookPath("gnome-keyring-daemon")
	return testing.Short() || err != nil
}
