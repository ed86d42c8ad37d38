package oauth

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/pelletier/go-toml/v2"

	"github.com/authferry/authferry/rawtext"
	"github.com/authferry/authferry/testenv"
)

func load(t *testing.T, path string) *Providers {
	t.Helper()
	ps, err := LoadProviders(path)
	testenv.Must(t, err)
	return ps
}

func names(ps *Providers) (all []string) {
	for _, p := range ps.All() {
		all = append(all, p.Name+" "+p.Source)
	}
	return all
}

func TestBuiltins(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "providers.toml")
	ps := load(t, path)
	if got := names(ps); !slices.Equal(got, []string{"anthropic builtin", "github builtin", "google builtin", "microsoft builtin", "openai builtin"}) {
		t.Errorf("%q", got)
	}
	for _, p := range ps.All() {
		if p.ClientID != "" {
			t.Errorf("%s has somebody's client id", p.Name)
		}
		if p.Issuer == "" || p.AuthorizationEndpoint == "" || p.TokenEndpoint == "" || p.IdentityFrom == "" || len(p.APIOrigins) == 0 || len(p.Env) == 0 || p.RedirectURI+p.PasteRedirectURI == "" || p.TermsURL == "" {
			t.Errorf("%s lacks something", p.Name)
		}
		if len(p.Headers) > 0 && len(p.APIKeyHeaders) == 0 {
			t.Errorf("%s says how a token is sent, and leaves out an API key, which would be sent likewise", p.Name)
		}
	}
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Error("reading made something")
	}
	// Every key of the built-in data is one that is read.
	dec := toml.NewDecoder(bytes.NewReader(builtinTOML)).DisallowUnknownFields()
	var strict map[string]Provider
	testenv.Check(t, dec.Decode(&strict))
}

func TestAddAndRemove(t *testing.T) {
	path := filepath.Join(t.TempDir(), "authferry", "providers.toml")
	ps := load(t, path)
	p := sample()
	p.APIOrigins = []string{"https://API.example.com:443/", "https://api.example.com"}
	testenv.Must(t, ps.Add(p))
	want := sample()
	want.Source = SourceOwn
	for _, ps := range []*Providers{ps, load(t, path)} {
		if got, ok := ps.Get(p.Name); !ok || !reflect.DeepEqual(got, want) {
			t.Errorf("got  %+v\nwant %+v", got, want)
		}
	}
	info, err := os.Stat(path)
	testenv.Must(t, err)
	if runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}

	mine := Provider{Name: "openai", TokenEndpoint: "https://id.example.com/token"}
	testenv.Must(t, ps.Add(mine))
	if got, _ := load(t, path).Get("openai"); got.Source != SourceOwn || got.AuthorizationEndpoint != "" || got.APIOrigins != nil {
		t.Errorf("something of the built-in one is left: %+v", got)
	}
	if got := names(ps); !slices.Contains(got, "openai own") || slices.Contains(got, "openai builtin") {
		t.Errorf("%q", got)
	}
	testenv.Must(t, ps.Remove("openai"))
	if got, _ := load(t, path).Get("openai"); got.Source != SourceBuiltin {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"openai", "nobody"} {
		if err := ps.Remove(name); err == nil {
			t.Errorf("%s is none of the user's own", name)
		}
	}
	if err := ps.Add(Provider{Name: "x", TokenEndpoint: "http://example.com"}); err == nil {
		t.Error("an invalid one was added")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("%v %v", left, err)
	}
}

