package source

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Alone(m).Run()) }

// put writes a file of this user's in a folder of its own.
func put(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	testenv.Must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

func open(t *testing.T, s Source, path string) *File {
	t.Helper()
	f, err := Open(s, path)
	testenv.Must(t, err)
	return f
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	testenv.Must(t, err)
	return string(data)
}

// jwt is one whose payload this is.
func jwt(payload string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + ".c2ln"
}

var (
	idToken     = jwt(`{"iss":"https://auth.openai.com","sub":"user-1","aud":["client"],"email":"me@example.com","https://api.openai.com/auth":{"chatgpt_account_id":"org-1"}}`)
	accessToken = jwt(`{"exp":1795453200}`)
)

// Each program's file, what is read of it, and what is left when the logins that
// are named have been taken out: the rest byte for byte.
func TestFormats(t *testing.T) {
	for _, test := range []struct {
		name     string
		source   Source
		content  string
		logins   []Login // Secret fields are compared by reading below
		secrets  string  // access refresh key, a line each
		skipped  []Skipped
		remove   []int
		left     string
		gone     bool
		failover string
	}{
		{
			name: "opencode", source: openCode,
			content: `{
  "anthropic": {"type":"oauth","refresh":"r1","access":"a1","expires":1795453200000,"mine":[1, 2]},
  "openai":	{"type":"api","key":"k1","metadata":{"x":"y"}},
  "google": {"type":"oauth","refresh":"r2|project|managed","access":"","expires":0},
  "https://example.com": {"type":"wellknown","key":"NAME","token":"w"},
  "github-copilot": {"type":"oauth","refresh":"g","access":"h","expires":0},
  "empty": {"type":"oauth","refresh":"","access":"","expires":0},
  "odd": {"type":"oauth","refresh":7,"access":"a"},
  "new": {"type":"passkey"},
  "text": "x",
  "local/": {"type":"api","key":"k2"}
}
`,
			logins: []Login{
				{Entry: "anthropic", Provider: "anthropic", ExpiresAt: time.Unix(1795453200, 0).UTC()},
				{Entry: "openai", Provider: "openai"},
				{Entry: "google", Provider: "google"},
				{Entry: "local/", Provider: "local"},
			},
			secrets: "a1 r1 -\n- - k1\n- r2 -\n- - k2",
			skipped: []Skipped{
				{"https://example.com", "it is for a company's own server and only names a variable; there is no login in it"},
				{"github-copilot", "GitHub Copilot's login only works in its own clients, which exchange it for other tokens"},
				{"empty", "it is empty"},
				{"odd", "its refresh is not text"},
				{"new", "OpenCode has no login of this type"},
				{"text", "it is not an entry of OpenCode"},
			},
			remove: []int{0, 2, 3},
			left: `{
  "openai":	{"type":"api","key":"k1","metadata":{"x":"y"}},
  "https://example.com": {"type":"wellknown","key":"NAME","token":"w"},
  "github-copilot": {"type":"oauth","refresh":"g","access":"h","expires":0},
  "empty": {"type":"oauth","refresh":"","access":"","expires":0},
  "odd": {"type":"oauth","refresh":7,"access":"a"},
  "new": {"type":"passkey"},
  "text": "x"
}
`,
		},
		{
			name: "opencode, all of it", source: openCode,
			content: "\ufeff" + `{"a":{"type":"api","key":"1"},"b":{"type":"api","key":"2"}}`,
			logins:  []Login{{Entry: "a", Provider: "a"}, {Entry: "b", Provider: "b"}},
			secrets: "- - 1\n- - 2",
			remove:  []int{0, 1},
			left:    "\ufeff{}",
		},
		{
			name: "claude-code", source: claudeCode,
			content: `{"mcpOAuth":{"x":1},"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":1795453200000,"refreshTokenExpiresAt":1797000000000,"scopes":["user:profile","user:inference"],"subscriptionType":"max"},"trustedDeviceToken":"t"}`,
			logins: []Login{{
				Entry: "claudeAiOauth", Provider: "anthropic", ExpiresAt: time.Unix(1795453200, 0).UTC(),
				RefreshExpiresAt: time.Unix(1797000000, 0).UTC(), Scopes: []string{"user:profile", "user:inference"},
			}},
			secrets: "a r -",
			remove:  []int{0},
			left:    `{"mcpOAuth":{"x":1},"trustedDeviceToken":"t"}`,
		},
		{
			name: "claude-code, logged out", source: claudeCode,
			content: `{"claudeAiOauth":null,"mcpOAuth":{}}`, left: `{"claudeAiOauth":null,"mcpOAuth":{}}`,
		},
		{
			name: "codex", source: codex,
			content: `{"auth_mode":"chatgpt","OPENAI_API_KEY":null,"tokens":{"id_token":"` + idToken + `","access_token":"` + accessToken + `","refresh_token":"r","account_id":"org-1"},"last_refresh":"2026-11-20T08:00:00.5Z"}`,
			logins: []Login{{
				Entry: "tokens", Provider: "openai", ExpiresAt: time.Unix(1795453200, 0).UTC(),
				Identity: Identity{Issuer: "https://auth.openai.com", Subject: "user-1", Organization: "org-1", Name: "me@example.com"},
			}},
			secrets: accessToken + " r -",
			remove:  []int{0},
			left:    `{"OPENAI_API_KEY":null}`, gone: true,
		},
		{
			name: "codex, opaque token and a key", source: codex,
			content: `{"auth_mode":"chatgpt","OPENAI_API_KEY":"k","tokens":{"access_token":"a","refresh_token":"r"},"last_refresh":"2026-11-20T08:00:00Z","agent_identity":"i"}`,
			logins: []Login{
				{Entry: "OPENAI_API_KEY", Provider: "openai"},
				{Entry: "tokens", Provider: "openai", ExpiresAt: time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC)},
			},
			secrets: "- - k\na r -",
			skipped: []Skipped{{"agent_identity", "it is for Codex alone"}},
			remove:  []int{1},
			left:    `{"OPENAI_API_KEY":"k","agent_identity":"i"}`,
		},
		{
			name: "codex, a key", source: codex,
			content: `{"auth_mode":"apikey","OPENAI_API_KEY":"k"}`,
			logins:  []Login{{Entry: "OPENAI_API_KEY", Provider: "openai"}},
			secrets: "- - k", remove: []int{0}, left: `{}`, gone: true,
		},
		{
			name: "gemini", source: gemini,
			content: `{"access_token":"a","refresh_token":"r","scope":"openid email","token_type":"Bearer","id_token":"` + jwt(`{"iss":"accounts.google.com","sub":"7","email":"me@example.com"}`) + `","expiry_date":1795453200000}`,
			logins: []Login{{
				Entry: "oauth_creds", Provider: "google", ExpiresAt: time.Unix(1795453200, 0).UTC(), Scopes: []string{"openid", "email"},
				Identity: Identity{Issuer: "https://accounts.google.com", Subject: "7", Name: "me@example.com"},
			}},
			secrets: "a r -", remove: []int{0},
			left: `{"scope":"openid email","token_type":"Bearer","expiry_date":1795453200000}`, gone: true,
		},
		{
			name: "multi-auth", source: multiAuth,
			content: `{"type":"multi-oauth","accounts":[
 {"id":"account-1","label":"Work","access":"a1","refresh":"r1","expires":1795453200000,"rateLimitedUntil":null,"mode":"max"},
 {"id":"test-account-1","label":"Demo","access":"test_access_token_1","refresh":"test_refresh_token_1","expires":1},
 {"id":"account-2","label":"Home","access":"a2","refresh":"r2","expires":1795453200,"rateLimitedUntil":1795453300000,"mode":"console"},
 {"id":"account-3","label":"Old","access":"a3","refresh":"r3","expires":0}
],"currentAccountIndex":3,"autoFailover":false,"future":true}`,
			logins: []Login{
				{Entry: "Work", Label: "Work", Provider: "anthropic", ExpiresAt: time.Unix(1795453200, 0).UTC()},
				{Entry: "Home", Label: "Home", Provider: "anthropic", ExpiresAt: time.Unix(1795453200, 0).UTC(), HeldUntil: time.Unix(1795453300, 0).UTC()},
				{Entry: "Old", Label: "Old", Provider: "anthropic", Current: true},
			},
			secrets: "a1 r1 -\na2 r2 -\n- r3 -",
			skipped: []Skipped{{"Demo", "it is one of the plugin's demo accounts"}},
			remove:  []int{0, 1}, failover: "false",
			left: `{"type":"multi-oauth","accounts":[
 {"id":"test-account-1","label":"Demo","access":"test_access_token_1","refresh":"test_refresh_token_1","expires":1},
 {"id":"account-3","label":"Old","access":"a3","refresh":"r3","expires":0}
],"currentAccountIndex":1,"autoFailover":false,"future":true}`,
		},
		{
			name: "anthropic-accounts", source: multiAuth,
			content: `{"version":1,"activeIndex":1,"accounts":[{"name":"Main","refreshToken":"r1","accessToken":"a1","expiresAt":1795453200000,"email":"me@example.com","rateLimitResetTime":0},{"name":"Other","refreshToken":"r2"}]}`,
			logins: []Login{
				{Entry: "Main", Label: "Main", Provider: "anthropic", ExpiresAt: time.Unix(1795453200, 0).UTC(), Identity: Identity{Name: "me@example.com"}},
				{Entry: "Other", Label: "Other", Provider: "anthropic", Current: true},
			},
			secrets: "a1 r1 -\n- r2 -", remove: []int{1},
			left: `{"version":1,"activeIndex":0,"accounts":[{"name":"Main","refreshToken":"r1","accessToken":"a1","expiresAt":1795453200000,"email":"me@example.com","rateLimitResetTime":0}]}`,
		},
		{
			name: "antigravity", source: antigravity,
			content: `{"version":4,"accounts":[{"email":"a@example.com","refreshToken":"r1","coolingDownUntil":1795453200000},{"refreshToken":"r2","enabled":false},{"email":"c@example.com","refreshToken":""}],"activeIndex":1,"activeIndexByFamily":{"claude":0,"gemini":1}}`,
			logins: []Login{
				{Entry: "a@example.com", Provider: "google", HeldUntil: time.Unix(1795453200, 0).UTC(), Identity: Identity{Name: "a@example.com"}},
				{Entry: "accounts[1]", Provider: "google", Disabled: true, Current: true},
			},
			secrets: "- r1 -\n- r2 -",
			skipped: []Skipped{{"c@example.com", "it is empty"}},
			remove:  []int{0},
			left:    `{"version":4,"accounts":[{"refreshToken":"r2","enabled":false},{"email":"c@example.com","refreshToken":""}],"activeIndex":0,"activeIndexByFamily":{"claude":0,"gemini":0}}`,
		},
		{
			name: "antigravity 1", source: antigravity,
			content: `{"version":1,"accounts":[{"email":"a@example.com","refreshToken":"r1","isRateLimited":true,"rateLimitResetTime":1795453200000}],"activeIndex":0}`,
			logins: []Login{
				{Entry: "a@example.com", Provider: "google", HeldUntil: time.Unix(1795453200, 0).UTC(), Current: true, Identity: Identity{Name: "a@example.com"}},
			},
			secrets: "- r1 -", remove: []int{0},
			left: `{"version":1,"accounts":[],"activeIndex":0}`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := put(t, "auth.json", test.content)
			f := open(t, test.source, path)
			var secrets []string
			var going []Login
			if len(f.Logins) != len(test.logins) {
				t.Fatalf("%d logins, want %d: %+v", len(f.Logins), len(test.logins), f.Logins)
			}
			for i, l := range f.Logins {
				word := func(s string) string {
					if s == "" {
						return "-"
					}
					return s
				}
				secrets = append(secrets, strings.Join([]string{word(l.AccessToken.Reveal()), word(l.RefreshToken.Reveal()), word(l.APIKey.Reveal())}, " "))
				got := plain(l)
				if want := plain(test.logins[i]); got != want {
					t.Errorf("login %d:\n got %s\nwant %s", i, got, want)
				}
			}
			if got := strings.Join(secrets, "\n"); got != test.secrets {
				t.Errorf("secrets:\n%s\nwant:\n%s", got, test.secrets)
			}
			if got, want := say(f.Skipped), say(test.skipped); got != want {
				t.Errorf("skipped:\n%s\nwant:\n%s", got, want)
			}
			if test.failover != "" && (f.Failover == nil || say(*f.Failover) != test.failover) {
				t.Errorf("failover %v", f.Failover)
			}
			for _, i := range test.remove {
				going = append(going, f.Logins[i])
			}
			left, gone := f.Without(going)
			if string(left) != test.left || gone != test.gone {
				t.Errorf("left (gone %v):\n%s\nwant (gone %v):\n%s", gone, left, test.gone, test.left)
			}
			if len(going) == 0 {
				return
			}
			if linked, err := f.Remove(going); err != nil || linked {
				t.Fatal(linked, err)
			}
			if _, err := os.Stat(path); test.gone != errors.Is(err, fs.ErrNotExist) {
				t.Errorf("gone %v, but: %v", test.gone, err)
			}
			if !test.gone && content(t, path) != test.left {
				t.Errorf("the file holds:\n%s", content(t, path))
			}
			if all, _ := os.ReadDir(filepath.Dir(path)); len(all) > 1 {
				t.Errorf("left beside it: %v", all)
			}
		})
	}
}

