package source

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/authferry/authferry/rawtext"
	"github.com/authferry/authferry/testenv"
)

func wide(order int, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		pair := []byte{byte(unit), byte(unit >> 8)}
		b = append(b, pair[order], pair[1-order])
	}
	return string(b)
}

// A file in any encoding that Windows' tools leave loses just the entry that was
// taken, and stays in that encoding.
func TestEncodings(t *testing.T) {
	t.Parallel()
	const before = "{\r\n \"anthropic\": {\"type\":\"oauth\",\"refresh\":\"r1\",\"access\":\"a1\",\"expires\":\"1795453200000\"},\r\n \"note ü€\": {\"type\":\"api\",\"key\":\"k1\"}\r\n}\r\n"
	const after = "{\r\n \"note ü€\": {\"type\":\"api\",\"key\":\"k1\"}\r\n}\r\n"
	for name, encode := range map[string]func(string) string{
		"UTF-8":       func(s string) string { return s },
		"marked":      func(s string) string { return "\ufeff" + s },
		"UTF-16LE":    func(s string) string { return wide(0, "\ufeff"+s) },
		"UTF-16BE":    func(s string) string { return wide(1, "\ufeff"+s) },
		"NULs behind": func(s string) string { return s + "\x00\x00\x00" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := put(t, "auth.json", encode(before))
			f := open(t, openCode, path)
			if len(f.Logins) != 2 || f.Logins[0].RefreshToken.Reveal() != "r1" || f.Logins[0].ExpiresAt.Unix() != 1795453200 {
				t.Fatalf("read: %+v %v", f.Logins, f.Skipped)
			}
			testenv.Must(t, testenv.Err(f.Remove(f.Logins[:1])))
			if got := content(t, path); got != encode(after) {
				t.Errorf("left: %q", got)
			}
		})
	}
}

// No secret has a mark: what is around it goes, and one with a mark within is not taken.
func TestSecretsOfAFileHaveNoMarks(t *testing.T) {
	t.Parallel()
	const form = `{"claudeAiOauth":{"accessToken":"%s","refreshToken":"%s","expiresAt":1795453200000}}`
	for _, test := range []struct{ access, refresh, want string }{
		{"at", "rt", "at rt"},
		{`at\n`, `rt\r\n`, "at rt"},
		{`\ufeffat`, `\u200brt\u0000`, "at rt"},
		{`a\ufefft`, "rt", " rt"},
		{"at", `r\u200bt`, "its token or key contains an invisible character"},
		{"at", "r\xfft", "its token or key contains an invisible character"},
		{`a\u0000t`, "", "its token or key contains an invisible character"},
		{`\n`, `\ufeff`, "it is empty"},
	} {
		path := put(t, "auth.json", fmt.Sprintf(form, test.access, test.refresh))
		f := open(t, claudeCode, path)
		var got strings.Builder
		for _, l := range f.Logins {
			got.WriteString(l.AccessToken.Reveal() + " " + l.RefreshToken.Reveal())
		}
		for _, s := range f.Skipped {
			got.WriteString(s.Reason)
		}
		if got.String() != test.want {
			t.Errorf("%s, %s: got %q, want %q", test.access, test.refresh, got.String(), test.want)
		}
	}
}

// An access token whose end is 0 or can't be read is not served as if it had none.
func TestUnclearExpiry(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ expires, refresh, want string }{
		{`1795453200000`, "rt", "at rt 2026"},
		{`"2026-11-23T17:00:00Z"`, "rt", "at rt 2026"},
		{`"1999-12-31 23:59:59"`, "rt", "at rt 1999"},
		{`"1"`, "rt", "at rt 1970"},
		{`0`, "rt", " rt 0001"},
		{`"0"`, "rt", " rt 0001"},
		{`"soon"`, "rt", " rt 0001"},
		{`-5`, "rt", " rt 0001"},
		{`null`, "rt", "at rt 0001"},
		{`0`, "", "at  0001"},
		{`"soon"`, "", "it has no refresh token, and the expiry of its access token can't be read"},
		{`"1999-12-31"`, "", "at  1999"},
	} {
		f, err := Parse(gemini, "there", fmt.Appendf(nil, `{"access_token":"at","refresh_token":"%s","expiry_date":%s}`, test.refresh, test.expires))
		testenv.Must(t, err)
		var got strings.Builder
		for _, l := range f.Logins {
			got.WriteString(l.AccessToken.Reveal() + " " + l.RefreshToken.Reveal() + " " + l.ExpiresAt.Format("2006"))
		}
		for _, s := range f.Skipped {
			got.WriteString(s.Reason)
		}
		if got.String() != test.want {
			t.Errorf("%s, %q: got %q, want %q", test.expires, test.refresh, got.String(), test.want)
		}
	}
}

// A position that is written as text is moved as text.
func TestQuotedPosition(t *testing.T) {
	t.Parallel()
	f, err := Parse(antigravity, "there", []byte(`{"version":4,"accounts":[{"refreshToken":"a"},{"refreshToken":"b"}],"activeIndex":"1"}`))
	testenv.Must(t, err)
	if !f.Logins[1].Current {
		t.Error("the second one is not the current one")
	}
	const want = `{"version":4,"accounts":[{"refreshToken":"b"}],"activeIndex":"0"}`
	if left, _ := f.Without(f.Logins[:1]); string(left) != want {
		t.Errorf("left: %s", left)
	}
}

// The work for a file is bounded by more than its size.
func TestFileOfTooManyLogins(t *testing.T) {
	t.Parallel()
	list := strings.Repeat(`{"refreshToken":"a"},`, maxLogins)
	path := put(t, "accounts.json", `{"version":4,"accounts":[`+list+`{}]}`)
	before := content(t, path)
	if _, err := Open(antigravity, path); err == nil || !strings.Contains(err.Error(), "over 1000 logins") {
		t.Errorf("got %v", err)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != before {
		t.Error("the file was changed")
	}
	if _, err := Open(openCode, put(t, "a", "a\x00b")); err == nil || !strings.Contains(err.Error(), rawtext.ErrNotText.Error()) {
		t.Errorf("a NUL within: got %v", err)
	}
}
