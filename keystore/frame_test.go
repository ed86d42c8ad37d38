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

func FuzzFrame(f *testing.F) {
	for _, s := range []string{"", "a", "a\x00", "\xff", strings.Repeat("é", 1001), strings.Repeat("x", 1999) + "🦊🦊"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, value string) {
		item, parts := encodeFrame(value)
		for _, p := range append(parts, item) {
			if len(p) > 2560 || !utf8.ValidString(p) || strings.ContainsRune(p, 0) {
				t.Fatalf("an item of %d bytes that not every keychain takes", len(p))
			}
		}
		if got, ok := join(item, parts); !ok || got != value {
			t.Fatalf("not the value that was encoded")
		}
	})
}

// Whatever is accepted is what was written, to the byte; so a changed, truncated
// or extended item is not.
func FuzzParseHead(f *testing.F) {
	item, _ := encodeFrame("value")
	long, _ := encodeFrame(strings.Repeat("v", 5000))
	for _, s := range []string{item, long, "", "\n", item[:20], strings.Replace(item, "parts=0", "parts=+0", 1), strings.Replace(item, " ", "\t", 1), "authferry/2" + item[11:]} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, item string) {
		h, rest, ok := parseHead(item)
		if !ok {
			return
		}
		if h.String()+rest != item || h.parts < 0 || h.parts > maxParts {
			t.Fatalf("%q parsed as %+v", item, h)
		}
		if value, ok := h.decode(rest); ok && (len(value) != h.size || checksum(value) != h.sum) {
			t.Fatalf("%q decoded to a value that its head is not of", item)
		}
	})
}

func TestEveryByteOfAFrameCounts(t *testing.T) {
	for _, value := range []string{"value", "\xff\x00", ""} {
		item, _ := encodeFrame(value)
		gen := strings.Index(item, "gen=") + 4
		for i := range item {
			if i >= gen && i < gen+16 {
				continue // random, and nothing to compare it with in one item
			}
			changed := item[:i] + string(item[i]^1) + item[i+1:]
			if _, ok := join(changed, nil); ok {
				t.Errorf("accepted with byte %d changed: %q", i, changed)
			}
			if _, ok := join(item[:i], nil); ok {
				t.Errorf("accepted, cut at byte %d: %q", i, item[:i])
			}
		}
		if _, ok := join(item+"x", nil); ok {
			t.Error("accepted with a byte more")
		}
	}
}

func BenchmarkFrameDecode(b *testing.B) {
	item, _ := encodeFrame(strings.Repeat("v", 1500))
	b.ReportAllocs()
	for b.Loop() {
		h, text, _ := parseHead(item)
		if _, ok := h.decode(text); !ok {
			b.Fatal("not decoded")
		}
	}
}
