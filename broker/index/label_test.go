package index

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestCheckLabel(t *testing.T) {
	for _, test := range []struct {
		label, want string // want "" is refused
	}{
		{"Personal", "Personal"},
		{"me@example.com", "me@example.com"},
		{"work (EU) 2", "work (EU) 2"},
		{" Work\n", "Work"},
		{"Büro", "Büro"},
		{"Bu\u0308ro", "B\u00fcro"},
		{"会社", "会社"},
		{"🚢", "🚢"},
		{"ACC_x", "ACC_x"},
		{"my acc_count", "my acc_count"},
		{"a-b", "a-b"},
		{"2nd", "2nd"},
		{strings.Repeat("x", 64), strings.Repeat("x", 64)},
		{strings.Repeat("u\u0308", 64), strings.Repeat("\u00fc", 64)},
		{"", ""},
		{" \t ", ""},
		{strings.Repeat("x", 65), ""},
		{strings.Repeat("x", 1<<20), ""},
		{"anthropic/work", ""},
		{"-x", ""},
		{"acc_k3mk3mk3mk3mk3m2", ""},
		{"acc_", ""},
		{"2", ""},
		{"٣٤", ""},
		{"a\x00b", ""},
		{"a\x1b[31mb", ""},
		{"a\x7fb", ""},
		{"a\u0085b", ""},
		{"a\nb", ""},
		{"a\u2028b", ""},
		{"a\u202eb", ""}, // turns what follows round
		{"a\u2066b", ""},
		{"a\u200bb", ""}, // looks like "ab"
		{"a\ufeffb", ""},
		{"a\xffb", ""},
	} {
		got, err := CheckLabel(test.label)
		if got != test.want || (err == nil) != (test.want != "") {
			t.Errorf("CheckLabel(%.80q) = %q, %v; want %q", test.label, got, err, test.want)
		}
	}
}

func TestEqualLabel(t *testing.T) {
	for _, test := range []struct {
		a, b string
		want bool
	}{
		{"Work", "wORK", true},
		{"B\u00fcro", "BU\u0308RO", true},
		{"Straße", "STRAẞE", true},
		{"Work", "Work 2", false},
		{"Resume", "Résumé", false},
	} {
		if EqualLabel(test.a, test.b) != test.want || EqualLabel(test.b, test.a) != test.want {
			t.Errorf("EqualLabel(%q, %q) is not %v", test.a, test.b, test.want)
		}
	}
}

func FuzzCheckLabel(f *testing.F) {
	for _, s := range []string{"Personal", "Bu\u0308ro", "-x", "acc_", "12", "\u202e", "\u212b", "\ufffd", "👩\u200d💻"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		label, err := CheckLabel(s)
		if err != nil {
			return
		}
		if again, err := CheckLabel(label); err != nil || again != label {
			t.Errorf("CheckLabel(%q) = %q, and of that %q, %v", s, label, again, err)
		}
		if n := utf8.RuneCountInString(label); n < 1 || n > maxLabel || strings.ContainsAny(label, "/\x1b\n\u202e") {
			t.Errorf("CheckLabel(%q) = %q", s, label)
		}
		if !EqualLabel(label, s) && strings.TrimSpace(s) == s {
			t.Errorf("%q is not the label %q", s, label)
		}
	})
}
