package lock

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/authferry/authferry/rawtext"
	"github.com/authferry/authferry/testenv"
)

// Whatever stands in a holder file, what is shown of it can't steer a terminal.
func FuzzHolder(f *testing.F) {
	for _, s := range []string{
		`{"pid":7,"started_at":"2026-11-23T17:00:00Z","state":"at work"}`, `{"pid":7,"state":"\u001b[2J\n\u202e"}`, `{"pid":1}} trailing`, `{"pid":-1e99}`, "", "null", "[",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "x.lock")
		testenv.Must(t, os.WriteFile(path+holderSuffix, data, 0o600))
		h, err := ReadHolder(path)
		if err != nil {
			return
		}
		for _, r := range (&TimeoutError{Path: "p", Holder: h}).Error() {
			if rawtext.Steers(r) {
				t.Fatalf("%q", h.State)
			}
		}
	})
}
