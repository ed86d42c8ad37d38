package broker

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
)

// The hot path within one process: a stored token from the file keystore.
func BenchmarkToken(b *testing.B) {
	broker := New(Options{Dir: filepath.Join(b.TempDir(), "authferry")})
	if _, err := folder.InitFileKeystore(b.Context(), broker.Folder, filepath.Join(b.TempDir(), "key.txt")); err != nil {
		b.Fatal(err)
	}
	const nobody = "http://127.0.0.1:9"
	if _, err := account.Add(b.Context(), broker.Folder, testLogin(nobody, "ada", "access", "refresh", 24*time.Hour)); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := broker.Token(b.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL}); err != nil {
			b.Fatal(err)
		}
	}
}
