package main

import (
	"context"
	"io"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/authferry/authferry/broker/fault"
)

// utf16Of is text as PowerShell's redirection writes it.
func utf16Of(text string) string {
	b := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(text)) {
		b = append(b, byte(unit), byte(unit>>8))
	}
	return string(b)
}

func piped(t *testing.T, text string) *app {
	t.Helper()
	s := streams{in: strings.NewReader(text), out: io.Discard, err: io.Discard}
	return &app{streams: s, ctx: context.WithoutCancel(t.Context()), term: newTerminal(s, nil)}
}

// A key that a Windows tool wrote, or a person pasted, is kept as its issuer wrote
// it or refused with the reason, never with a mark.
func TestReadSecret(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ in, want, err string }{
		{"sk-x\n", "sk-x", ""},
		{"sk-x", "sk-x", ""},
		{"\ufeffsk-x\r\n", "sk-x", ""},
		{utf16Of("sk-x\r\n"), "sk-x", ""},
		{" sk-x\t\n\n\n", "sk-x", ""},
		{"\u200bsk-x\n", "sk-x", ""},
		{"\x1b[200~sk-x\x1b[201~\n", "sk-x", ""},
		{"sk-x\n\x00\x00", "sk-x", ""},
		{"sec ret\n", "sec ret", ""},
		{"\"sk-x\"\n", "", "in quotes"},
		{"“sk-x”\n", "", "in quotes"},
		{"'sk-x'\n", "", "in quotes"},
		{"sk\u200b-x\n", "", "invisible character"},
		{"sk-\x00x\n", "", "not text"},
		{"sk\n-x\n", "", "not one line"},
		{"\ufeff \r\n", "", "empty"},
		{"", "", "empty"},
		{strings.Repeat("x", maxSecretLine+1), "", "over 64 KiB"},
	} {
		got, err := piped(t, test.in).readSecret("API key")
		switch {
		case test.err == "" && (err != nil || got.Reveal() != test.want):
			t.Errorf("%.20q: got %q, %v", test.in, got.Reveal(), err)
		case test.err != "" && (fault.CodeOf(err) != fault.Usage || !strings.Contains(err.Error(), test.err)):
			t.Errorf("%.20q: got %q, %v, want an error about %q", test.in, got.Reveal(), err, test.err)
		case err != nil && strings.Contains(err.Error(), "-x"):
			t.Errorf("%.20q: the error quotes it: %v", test.in, err)
		}
	}
}

// A passphrase may begin or end with a blank, and may be in quotes.
func TestReadPassphrase(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		" a b \r\n": " a b ", "\"a\"\n": "\"a\"", "\ufeffa\r\n": "a", utf16Of(" ü\r\n"): " ü", "👩\u200d👧\n": "👩\u200d👧",
	} {
		if got, err := askPassphrase(piped(t, in), true, false); err != nil || got.Reveal() != want {
			t.Errorf("%q: got %q, %v", in, got.Reveal(), err)
		}
	}
}

func TestReadReportInOtherEncodings(t *testing.T) {
	t.Parallel()
	const doc = `{"lease":"acc_aaaaaaaaaaaaaaaa.1","status":200}` + "\r\n"
	for _, in := range []string{"\ufeff" + doc, utf16Of(doc), doc + "\x00\x00"} {
		if r, err := readReport(strings.NewReader(in)); err != nil || r.Lease != "acc_aaaaaaaaaaaaaaaa.1" {
			t.Errorf("%q: got %v, %v", in, r.Lease, err)
		}
	}
}
