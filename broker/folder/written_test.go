package folder

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/testenv"
)

// A path that was meant for a shell and never saw one is no path.
func TestPathsThatNobodyExpanded(t *testing.T) {
	home := must(index.RealPath(t.TempDir()))
	t.Setenv("HOME", home)
	t.Setenv("USERPROFILE", home)
	t.Setenv("SOMEWHERE", home)
	t.Setenv("NOWHERE", "")
	for path, meant := range map[string]string{
		"~": home, "~/x": filepath.Join(home, "x"), "~ada/x": "", "$SOMEWHERE/x": filepath.Join(home, "x"), "${SOMEWHERE}/x": filepath.Join(home, "x"),
		"$NOWHERE": "", "x/$NOWHERE/y": "", "${XDG_CONFIG_HOME:-~/.config}/x": "", "$(pwd)/x": "", "`pwd`/x": "", "$env:LOCALAPPDATA\\x": "",
		"%LOCALAPPDATA%\\x": "", "%h/x": "", "%ProgramFiles(x86)%": "", "C:\\Users\\%USERNAME%\\x": "",
		`"` + home + `"`: home, "'" + home + "'": home, home + `"`: home, home + "\r": home, " " + home: home, home + "/x\ny": "", `"~/x"`: filepath.Join(home, "x"),
		filepath.Join(home, "$SOME", "x"): "", "\ufeff" + home: home, "\ufeff~/x": filepath.Join(home, "x"),
	} {
		for name, find := range map[string]func() error{
			"AUTHFERRY_DIR":      func() error { _, err := DefaultDir(); return err },
			"AUTHFERRY_KEY_FILE": func() error { _, err := DefaultKeyFile(); return err },
		} {
			t.Setenv(name, path)
			e, ok := errors.AsType[*fault.Error](find())
			if !ok || e.Code != fault.Usage || !strings.HasPrefix(e.Message, name+" is ") {
				t.Errorf("%s=%q: %v", name, path, e)
				continue
			}
			want := fault.Remedy{Do: fault.SetVariable, Name: name, Value: meant}
			if meant != "" && !slices.Equal(e.Next, []fault.Remedy{want}) || meant == "" && e.Next != nil {
				t.Errorf("%s=%q: %v, want %v", name, path, e.Next, want)
			}
			t.Setenv(name, "")
		}
		b := New(Options{Dir: filepath.Join(home, "af")})
		if _, err := InitFileKeystore(t.Context(), b, path); fault.CodeOf(err) != fault.Usage {
			t.Errorf("--key-file %q: %v", path, err)
		}
		if _, err := InitSealedKeystore(t.Context(), b, path, 0, nil); fault.CodeOf(err) != fault.Usage {
			t.Errorf("--passphrase --key-file %q: %v", path, err)
		}
	}
	odd := filepath.Join(home, "svc$account")
	testenv.Must(t, os.Mkdir(odd, 0o700))
	for _, path := range []string{home, "x", "./~x", "a~b", filepath.Join(home, "50%"), filepath.Join(home, "100% of 5%"), filepath.Join(home, "c$"), odd, filepath.Join(home, "it's")} {
		t.Setenv("AUTHFERRY_DIR", path)
		if _, err := DefaultDir(); err != nil {
			t.Errorf("%q: %v", path, err)
		}
	}
	if entries, err := os.ReadDir(home); err != nil || len(entries) != 1 {
		t.Errorf("something was made: %v, %v", entries, err)
	}
}

func must(path string, err error) string {
	if err != nil {
		panic(err)
	}
	return path
}
