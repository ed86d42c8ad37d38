package broker

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/lock"
)

// A lease is taken apart into an account id that names a file in the folder, or
// refused without being quoted.
func FuzzLease(f *testing.F) {
	for _, s := range []string{"acc_aaaaaaaaaaaaaaaa.1", "acc_aaaaaaaaaaaaaaaa.-1", "../x.1", "acc_aaaaaaaaaaaaaaaa.1e3", ".", "", "acc_aaaaaaaaaaaaaaaa.99999999999999999999"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		account, generation, err := ParseLease(text)
		if err != nil {
			if len(text) > 3 && strings.Contains(err.Error(), text) && !strings.Contains("not a lease: a lease looks like acc_k3m….7, as token --json prints it", text) {
				t.Fatalf("quoted: %v", err)
			}
			return
		}
		path := lock.Rotation(account).In("folder")
		if generation < 0 || filepath.Dir(path) != filepath.Join("folder", "locks") {
			t.Fatalf("%q: %q, %d", text, account, generation)
		}
	})
}