// plain is a login without its secrets.
func plain(l Login) string {
	return say([]any{l.Entry, l.Provider, l.Label, l.ExpiresAt, l.RefreshExpiresAt, l.Scopes, l.Identity, l.HeldUntil, l.Disabled, l.Current})
}

func say(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	if string(data) == "null" {
		return "[]"
	}
	return string(data)
}

const secret = "canary-8d21"

// What is no file of logins is refused in words that hold nothing of it, and stays
// as it is.
func TestBadFiles(t *testing.T) {
	deep := strings.Repeat("[", 1<<19) + strings.Repeat("]", 1<<19)
	for name, test := range map[string]struct{ content, want string }{
		"empty":      {"", "it is empty"},
		"white":      {" \n", "it is empty"},
		"truncated":  {`{"anthropic":{"type":"oauth","refresh":"` + secret, "it is not complete JSON"},
		"trailing":   {`{"a":{"type":"api","key":"` + secret + `"}} ` + secret, "it is not complete JSON"},
		"deep":       {deep, "it is not complete JSON"},
		"list":       {`["` + secret + `"]`, "it is not in the format of that program"},
		"string":     {`"` + secret + `"`, "it is not in the format of that program"},
		"huge":       {`{"a":"` + strings.Repeat("x", maxFile) + `"}`, "it is over 1 MiB, too big for a file of logins"},
		"duplicates": {`{"` + secret + `":{"type":"api","key":"1"},"` + secret + `":{"type":"api","key":"2"}}`, "a key occurs twice in it, so it is ambiguous"},
		"escaped":    {`{"a":{"type":"api","key":"` + secret + `","\u006bey":"2"}}`, "a key occurs twice in it, so it is ambiguous"},
	} {
		t.Run(name, func(t *testing.T) {
			path := put(t, "auth.json", test.content)
			_, err := Open(openCode, path)
			bad, ok := errors.AsType[*BadFileError](err)
			if !ok || bad.Reason != test.want || bad.Path != path || strings.Contains(err.Error(), secret) {
				t.Errorf("got %v, want %s", err, test.want)
			}
			if content(t, path) != test.content {
				t.Error("the file was changed")
			}
		})
	}
	for _, s := range []Source{multiAuth, antigravity} {
		for _, text := range []string{`{}`, `{"accounts":{}}`, `{"type":"multi-oauth","version":1,"accounts":"` + secret + `"}`} {
			if _, err := Open(s, put(t, "x.json", text)); err == nil || strings.Contains(err.Error(), secret) {
				t.Errorf("%s takes %s: %v", s.Name, text, err)
			}
		}
	}
	if _, err := Open(openCode, t.TempDir()); err == nil || !strings.Contains(err.Error(), "it is a folder, not a file") {
		t.Errorf("a folder: %v", err)
	}
	if _, err := Open(openCode, filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing: %v", err)
	}
}