// A person's file keeps everything but the entry that is touched.
func TestFileIsKept(t *testing.T) {
	const before = `# mine

# the work one
[work]
token_endpoint = "https://work.example.com/token" # here
later = { a = 1 }

# the test one, with text that looks like a table
[test]
client_id = "x"
# inside test
token_endpoint = "https://test.example.com/token"
terms_notice = '''[work]'''
scopes = [
  "a", # first
]
future = ["kept"]
[test.extra_authorize_params]
prompt = "none"

# about the last one
["last.one"]
token_endpoint = "https://last.example.com/token"
# the end`
	path := filepath.Join(t.TempDir(), "providers.toml")
	write := func(s string) {
		t.Helper()
		testenv.Must(t, os.WriteFile(path, []byte(s), 0o600))
	}
	read := func() string {
		t.Helper()
		data, err := os.ReadFile(path)
		testenv.Must(t, err)
		return string(data)
	}
	head, rest, _ := strings.Cut(before, "[test]")
	_, tail, _ := strings.Cut(rest, "\n# about the last one")
	without := head + "\n# about the last one" + tail

	write(before)
	testenv.Must(t, load(t, path).Remove("test"))
	if got := read(); got != without {
		t.Errorf("got\n%s\nwant\n%s", got, without)
	}

	write(utf16LE("\ufeff" + before))
	testenv.Must(t, load(t, path).Remove("test"))
	if got := read(); got != without {
		t.Errorf("from UTF-16: got\n%s\nwant\n%s", got, without)
	}

	write("\ufeff" + strings.ReplaceAll(before, "\n", "\r\n"))
	ps := load(t, path)
	p, _ := ps.Get("test")
	p.ClientID = "y"
	testenv.Must(t, ps.Add(p))
	after := read()
	if !strings.HasPrefix(after, strings.ReplaceAll(without, "\n", "\r\n")) || strings.Contains(after, "inside test") {
		t.Errorf("got\n%s", after)
	}
	var doc map[string]map[string]any
	testenv.Must(t, toml.Unmarshal([]byte(after), &doc))
	if test := doc["test"]; test["client_id"] != "y" || !reflect.DeepEqual(test["future"], []any{"kept"}) || test["terms_notice"] != "[work]" {
		t.Errorf("%v", test)
	}
	if got, _ := load(t, path).Get("test"); got.ClientID != "y" || got.AuthorizeParams["prompt"] != "none" {
		t.Errorf("%+v", got)
	}

	// Tables can be written in other ways.
	write("flat.client_id = 'a'\ninline = { client_id = 'b' }\nflat.scopes = ['s']\n[other]\nclient_id = 'c'\n[flat.extra_authorize_params]\nx = 'y'\n")
	ps = load(t, path)
	for _, name := range []string{"flat", "inline"} {
		testenv.Must(t, ps.Remove(name))
	}
	if got := read(); got != "[other]\nclient_id = 'c'\n" {
		t.Errorf("%q", got)
	}
}

func TestLinkedFile(t *testing.T) {
	dir := t.TempDir()
	real, link := filepath.Join(dir, "dotfiles.toml"), filepath.Join(dir, "providers.toml")
	testenv.Must(t, os.WriteFile(real, []byte("[a]\n"), 0o600))
	testenv.Symlink(t, real, link)
	ps := load(t, link)
	if _, ok := ps.Get("a"); !ok {
		t.Error("the file that is linked to is not read")
	}
	if ps.Add(Provider{Name: "b"}) == nil || ps.Remove("a") == nil {
		t.Error("a link was changed")
	}
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("%v %v", info, err)
	}
	if data, err := os.ReadFile(real); err != nil || string(data) != "[a]\n" {
		t.Errorf("the file that is linked to is %q (%v)", data, err)
	}
}

func utf16LE(text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

func TestDamagedFiles(t *testing.T) {
	for _, test := range []struct{ file, want string }{
		{"[a]\nclient_id = \"x\n", "line 2"},
		{"[a]\n\n[a]\n", "line 3"},
		{"[a]\nscopes = \"openid\"\n", "line 2"},
		{"a = 1\n", "line 1"},
		{"[ok]\n\n# note\n[Bad]\n", `line 4: provider "Bad": a provider's name`},
		{"[a]\n[b]\ntoken_endpoint = \"http://example.com/\"\n", `line 2: provider "b": token_endpoint: neither https nor loopback`},
		{"[a]\nclient_secret = \"hush\"\n", "--client-secret-stdin"},
		{"\x00", "not text"},
		{"[a]\x00\nb = 1\n", "not text"},
	} {
		path := filepath.Join(t.TempDir(), "providers.toml")
		testenv.Must(t, os.WriteFile(path, []byte(test.file), 0o600))
		_, err := LoadProviders(path)
		if err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q: %v", test.file, err)
		}
	}
	if _, err := LoadProviders(t.TempDir()); err == nil {
		t.Error("a folder was read")
	}
	// Damaged after it was read: not overwritten.
	path := filepath.Join(t.TempDir(), "providers.toml")
	ps := load(t, path)
	testenv.Must(t, os.WriteFile(path, []byte("[a\n"), 0o600))
	if ps.Add(Provider{Name: "b"}) == nil || ps.Remove("a") == nil {
		t.Error("a damaged file was changed")
	}
}

