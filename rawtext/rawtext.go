// Package rawtext reads text as other programs, editors and people leave it: with a byte
// order mark, as UTF-16, padded with NULs after a crash, pasted with a terminal's marks
// around it. What is certainly not part of the text is removed. What may be part of it is
// kept or refused, never guessed. No error quotes the text.
package rawtext

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// Errors of this package.
var (
	ErrNotText   = errors.New("it is not text in UTF-8 or UTF-16")
	ErrInvisible = errors.New("it contains an invisible character")
	ErrQuoted    = errors.New("it is in quotes, which may be part of it")
	ErrLines     = errors.New("it is not one line")
	ErrNothing   = errors.New("it is a program's word for no value, not the value")
)

const mark = '\ufeff' // the byte order mark

// Form is the encoding of a text, and what was around it.
type Form struct {
	order binary.ByteOrder // of UTF-16; nil: UTF-8
	marks int              // byte order marks before it
	nuls  int              // NULs behind it
}

// Plain reports whether it is UTF-8 with nothing after it.
func (f Form) Plain() bool { return f.order == nil && f.nuls == 0 }

// Decode returns data as UTF-8, without byte order marks before it and NULs after it.
// UTF-16 is recognized by its mark or, if it is Latin-1 text, by a NUL in every second
// byte. The error is ErrNotText: NULs inside, only NULs (lost in a crash, not empty), or
// broken UTF-16. Broken UTF-8 is returned, for the caller to judge.
func Decode(data []byte) ([]byte, Form, error) {
	var f Form
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}):
		f.order = binary.LittleEndian
	case bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		f.order = binary.BigEndian
	case everySecondIsNUL(data, 1):
		f.order = binary.LittleEndian
	case everySecondIsNUL(data, 0):
		f.order = binary.BigEndian
	}
	text := data
	if f.order != nil {
		var ok bool
		if text, ok = fromUTF16(data, f.order); !ok {
			return nil, f, ErrNotText
		}
	}
	for m := []byte(string(mark)); bytes.HasPrefix(text, m); text = text[len(m):] {
		f.marks++
	}
	whole := len(text)
	text = bytes.TrimRight(text, "\x00")
	f.nuls = whole - len(text)
	if bytes.IndexByte(text, 0) >= 0 || len(text) == 0 && f.nuls > 0 {
		return nil, f, ErrNotText
	}
	return text, f, nil
}

// Encode returns text in the form: the opposite of Decode.
func (f Form) Encode(text []byte) []byte {
	var all []byte
	for range f.marks {
		all = utf8.AppendRune(all, mark)
	}
	all = append(append(all, text...), make([]byte, f.nuls)...)
	if f.order == nil {
		return all
	}
	var coded []byte
	for _, unit := range utf16.Encode([]rune(string(all))) {
		coded = append(coded, 0, 0)
		f.order.PutUint16(coded[len(coded)-2:], unit)
	}
	return coded
}

// everySecondIsNUL reports whether in each pair of bytes the one at place is NUL, and the
// other one in the first pair is not.
func everySecondIsNUL(data []byte, place int) bool {
	if len(data) < 2 || len(data)%2 != 0 || data[1-place] == 0 {
		return false
	}
	for i := place; i < len(data); i += 2 {
		if data[i] != 0 {
			return false
		}
	}
	return true
}

func fromUTF16(data []byte, order binary.ByteOrder) (text []byte, ok bool) {
	if len(data)%2 != 0 {
		return nil, false
	}
	for i := 0; i < len(data); i += 2 {
		r := rune(order.Uint16(data[i:]))
		if utf16.IsSurrogate(r) {
			if i += 2; i == len(data) {
				return nil, false
			}
			if r = utf16.DecodeRune(r, rune(order.Uint16(data[i:]))); r == unicode.ReplacementChar {
				return nil, false
			}
		}
		text = utf8.AppendRune(text, r)
	}
	return text, true
}

// UTF8 is Decode without the form.
func UTF8(data []byte) ([]byte, error) {
	text, _, err := Decode(data)
	return text, err
}

// Line returns the only line in data, without its end and a terminal's marks of pasted
// text; spaces stay. Error: ErrNotText or ErrLines.
func Line(data []byte) (string, error) {
	text, err := UTF8(data)
	if err != nil {
		return "", err
	}
	line := trim(string(text), "\r\n")
	if strings.ContainsAny(line, "\r\n") {
		return "", ErrLines
	}
	return line, nil
}

// The marks that a terminal puts around pasted text.
var pasteMarks = []string{"\x1b[200~", "\x1b[201~"}

// trim removes the characters of a set, and a terminal's marks, from both ends.
func trim(s, cutset string) string {
	for {
		before := s
		s = strings.Trim(s, cutset)
		for _, m := range pasteMarks {
			s = strings.TrimSuffix(strings.TrimPrefix(s, m), m)
		}
		if s == before {
			return s
		}
	}
}

// Token returns a secret as its issuer wrote it: without spaces, line ends, marks and
// invisible characters around it, which no token has. Error: ErrInvisible if there is one
// inside (other than a space), because the original can't be known; or ErrNothing.
func Token(s string) (string, error) {
	for {
		before := s
		s = strings.TrimFunc(trim(s, ""), func(r rune) bool { return unicode.IsSpace(r) || invisible(r) && r != '\x1b' })
		if s == before {
			break
		}
	}
	if strings.ContainsFunc(s, invisible) || !utf8.ValidString(s) {
		return "", ErrInvisible
	}
	if s != "" && Nothing(s) {
		return "", ErrNothing
	}
	return s, nil
}

// Nothing reports whether a text only says that there is no value: white space, or a word
// such as null, as jq -r and templates write it.
func Nothing(s string) bool {
	switch strings.TrimSpace(s) {
	case "", "null", "undefined", "None", "nil":
		return true
	}
	return false
}

// Visible returns what a person meant to paste: without a terminal's marks and without
// invisible characters, wherever they are; spaces and line ends stay.
func Visible(s string) string {
	for _, m := range pasteMarks {
		s = strings.ReplaceAll(s, m, "")
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsSpace(r) && invisible(r) {
			return -1
		}
		return r
	}, s)
}

// invisible is a character that people don't see in a secret and no server accepts in one.
func invisible(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == unicode.ReplacementChar || r != ' ' && unicode.IsSpace(r)
}

// quotes are the pairs that people and shells put around a text.
var quotes = []string{`""`, "''", "``", "“”", "‘’", "«»", "<>"}

// Unquote returns s without the pairs of quotes around it.
func Unquote(s string) string {
	for {
		before := s
		for _, pair := range quotes {
			left, size := utf8.DecodeRuneInString(pair)
			inner, ok := strings.CutPrefix(s, string(left))
			if inner, end := strings.CutSuffix(inner, pair[size:]); ok && end {
				s = strings.TrimSpace(inner)
			}
		}
		if s == before {
			return s
		}
	}
}

// Steers reports whether r can control a terminal or hide in it: control characters, line
// separators and format characters, including those that change the direction of text.
func Steers(r rune) bool {
	if r < utf8.RuneSelf {
		return r < ' ' || r == 0x7f
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp)
}
