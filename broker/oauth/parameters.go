package oauth

import (
	"net/url"
	"strings"
)

// parameters parses the query of a redirect, or a form, even if it was assembled by hand. A
// ';' is part of the value (RFC 3986 §3.4) unless the next parameter clearly follows. A '%'
// without two digits is itself, and so is a '+' in a code or token, which contain no space.
// A '?' at the beginning is removed.
func parameters(raw string) url.Values {
	q := url.Values{}
	raw = strings.TrimLeft(raw, "?")
	all := !strings.Contains(raw, "&")
	for raw != "" {
		var one string
		end := nextParameter(raw, all)
		one, raw = raw[:end], raw[min(end+1, len(raw)):]
		name, value, _ := strings.Cut(one, "=")
		if name = decodeParameter(strings.TrimSpace(name), true); name == "" {
			continue
		}
		plus := true
		switch name {
		case "code", "access_token", "refresh_token", "id_token":
			plus = false
		}
		q.Add(name, decodeParameter(value, plus))
	}
	return q
}

// plainNames are OAuth's parameters: between a ';' and a '=' they begin one. all: any name
// does, because nothing else separates the parameters.
var plainNames = map[string]bool{
	"code": true, "state": true, "iss": true, "error": true, "error_description": true, "error_uri": true, "scope": true, "session_state": true,
	"access_token": true, "refresh_token": true, "token_type": true, "expires_in": true, "id_token": true,
}

const longestName = 64 // of a parameter after a ';'

// nextParameter is the position at which the first parameter of raw ends.
func nextParameter(raw string, all bool) int {
	for i := range len(raw) {
		switch raw[i] {
		case '&', '\r', '\n':
			return i
		case ';':
			name, _, ok := strings.Cut(raw[i+1:min(i+1+longestName, len(raw))], "=")
			name = strings.TrimSpace(name)
			if ok && (plainNames[name] || all && name != "" && !strings.ContainsFunc(name, notTchar)) {
				return i
			}
		}
	}
	return len(raw)
}

func decodeParameter(s string, plus bool) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '+' && plus:
			b.WriteByte(' ')
		case s[i] == '%' && i+2 < len(s) && hex(s[i+1]) >= 0 && hex(s[i+2]) >= 0:
			b.WriteByte(byte(hex(s[i+1])<<4 | hex(s[i+2]))) // #nosec G115 -- two digits
			i += 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// hex is the value of a hexadecimal digit; -1 for any other character.
func hex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}
