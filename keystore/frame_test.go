package keystore

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// join does with parts what read does, without a keychain.
func join(item string, parts []string) (value string, ok bool) {
	h, text, ok := parseHead(item)
	if !ok || h.parts != len(parts) {
		return "", false
	}
	for i, p := range parts {
		rest, ok := strings.CutPrefix(p, partHead(i+1, h.parts, h.gen))
		if !ok {
			return "", false
		}
		text += rest
	}
	return h.decode(text)
}

// Whatever a value holds, the items of it are ones that every keychain takes, and
// yield the value again. Whatever an item holds, what is accepted of it is what was
// written, to the byte; so a changed, truncated or extended item is not.
func FuzzFrame(f *testing.F) {
	item, _ := encodeFrame("value")
	long, _ := encodeFrame(strings.Repeat("v", 5000))
	for _, s := range []string{
		"", "a", "a\x00", "\xff", strings.Repeat("é", 1001), strings.Repeat("x", 1999) + "🦊🦊",
		item, long, "\n", item[:20], strings.Replace(item, "parts=0", "parts=+0", 1), strings.Replace(item, " ", "\t", 1), "authferry/2" + item[11:],
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		item, parts := encodeFrame(text)
		for _, p := range append(parts, item) {
			if len(p) > 2560 || !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
				t.Fatalf("an item of %d bytes that not every keychain takes", len(p))
			}
		}
		if got, ok := join(item, parts); !ok || got != text {
			t.Fatalf("not the value that was encoded")
		}
		h, rest, ok := parseHead(text)
		if !ok {
			return
		}
		if h.String()+rest != text || h.parts < 0 || h.parts > maxParts {
			t.Fatalf("%q parsed as %+v", text, h)
		}
		if value, ok := h.decode(rest); ok && (len(value) != h.size || checksum(value) != h.sum) {
			t.Fatalf("%q decoded to a value that its head is not of", text)
		}
	})
}
