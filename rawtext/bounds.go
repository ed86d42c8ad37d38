package rawtext

import "bytes"

// Keys is an upper bound for the number of keys and tables in a TOML text, which limits a
// parser's work: if it compares each key with all others, twice as many take four times as
// long. Comments on lines of their own don't count.
func Keys(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			n += bytes.Count(line, []byte("=")) + bytes.Count(line, []byte("["))
		}
	}
	return n
}

// Deeper reports whether brackets in a text are nested deeper than limit, which limits a
// parser's recursion. It knows the strings and comments of JSON, with and without the
// common extensions.
func Deeper(text []byte, limit int) bool {
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '[', '{':
			if depth++; depth > limit {
				return true
			}
		case ']', '}':
			depth--
		case '"':
			for i++; i < len(text) && text[i] != '"'; i++ {
				if text[i] == '\\' {
					i++
				}
			}
		case '/':
			switch {
			case bytes.HasPrefix(text[i:], []byte("//")):
				if end := bytes.IndexByte(text[i:], '\n'); end >= 0 {
					i += end
				} else {
					i = len(text)
				}
			case bytes.HasPrefix(text[i:], []byte("/*")):
				if end := bytes.Index(text[i+2:], []byte("*/")); end >= 0 {
					i += end + 3
				} else {
					i = len(text)
				}
			}
		}
	}
	return false
}
