package serve

import (
	"slices"
	"strings"
)

// steeringWords are those in the names of headers by which proxies and gateways are told
// where a request goes, or how it is to be read; steeringParts count within a word too.
// The OpenCode plugin has the same. What a project makes its client send (Claude Code's
// ANTHROPIC_CUSTOM_HEADERS, say) must not take a token along.
var (
	steeringWords = []string{
		"addr", "address", "alt", "authority", "base", "cluster", "config", "dest", "dst", "domain", "endpoint", "gateway", "ip", "location", "method", "origin", "original",
		"path", "port", "proto", "protocol", "provider", "proxied", "route", "router", "routing", "scheme", "server", "service", "sni", "subdomain", "svc", "target", "uri", "via",
	}
	steeringParts = []string{"backend", "baseurl", "destination", "forward", "host", "override", "proxy", "redirect", "rewrite", "upstream", "url"}
)

// steers reports that a header of that name may say where a request goes. Google's SDK
// names the time that a server may take.
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
