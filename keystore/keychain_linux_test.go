package keystore_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
)

func TestGnomeKeyringConforms(t *testing.T) {
	const inside = "KEYSTORE_TEST_CONFORMANCE"
	if os.Getenv(inside) != "" {
		keystoretest.Run(t, func(testing.TB) keystore.Store { return keystore.OpenKeychain() })
		return
	}
	ring := keystoretest.GnomeKeyring(t)
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestGnomeKeyringConforms$", "-test.v")
	cmd.Env = append(append(os.Environ(), ring.Env...), inside+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
