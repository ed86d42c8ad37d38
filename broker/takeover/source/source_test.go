package source

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

func TestPlaces(t *testing.T) {
	home := t.TempDir()
	for name, value := range map[string]string{"HOME": home, "USERPROFILE": home, "XDG_DATA_HOME": "", "XDG_CONFIG_HOME": "", "CODEX_HOME": "", "CLAUDE_CONFIG_DIR": "", "OPENCODE_CONFIG_DIR": ""} {
		t.Setenv(name, value)
	}
	for _, test := range []struct {
		source             Source
		variable, dir, end string
	}{
		{openCode, "XDG_DATA_HOME", ".local/share", "opencode/auth.json"},
		{openCodeMCP, "XDG_DATA_HOME", ".local/share", "opencode/mcp-auth.json"},
		{claudeCode, "CLAUDE_CONFIG_DIR", ".claude", ".credentials.json"},
		{codex, "CODEX_HOME", ".codex", "auth.json"},
		{gemini, "", ".gemini", "oauth_creds.json"},
		{multiAuth, "XDG_CONFIG_HOME", ".config", "opencode/multi-auth.json"},
		{antigravity, "XDG_CONFIG_HOME", ".config", "opencode/antigravity-accounts.json"},
	} {
		at := func(parts ...string) string { return filepath.FromSlash(strings.Join(parts, "/")) }
		if got := test.source.Places()[0]; got != at(home, test.dir, test.end) {
			t.Errorf("%s: %s", test.source.Name, got)
		}
		if len(test.source.Present()) != 0 {
			t.Errorf("%s: nothing is there, and %v was found", test.source.Name, test.source.Present())
		}
		if test.variable == "" || test.source.Name == multiAuth.Name { // which knows of no variable
			continue
		}
		other := t.TempDir()
		t.Setenv(test.variable, other)
		if got := test.source.Places()[0]; got != at(other, test.end) {
			t.Errorf("%s: %s", test.source.Name, got)
		}
		path := at(other, test.end)
		testenv.Must(t, errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, nil, 0o600)))
		if got := test.source.Present(); len(got) != 1 || got[0] != path {
			t.Errorf("%s: present: %v", test.source.Name, got)
		}
		t.Setenv(test.variable, "")
	}
	for _, s := range All() {
		if got, ok := Find(s.Name); !ok || got.Title != s.Title {
			t.Errorf("Find(%q) = %v, %v", s.Name, got.Title, ok)
		}
	}
	if _, ok := Find("emacs"); ok {
		t.Error("there is no such source")
	}
}

func TestClaudeName(t *testing.T) {
	home := t.TempDir()
	dir := filepath.Join(home, ".claude")
	text := `{"oauthAccount":{"accountUuid":"u","emailAddress":"me@example.com"}}`
	login := `{"claudeAiOauth":{"accessToken":"a"}}`
	testenv.Must(t, errors.Join(os.Mkdir(dir, 0o700), os.WriteFile(filepath.Join(home, ".claude.json"), []byte(text), 0o600),
		os.WriteFile(filepath.Join(dir, ".credentials.json"), []byte(login), 0o600)))
	if got := open(t, claudeCode, filepath.Join(dir, ".credentials.json")).Logins[0].Identity; got != (Identity{Name: "me@example.com"}) {
		t.Errorf("%+v", got)
	}
	t.Setenv("USER", "ada")
	t.Setenv("CLAUDE_SECURESTORAGE_CONFIG_DIR", "")
	t.Setenv("CLAUDE_CONFIG_DIR", "")
	if service, account := claudeItem(); service != "Claude Code-credentials" || account != "ada" {
		t.Errorf("%s, %s", service, account)
	}
	t.Setenv("CLAUDE_CONFIG_DIR", "/home/ada/work")
	if service, _ := claudeItem(); service != "Claude Code-credentials-5010972d" {
		t.Errorf("%s", service)
	}
}

// A script's word for no value is no refresh token.
func TestWordForNoValue(t *testing.T) {
	l := Login{RefreshToken: keystore.NewSecret("null"), AccessToken: keystore.NewSecret("at")}
	if reason := l.clean(); reason != "" || !l.RefreshToken.Empty() || l.AccessToken.Reveal() != "at" {
		t.Errorf("%q: %q", reason, l.RefreshToken.Reveal())
	}
}
