package serve

import (
	"slices"
	"strings"
)

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
