package folder

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// A file that was just written may be followed by another with the same time.
func TestMemoryDoesNotTrustAFreshFile(t *testing.T) {
	f := New(Options{Dir: t.TempDir(), Memory: &Memory{}})
	testenv.Must(t, f.UpdateOrMake(t.Context(), index.Fast, func(*index.Index) error { return nil }))
	now := time.Now().Add(time.Hour) // fresh for as long as this test takes
	testenv.Must(t, os.Chtimes(filepath.Join(f.Dir, "index.json"), now, now))
	if _, err := f.Read(); err != nil || f.Memory.file != nil {
		t.Errorf("the index is kept by a time that the next version may have as well (%v)", err)
	}
}