// A file of allowed size is little work for every login: the parser compares each key
// with all others. What would be too much is not written either.
func TestProvidersBounds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "providers.toml")
	for name, file := range map[string]string{
		"keys":    strings.Repeat("k=1\n", maxProviderKeys+1),
		"tables":  strings.Repeat("[k]\n", maxProviderKeys+1),
		"inline":  "k={a=1" + strings.Repeat(",b=1", maxProviderKeys) + "}",
		"arrays":  "k=" + strings.Repeat("[", maxProviderKeys),
		"bytes":   strings.Repeat("#", maxProviders+1),
		"comment": strings.Repeat("#\n", maxProviders/2+1),
	} {
		testenv.Must(t, os.WriteFile(path, []byte(file), 0o600))
		if _, err := LoadProviders(path); err == nil || !strings.Contains(err.Error(), "at most") && !strings.Contains(err.Error(), "may have") {
			t.Errorf("%s: %v", name, err)
		}
	}
	var full strings.Builder
	full.WriteString("[a]\n")
	for i := range maxProviderKeys - 5 {
		fmt.Fprintf(&full, "k%d=1\n", i)
	}
	for name, file := range map[string]string{"keys": full.String(), "bytes": strings.Repeat("#", maxProviders-10) + "\n"} {
		testenv.Must(t, os.WriteFile(path, []byte(file), 0o600))
		ps := load(t, path)
		if err := ps.Add(sample()); err == nil {
			t.Errorf("%s: added", name)
		}
		if after, err := os.ReadFile(path); err != nil || string(after) != file {
			t.Errorf("%s: the file changed (%v)", name, err)
		}
	}
}

// Whatever a file holds: if it is read at all, an entry can be added and taken
// out again, and the others are as they were.
func FuzzProvidersTOML(f *testing.F) {
	for _, s := range []string{
		"", "[a]\n", "[a]\nclient_id='x'\n[b]\n", "a.client_id='x'\n[b]\n[a.extra_authorize_params]\nx='y'", "a={}\n", "[\"zz\"]\nscopes=[]\n[zz.x]\n",
		"# c\n[a] # d\n\n# e\n[zz]\nfoo='''\n[a]\n'''\n# f", "[[a]]\n", "[a]\nb.c.d=1\n", "\"\\u007a\\u007a\".client_id='q'\n", "[zz]\n[a]\n[zz.deep]\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		before, err := parseProviders(data, SourceOwn)
		if err != nil || len(data) > maxProviders/2 || rawtext.Keys(data) > maxProviderKeys/2 {
			return // no more fits in, it may be
		}
		path := filepath.Join(t.TempDir(), "providers.toml")
		testenv.Must(t, os.WriteFile(path, data, 0o600))
		ps := load(t, path)
		added := sample()
		added.Name, added.Source = "zz", SourceOwn
		if err := ps.Add(added); err != nil {
			t.Fatalf("add: %v", err)
		}
		if got, _ := ps.Get("zz"); !reflect.DeepEqual(got, added) {
			t.Fatalf("got  %+v\nwant %+v", got, added)
		}
		if err := ps.Remove("zz"); err != nil {
			t.Fatalf("remove: %v", err)
		}
		delete(before, "zz")
		if !reflect.DeepEqual(load(t, path).own, before) {
			t.Fatalf("got  %+v\nwant %+v", ps.own, before)
		}
	})
}

// What a provider's table may have is documented, and what has no effect is named.
func TestKeys(t *testing.T) {
	page, err := os.ReadFile("../../docs/providers.md")
	testenv.Must(t, err)
	for f := range reflect.TypeFor[Provider]().Fields() {
		if key := keyOf(f); key != "-" && !regexp.MustCompile("(?m)^\\|.*`"+key+"`.* \\|").Match(page) {
			t.Errorf("docs/providers.md does not list %s", key)
		}
	}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| [^|]*\\|$").FindAllSubmatch(page, -1) {
		if key := string(row[1]); !known(key) && !slices.Contains([]string{AuthParams, AuthHeader, AuthNone}, key) {
			t.Errorf("docs/providers.md lists %s, which nothing reads", key)
		}
	}
	path := filepath.Join(t.TempDir(), "providers.toml")
	testenv.Must(t, os.WriteFile(path, []byte("[a]\nclient_id='x'\ntoken_endpoint_auth_method='basic'\nScopes=['x']\n[a.deep]\n[b]\nclient_id='y'\n"), 0o600))
	ps := load(t, path)
	if got, want := ps.Unknown(), map[string][]string{"a": {"deep", "token_endpoint_auth_method"}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if err := ps.Remove("a"); err != nil || len(ps.Unknown()) != 0 {
		t.Errorf("%v, %v", ps.Unknown(), err)
	}
}
