package serve

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
)

// topLevel returns the raw values of some fields of a JSON object. It reads no more than it
// needs and checks nothing, because the API will judge the body. Anything but an object has
// no fields; of two fields with one name, the first counts.
func topLevel(body []byte, names ...string) map[string]json.RawMessage {
	found := map[string]json.RawMessage{}
	at := space(body, 0)
	if len(names) == 0 || at == len(body) || body[at] != '{' {
		return found
	}
	at++
	for len(found) < len(names) {
		if at = space(body, at); at == len(body) || body[at] != '"' {
			return found
		}
		end := stringEnd(body, at)
		name, ok := text(body[at:end])
		if at = space(body, end); !ok || at == len(body) || body[at] != ':' {
			return found
		}
		at = space(body, at+1)
		end = valueEnd(body, at)
		if end == at {
			return found
		}
		for _, n := range names {
			if _, twice := found[n]; n == name && !twice {
				found[n] = body[at:end]
			}
		}
		if at = space(body, end); at == len(body) || body[at] != ',' {
			return found
		}
		at++
	}
	return found
}

// text is a JSON string's value.
func text(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' || raw[len(raw)-1] != '"' {
		return "", false
	}
	if inner := raw[1 : len(raw)-1]; bytes.IndexByte(inner, '\\') < 0 {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

func space(b []byte, at int) int {
	for at < len(b) && (b[at] == ' ' || b[at] == '\t' || b[at] == '\n' || b[at] == '\r') {
		at++
	}
	return at
}

// stringEnd returns where the string that begins at b[at] ends; len(b) if it doesn't.
func stringEnd(b []byte, at int) int {
	for at++; ; at++ {
		i := bytes.IndexByte(b[at:], '"')
		if i < 0 {
			return len(b)
		}
		escapes := 0
		for i-escapes > 0 && b[at+i-escapes-1] == '\\' {
			escapes++
		}
		if at += i; escapes%2 == 0 {
			return at + 1
		}
	}
}

// valueEnd returns where the value that begins at b[at] ends.
func valueEnd(b []byte, at int) int {
	depth := 0
	for at < len(b) {
		switch b[at] {
		case '"':
			at = stringEnd(b, at)
			if depth == 0 {
				return at
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 {
				return at // of a number or word
			}
			if depth--; depth == 0 {
				return at + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return at
			}
		}
		at++
	}
	return at
}

// steeringWords are words in the names of headers that tell proxies and gateways where a
// request goes or how to read it; steeringParts count within a word too. The OpenCode
// plugin has the same list. What a project makes its client send (Claude Code's
// ANTHROPIC_CUSTOM_HEADERS, for example) must not redirect a token.
var (
	steeringWords = []string{
		"addr", "address", "alt", "authority", "base", "cluster", "config", "dest", "dst", "domain", "endpoint", "gateway", "ip", "location", "method", "origin", "original",
		"path", "port", "proto", "protocol", "provider", "proxied", "route", "router", "routing", "scheme", "server", "service", "sni", "subdomain", "svc", "target", "uri", "via",
	}
	steeringParts = []string{"backend", "baseurl", "destination", "forward", "host", "override", "proxy", "redirect", "rewrite", "upstream", "url"}
)

// steers reports whether a header of that name may say where a request goes. (Google's SDK
// has one that names the server's time limit.)
func steers(name string) bool {
	name = strings.ToLower(name)
	if name == "x-server-timeout" {
		return false
	}
	for _, part := range steeringParts {
		if strings.Contains(name, part) {
			return true
		}
	}
	return slices.ContainsFunc(strings.FieldsFunc(name, func(r rune) bool { return r < 'a' || r > 'z' }), func(word string) bool {
		return slices.Contains(steeringWords, word)
	})
}
