package keystore_test

import (
	"errors"
	"runtime"
	"testing"

	"github.com/authferry/authferry/keystore"
)

// Only macOS has other programs' items; elsewhere there is none, without an error
// that a person would have to act on.
func TestForeignElsewhere(t *testing.T) {
	if runtime.GOOS == "darwin" {
		t.Skip("needs Linux or Windows: this would ask the person at a Mac")
	}
	f := keystore.Foreign{Service: "authferry test: no such service", Account: "nobody"}
	if _, err := f.Get(t.Context()); !errors.Is(err, keystore.ErrNotFound) {
		t.Errorf("Get: %v", err)
	}
	if err := f.Delete(t.Context()); err != nil {
		t.Errorf("Delete: %v", err)
	}
}
