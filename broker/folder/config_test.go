package folder

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/testenv"
)

// A hostile config.toml is no work: every token reads it.
func TestConfigOfAllowedSizeIsNoWork(t *testing.T) {
	f := New(Options{Dir: t.TempDir()})
	path := filepath.Join(f.Dir, "config.toml")
	testenv.Must(t, os.WriteFile(path, bytes.Repeat([]byte("#"), maxConfig+1), 0o600))
	if _, err := LoadConfig(f); fault.CodeOf(err) != fault.Usage {
		t.Errorf("over the limit: %v", err)
	}
	if c := f.Config(); c.Failover {
		t.Error("failover, though nobody knows")
	}
	testenv.Must(t, os.WriteFile(path, []byte(strings.Repeat("#", maxConfig-4)+"\n"), 0o600))
	if err := ConfigSet(t.Context(), f, "failover", "false"); fault.CodeOf(err) != fault.Usage {
		t.Errorf("what would be over the limit: %v", err)
	}
}

// Whatever stands in config.toml, its settings are within their bounds or there
// is an error on one line; and setting one keeps the rest readable.
func FuzzConfigTOML(fz *testing.F) {
	for _, s := range []string{
		"", "failover = false\nthrottle_max = '1m'\n", "failover = 7", "strategy = 'x'", "switch_at = 90", "switch_at = -1.5", "throttle_max = '900h'", "[failover]\nx=1", "# c\nfailover=true # d\n[other]\nx=1",
		"a = '''\nfailover = 1\n'''\n", "failover.x = 1", "\"failover\" = false", "= =", "\xff",
		"\ufefffailover = false\r\n", "f\x00a\x00=\x001\x00", "failover = false\n\x00\x00", "\xff\xfea",
	} {
		fz.Add([]byte(s))
	}
	fz.Fuzz(func(t *testing.T, data []byte) {
		f := New(Options{Dir: t.TempDir()})
		testenv.Must(t, os.WriteFile(configPath(f), data, 0o600))
		c, err := LoadConfig(f)
		if err != nil {
			if e, ok := errors.AsType[*fault.Error](err); !ok || e.Code != fault.Usage {
				t.Fatal(err)
			}
			return
		}
		if c.Strategy != Sticky && c.Strategy != SoonestReset || c.ThrottleMax < 0 || c.ThrottleMax > 10*time.Minute || c.SwitchAt < 0 || c.SwitchAt > 100 {
			t.Fatalf("%+v", c)
		}
	})
}
