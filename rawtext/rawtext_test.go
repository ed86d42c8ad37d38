package rawtext_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"
	"unicode/utf16"

	"github.com/authferry/authferry/rawtext"
)

func wide(order binary.ByteOrder, text string) string {
	var b []byte
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, 0, 0)
		order.PutUint16(b[len(b)-2:], unit)
	}
	return string(b)
}

func TestDecodeReadsWhatOtherProgramsWrite(t *testing.T) {
	t.Parallel()
	little, big := binary.LittleEndian, binary.BigEndian
	const latin = "{\"a\":\"ü\"}\r\n"
	for _, order := range []binary.ByteOrder{little, big} {
		data := []byte(wide(order, latin))
		got, form, err := rawtext.Decode(data)
		if err != nil || string(got) != latin || !bytes.Equal(form.Encode(got), data) {
			t.Errorf("UTF-16 without a mark: got %q, %v", got, err)
		}
	}
	const want = "{\"a\":\"ü€𝄞\"}\r\n"
	for name, data := range map[string]string{
		"UTF-8":                  want,
		"a mark":                 "\ufeff" + want,
		"two marks":              "\ufeff\ufeff" + want,
		"NULs behind":            want + "\x00\x00\x00",
		"UTF-16LE with a mark":   wide(little, "\ufeff"+want),
		"UTF-16BE with a mark":   wide(big, "\ufeff"+want),
		"UTF-16LE, NULs behind":  wide(little, "\ufeff"+want+"\x00\x00"),
		"UTF-16BE, marked twice": wide(big, "\ufeff\ufeff"+want),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, form, err := rawtext.Decode([]byte(data))
			if err != nil || string(got) != want {
				t.Fatalf("got %q, %v", got, err)
			}
			if back := form.Encode(got); string(back) != data {
				t.Fatalf("comes back as %q, was %q", back, data)
			}
		})
	}
}

func TestDecodeRefusesWhatIsNoText(t *testing.T) {
	t.Parallel()
	for name, data := range map[string]string{
		"a NUL within":            "a\x00bc",
		"UTF-16 of an odd length": "\xff\xfea\x00b",
		"half a pair":             "\xff\xfe\x34\xd8",
		"a pair in wrong order":   "\xff\xfe\x1e\xdd\x34\xd8",
		"UTF-32":                  "\xff\xfe\x00\x00a\x00\x00\x00",
		"nothing but NULs":        "\x00\x00\x00\x00",
		"NULs behind a mark":      "\ufeff\x00",
		"UTF-16 with a NUL":       wide(binary.LittleEndian, "\ufeffa\x00b"),
	} {
		if got, err := rawtext.UTF8([]byte(data)); !errors.Is(err, rawtext.ErrNotText) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		data, want string
		err        error
	}{
		{"pass phrase", "pass phrase", nil},
		{" pass ", " pass ", nil},
		{"\ufeffpass\r\n", "pass", nil},
		{"pass\n\n\n", "pass", nil},
		{"\x1b[200~pass\x1b[201~\n", "pass", nil},
		{"\x1b[200~pass\n\x1b[201~", "pass", nil},
		{wide(binary.LittleEndian, "\ufeffpaß\r\n"), "paß", nil},
		{"", "", nil},
		{"\n\x00", "", nil},
		{"two\nlines", "", rawtext.ErrLines},
		{"p\x00ass", "", rawtext.ErrNotText},
	} {
		if got, err := rawtext.Line([]byte(test.data)); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: got %q, %v", test.data, got, err)
		}
	}
}

func TestTokenNeverHasAMark(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text, want string
		err        error
	}{
		{"sk-x", "sk-x", nil},
		{"sec ret", "sec ret", nil},
		{" sk-x\t", "sk-x", nil},
		{"sk-x\r\n", "sk-x", nil},
		{"\ufeffsk-x", "sk-x", nil},
		{"\u200bsk-x\u2060\u00a0", "sk-x", nil},
		{"\x1b[200~sk-x\x1b[201~\r", "sk-x", nil},
		{"\u200b\x1b[200~ sk-x \x1b[201~\u200b", "sk-x", nil},
		{"sk-x\x00", "sk-x", nil},
		{"ключ", "ключ", nil},
		{"\ufeff \r\n", "", nil},
		{" null\n", "", rawtext.ErrNothing},
		{"undefined", "", rawtext.ErrNothing},
		{"null-1", "null-1", nil},
		{"sk\ufeff-x", "", rawtext.ErrInvisible},
		{"sk\u200b-x", "", rawtext.ErrInvisible},
		{"sk\n-x", "", rawtext.ErrInvisible},
		{"sk\t-x", "", rawtext.ErrInvisible},
		{"sk\u00a0x", "", rawtext.ErrInvisible},
		{"sk\x1b[200~x", "", rawtext.ErrInvisible},
		{"sk\x00x", "", rawtext.ErrInvisible},
		{"sk\xffx", "", rawtext.ErrInvisible},
		{"sk\ufffdx", "", rawtext.ErrInvisible},
	} {
		if got, err := rawtext.Token(test.text); got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%q: got %q, %v", test.text, got, err)
		}
	}
}

func TestVisible(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\x1b[200~a b\x1b[201~\r\n": "a b\r\n", "\u200ba\ufeffb\x00": "ab", "a\tb": "a\tb", "\x1b[20\x1b[200~0~a": "[200~a",
	} {
		if got := rawtext.Visible(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

func TestUnquote(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`"a"`: "a", `'a'`: "a", "`a`": "a", "“a”": "a", "<a>": "a", `"'a'"`: "a", `<"a">`: "a", `" a "`: "a",
		`"a`: `"a`, `a"`: `a"`, `'a"`: `'a"`, "a": "a", "": "", `"`: `"`, `""`: "",
	} {
		if got := rawtext.Unquote(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{"", "a", "\x00", "a\x00", "\x00a", "\xff\xfe", "\xfe\xff\xd8\x34\xdd\x1e", "\ufeff\ufeffa\x00", "\xff\xfe\x00\xd8", "\xef\xbb"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		text, form, err := rawtext.Decode(bytes.Clone(data))
		if err != nil {
			return
		}
		if bytes.IndexByte(text, 0) >= 0 || bytes.HasPrefix(text, []byte("\ufeff")) {
			t.Fatalf("a NUL or a mark is left in %q", text)
		}
		if back := form.Encode(text); !bytes.Equal(back, data) {
			t.Fatalf("%q comes back as %q", data, back)
		}
		if token, err := rawtext.Token(string(text)); err == nil {
			if again, err := rawtext.Token(token); err != nil || again != token {
				t.Fatalf("%q: cleaned twice it is %q, %v", token, again, err)
			}
		}
	})
}
