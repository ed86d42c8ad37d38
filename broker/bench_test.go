package broker

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/testenv"
)

// The hot path within one process: a stored token from the file keystore.
func BenchmarkToken(b *testing.B) {
	broker := New(Options{Dir: filepath.Join(b.TempDir(), "authferry")})
	testenv.Must(b, testenv.Err(folder.InitFileKeystore(b.Context(), broker.Folder, filepath.Join(b.TempDir(), "key.txt"))))
	const nobody = "http://127.0.0.1:9"
	testenv.Must(b, testenv.Err(account.Add(b.Context(), broker.Folder, testLogin(nobody, "ada", "access", "refresh", 24*time.Hour))))
	b.ReportAllocs()
	for b.Loop() {
		testenv.Must(b, testenv.Err(broker.Token(b.Context(), TokenRequest{MinTTL: pool.DefaultMinTTL})))
	}
}
