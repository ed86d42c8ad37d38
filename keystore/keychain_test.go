package keystore_test

import (
	"os"
	"testing"

	"github.com/authferry/authferry/keystore"
	ks "github.com/authferry/authferry/keystore/keystoretest"
)

// The suite over the keychain of whoever runs it: the way to see macOS and
// Windows pass. Its items are called authferry, conformance/…, and are deleted.
func TestSystemKeychainConforms(t *testing.T) {
	const allowed = "AUTHFERRY_TEST_SYSTEM_KEYCHAIN"
	if os.Getenv(allowed) == "" {
		t.Skipf("needs %s=1: it writes to the keychain of the person who runs it", allowed)
	}
	ks.Run(t, func(testing.TB) keystore.Store { return keystore.OpenKeychain() })
}
