//go:build !linux

package testenv

import "os"

// KeptOut runs do where a folder that is closed to its owner is closed to this user.
// Elsewhere than on Linux, root's test is skipped.
func KeptOut(t Skipper, do func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("needs a user who is not root")
	}
	do()
}
