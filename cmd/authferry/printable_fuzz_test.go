package main

import (
	"strings"
	"testing"
	"unicode"
)

// Whatever a provider, a file or a label says, it stays on its line of the
// terminal.
func FuzzPrintable(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J", "a\nauthferry: error: b", "\u202egnp.exe", "\r", "\x9b31m", "é", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		shown := printable(s)
		if strings.ContainsFunc(shown, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Fatalf("%q is shown as %q", s, shown)
		}
		if printable(shown) != shown {
			t.Fatalf("%q is not printable", shown)
		}
	})
}

// Whatever the command line is, reading it leads to a command or a usage error,
// and what follows exec's -- is the child's, word for word.
func FuzzCutCommand(f *testing.F) {
	for _, s := range []string{"exec -- a b", "exec --env X -- --json", "token -- x", "-- exec", "--quiet exec -- a -- b", "exec"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, " ")
		own, child := cutCommand(args)
		n := len(own) + len(child)
		if child != nil {
			n++
		}
		if child == nil && len(own) != len(args) && n+1 != len(args) || child != nil && n != len(args) {
			t.Fatalf("%q: %q and %q", args, own, child)
		}
	})
}