func TestRemoveKeepsModeAndLink(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs a Unix file mode, and links that anybody may make")
	}
	path := put(t, "real.json", `{"a":{"type":"api","key":"1"},"b":{"type":"api","key":"2"}}`)
	testenv.Must(t, os.Chmod(path, 0o640))
	link := filepath.Join(t.TempDir(), "auth.json")
	testenv.Must(t, os.Symlink(path, link))
	f := open(t, openCode, link)
	if f.OpenTo != "its group" {
		t.Errorf("open to %q", f.OpenTo)
	}
	testenv.Must(t, testenv.Err(f.Remove(f.Logins[:1])))
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != 0o640 || content(t, path) != `{"b":{"type":"api","key":"2"}}` {
		t.Errorf("%v %v: %s", info.Mode(), err, content(t, path))
	}
	if to, err := os.Readlink(link); err != nil || to != path {
		t.Errorf("the link leads to %q, %v", to, err)
	}
	second := filepath.Join(t.TempDir(), "second.json")
	testenv.Must(t, os.Link(path, second))
	f = open(t, openCode, path)
	if linked, err := f.Remove(f.Logins); err != nil || !linked {
		t.Errorf("a file with two names: %v, %v", linked, err)
	}
}

// A file that is not what was read stays what it is.
func TestRemoveAfterAChange(t *testing.T) {
	const before, after = `{"a":{"type":"api","key":"1"}}`, `{"a":{"type":"api","key":"2"}}`
	for name, change := range map[string]func(path string) error{
		"rewritten": func(path string) error { return os.WriteFile(path, []byte(after), 0o600) },
		"replaced": func(path string) error {
			return errors.Join(os.WriteFile(path+".new", []byte(after), 0o600), os.Rename(path+".new", path))
		},
		"deleted": os.Remove,
	} {
		path := put(t, "auth.json", before)
		f := open(t, openCode, path)
		testenv.Must(t, change(path))
		if _, err := f.Remove(f.Logins); !errors.Is(err, ErrChanged) {
			t.Errorf("%s: %v", name, err)
		}
		if name != "deleted" && content(t, path) != after {
			t.Errorf("%s: now %s", name, content(t, path))
		}
		if all, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); all != nil {
			t.Errorf("%s: left beside it: %v", name, all)
		}
	}
}

