package opencode

import (
	"bytes"
	"reflect"
	"regexp"
	"testing"

	"github.com/authferry/authferry/testenv"
)

func plugin(t *testing.T, s Settings) []byte {
	t.Helper()
	file, err := Plugin(s)
	testenv.Must(t, err)
	return file
}

// Whatever a path or a label has in it stays inside the one line of settings.
func TestSettingsStayOnTheirLine(t *testing.T) {
	for _, odd := range []string{`C:\Program Files\authferry.exe`, "/a/\"; process.exit() //", "/a\nb", "/a\u2028b", "/</script>", "/a`${1}`", "/ü/😀"} {
		s := Settings{Binary: odd, Providers: map[string]Selection{odd: {Provider: "anthropic", Pool: odd, Account: odd}}}
		file := plugin(t, s)
		if got, ours := Read(file); !ours || !reflect.DeepEqual(got, s) {
			t.Errorf("%q is read back as %+v", odd, got)
		}
		if got, want := bytes.Count(file, []byte("\n")), bytes.Count(source, []byte("\n")); got != want {
			t.Errorf("%q makes %d lines of %d", odd, got, want)
		}
		if bytes.ContainsRune(file, '\u2028') {
			t.Errorf("%q is not escaped", odd)
		}
	}
}

func TestReadKnowsItsOwn(t *testing.T) {
	s := Settings{Binary: "/opt/authferry", Providers: map[string]Selection{"openai": {Provider: "openai"}}}
	file := plugin(t, s)
	if got, ours := Read(bytes.ReplaceAll(file, []byte("\n"), []byte("\r\n"))); !ours || !reflect.DeepEqual(got, s) {
		t.Errorf("with Windows' line ends: %+v, %t", got, ours)
	}
	for _, theirs := range []string{"", "export default {}\n", "// authferry\n"} {
		if _, ours := Read([]byte(theirs)); ours {
			t.Errorf("%q passes for authferry's", theirs)
		}
	}
	if got, ours := Read(plugin(t, Settings{})[:200]); !ours || got.Binary != "" {
		t.Errorf("a file that was cut off: %+v, %t", got, ours)
	}
}

// OpenCode has nothing installed beside a plugin, and calls every export of it.
func TestPluginImportsNodeAlone(t *testing.T) {
	for _, found := range regexp.MustCompile(`(?m)^import .* from "(.*)"|\b(?:import|require)\(`).FindAllSubmatch(source, -1) {
		if !bytes.HasPrefix(found[1], []byte("node:")) {
			t.Errorf("%s", found[0])
		}
	}
	if n := len(regexp.MustCompile(`(?m)^export `).FindAll(source, -1)); n != 1 {
		t.Errorf("%d exports, want the default one alone", n)
	}
}

func FuzzRead(f *testing.F) {
	f.Add(source)
	f.Add([]byte("// authferry\nconst SETTINGS = {}\n"))
	f.Fuzz(func(t *testing.T, file []byte) {
		s, ours := Read(file)
		if !ours {
			return
		}
		if again, ours := Read(plugin(t, s)); !ours || again.Binary != s.Binary || len(again.Providers) != len(s.Providers) {
			t.Errorf("%+v is written and read as %+v", s, again)
		}
	})
}
