package rawtext

import "bytes"

// Keys is how many keys and tables a text in TOML has at most: a parser may compare
// each with all others, so that twice as many take four times as long. Comments of
// whole lines have none.
func Keys(text []byte) int {
	n := 0
	for line := range bytes.Lines(text) {
		if !bytes.HasPrefix(bytes.TrimLeft(line, " \t"), []byte("#")) {
			n += bytes.Count(line, []byte("=")) + bytes.Count(line, []byte("["))
		}
	}
	return n
}

// Deeper reports that brackets in a text nest more than limit deep: a parser may call
// itself for each. It knows the strings and comments of JSON, with or without the
// extensions that programs give it.
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