// What a killed process left beside the file goes, since it may hold logins.
func TestRemoveSweeps(t *testing.T) {
	path := put(t, "auth.json", `{"a":{"type":"api","key":"1"}}`)
	stray := filepath.Join(filepath.Dir(path), atomicfile.Prefix+"1"+atomicfile.Suffix)
	other := filepath.Join(filepath.Dir(path), "other.tmp")
	for _, p := range []string{stray, other} {
		testenv.Must(t, os.WriteFile(p, nil, 0o600))
	}
	f := open(t, openCode, path)
	testenv.Must(t, f.Removable())
	testenv.Must(t, testenv.Err(f.Remove(f.Logins)))
	if _, err := os.Stat(stray); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the stray file: %v", err)
	}
	if _, err := os.Stat(other); err != nil {
		t.Errorf("somebody else's file: %v", err)
	}
}

// Of those that remove at once one does, and the others learn that they did not;
// nobody's temporary file is swept.
func TestRemoveAtOnce(t *testing.T) {
	for range 20 {
		path := put(t, "auth.json", `{"a":{"type":"api","key":"1"},"b":{"type":"api","key":"2"}}`)
		files := []*File{open(t, openCode, path), open(t, openCode, path), open(t, openCode, path)}
		errs := make([]error, len(files))
		var all sync.WaitGroup
		for i, f := range files {
			all.Go(func() {
				if errs[i] = f.Removable(); errs[i] == nil {
					_, errs[i] = f.Remove(f.Logins[:1])
				}
			})
		}
		all.Wait()
		did := 0
		for _, err := range errs {
			if err == nil {
				did++
			} else if !errors.Is(err, ErrChanged) {
				t.Error(err)
			}
		}
		if did != 1 || content(t, path) != `{"b":{"type":"api","key":"2"}}` {
			t.Fatalf("%d removed it: %s", did, content(t, path))
		}
		if all, _ := filepath.Glob(filepath.Join(filepath.Dir(path), ".*")); all != nil {
			t.Errorf("left beside it: %v", all)
		}
	}
}

