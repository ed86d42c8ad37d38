package keystore

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode/utf8"
)

// The format of keychain items. Windows refuses items over 2,560 bytes, macOS command lines
// over 4,096 with the item in base64, and some keychains only keep text. So an item is
// text: a head of one line, then at most partSize bytes.
//
//	authferry/1 parts=0 gen=5f0c1d2e3b4a5968 size=5 sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e text
//	hello
//
// A longer value is in items of its own, "<name>#1" and so on. Each of them names the write
// that it belongs to; the head, written last, binds them:
//
//	authferry/1 parts=3 gen=… size=4711 sha256=… text
//	authferry/1 part=1/3 gen=…
//
// A value that isn't UTF-8, or contains a NUL, is stored as base64.
const (
	magic    = "authferry/1"
	partSize = 2000
	maxParts = (MaxSize+2)/3*4/(partSize-utf8.UTFMax) + 1
)

// head is the first line of an item.
type head struct {
	parts int    // 0: the value is in this item, after the head
	gen   string // random, different for each write
	size  int    // of the value, in bytes
	sum   string // truncated SHA-256 of the value
	enc   string // "text" or "base64"
}

func (h head) String() string {
	return fmt.Sprintf("%s parts=%d gen=%s size=%d sha256=%s %s\n", magic, h.parts, h.gen, h.size, h.sum, h.enc)
}

func partHead(i, n int, gen string) string {
	return fmt.Sprintf("%s part=%d/%d gen=%s\n", magic, i, n, gen)
}

func partName(name string, i int) string { return fmt.Sprintf("%s#%d", name, i) }

func checksum(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:16])
}

// encodeFrame returns the text of the head item and of the parts, if there are any.
func encodeFrame(value string) (item string, parts []string) {
	h := head{gen: newGeneration(), size: len(value), sum: checksum(value), enc: "text"}
	text := value
	if !utf8.ValidString(value) || strings.ContainsRune(value, 0) {
		h.enc, text = "base64", base64.StdEncoding.EncodeToString([]byte(value))
	}
	if len(text) <= partSize {
		return h.String() + text, nil
	}
	for len(text) > 0 {
		end := min(partSize, len(text))
		for end < len(text) && !utf8.RuneStart(text[end]) {
			end--
		}
		parts = append(parts, text[:end])
		text = text[end:]
	}
	h.parts = len(parts)
	for i := range parts {
		parts[i] = partHead(i+1, h.parts, h.gen) + parts[i]
	}
	return h.String(), parts
}

func newGeneration() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// parseHead splits an item into its head and the rest. ok is false for anything that
// encodeFrame did not write exactly like this.
func parseHead(item string) (h head, rest string, ok bool) {
	line, rest, _ := strings.Cut(item, "\n")
	if _, err := fmt.Sscanf(line, magic+" parts=%d gen=%s size=%d sha256=%s %s", &h.parts, &h.gen, &h.size, &h.sum, &h.enc); err != nil {
		return head{}, "", false
	}
	if !strings.HasPrefix(item, h.String()) || h.parts < 0 || h.parts > maxParts || h.parts > 0 && rest != "" {
		return head{}, "", false
	}
	return h, rest, true
}

// decode returns the value that text encodes, if it is the one of h.
func (h head) decode(text string) (value string, ok bool) {
	value = text
	switch h.enc {
	case "text":
	case "base64":
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
			return "", false
		}
		value = string(b)
	default:
		return "", false
	}
	return value, len(value) == h.size && checksum(value) == h.sum
}
