//go:build !linux

package broker

import (
	"os"
	"testing"
)

// keptOut runs do where a folder that is closed to its owner is closed to this user.
func keptOut(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("needs a user who is not root")
	}
	do()
}