// While Claude Code refreshes, nothing is taken out of its file; a lock that it
// left behind itself takes away after a minute, and so does this.
func TestOtherProgramsLock(t *testing.T) {
	text := `{"claudeAiOauth":{"accessToken":"a","refreshToken":"r","expiresAt":0}}`
	path := put(t, ".credentials.json", text)
	lock := filepath.Join(filepath.Dir(path), ".oauth_refresh.lock")
	testenv.Must(t, os.Mkdir(lock, 0o700))
	f := open(t, claudeCode, path)
	if _, err := f.Remove(f.Logins); !errors.Is(err, ErrBusy) || content(t, path) != text {
		t.Errorf("%v: %s", err, content(t, path))
	}
	old := time.Now().Add(-2 * staleLock)
	testenv.Must(t, os.Chtimes(lock, old, old))
	if _, err := f.Remove(f.Logins); err != nil || content(t, path) != `{}` {
		t.Errorf("%v: %s", err, content(t, path))
	}
	if _, err := os.Stat(lock); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the lock of a process that was killed stays: %v", err)
	}
	f = open(t, claudeCode, put(t, ".credentials.json", text))
	testenv.Must(t, testenv.Err(f.Remove(f.Logins)))
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(f.target), "*.lock")); left != nil {
		t.Errorf("locks are left: %v", left)
	}
}
