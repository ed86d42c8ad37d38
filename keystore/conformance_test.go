package keystore_test

import (
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/keystore/keystoretest"
)

func TestFileConforms(t *testing.T) {
	dir, key := filepath.Join(t.TempDir(), "vault"), filepath.Join(t.TempDir(), "key")
	if err := keystore.InitKeyFile(key); err != nil {
		t.Fatal(err)
	}
	keystoretest.Run(t, func(t testing.TB) keystore.Store {
		s, err := keystore.OpenFile(dir, key)
		if err != nil {
			t.Fatal(err)
		}
		return s
	})
}
