package folder

import (
	"os"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/testenv"
)

// Whatever a status is made of, a change of it is seen without reading; and nothing else is.
func TestStamp(t *testing.T) {
	f := New(Options{Dir: t.TempDir()})
	earlier := func() error { // clocks of file systems tick slowly
		return os.Chtimes(lock.Folder(f.Dir), time.Time{}, time.Now().Add(-time.Minute))
	}
	testenv.Must(t, os.Mkdir(lock.Folder(f.Dir), 0o700))
	for what, change := range map[string]func() error{
		"the index":    func() error { return f.UpdateOrMake(t.Context(), index.Fast, func(*index.Index) error { return nil }) },
		"the settings": func() error { return ConfigSet(t.Context(), f, "switch_at", "90") },
		"a proxy": func() error {
			withdraw, err := Announce(f, ProxyView{})
			if err == nil {
				t.Cleanup(withdraw)
			}
			return err
		},
	} {
		testenv.Must(t, earlier())
		before := StampOf(f)
		if StampOf(f) != before {
			t.Errorf("%s: seen before it was changed", what)
		}
		if err := change(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if StampOf(f) == before {
			t.Errorf("%s: not seen", what)
		}
	}
}
