package serve

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"net/url"
	"strings"
)

// enter decides whether r is admitted, and records in c what it is. It only looks at the
// request. A nil Trouble: it is admitted.
func (p *Proxy) enter(c *call, r *http.Request) *Trouble {
	c.unknown = true
	c.api = apiOf(r.URL.EscapedPath()) // for the form of a refusal
	refuse := func(k Kind) *Trouble { return &Trouble{Kind: k, Provider: c.provider} }
	switch {
	case r.Method == http.MethodConnect, r.URL.IsAbs(), r.URL.Host != "", r.URL.Opaque != "", !strings.HasPrefix(r.RequestURI, "/"):
		return refuse(BadTarget)
	case r.Host == "" || !sameFold(p.opt.Hosts, r.Host):
		return refuse(BadHost)
	case len(r.Header["Origin"]) > 0, fetched(r.Header["Sec-Fetch-Site"]):
		return refuse(FromPage)
	case r.Method == http.MethodHead && isHealth(r.URL.EscapedPath()):
		c.health = true // some clients send no credential with it
		return nil
	case !p.hasKey(r.Header):
		return refuse(BadKey)
	}
	c.unknown = false
	path := r.URL.EscapedPath()
	if r.Method == http.MethodTrace {
		return refuse(BadMethod)
	}
	if !plainPath(path) {
		return refuse(BadTarget)
	}
	provider, rest, _ := strings.Cut(path[1:], "/")
	route, ok := p.opt.Routes[provider]
	if !ok {
		return refuse(Unknown)
	}
	c.provider, c.route, c.path = provider, route, "/"+rest
	c.api = apiOf(c.path)
	switch {
	case r.Header.Get("Upgrade") != "": // at once: a client that gets no path retries for seconds
		return refuse(NoUpgrade)
	case !listed(route.Paths, r.Method, c.path):
		return refuse(Unknown)
	}
	return nil
}

// fetched reports whether a page in a browser made the request. Node's own fetch sends
// Sec-Fetch-Mode, but no Sec-Fetch-Site.
func fetched(site []string) bool {
	return len(site) > 0 && (len(site) > 1 || site[0] != "none")
}

// isHealth reports whether path is one at which clients check that the API is there.
func isHealth(path string) bool {
	path = strings.TrimSuffix(strings.TrimSuffix(path, "/"), "/api/hello")
	return strings.Count(path, "/") <= 1
}

// keyHeaders are the headers in which a client may send the key.
var keyHeaders = []string{"Authorization", "X-Api-Key", "X-Goog-Api-Key"}

// hasKey compares everything that could be the key, in constant time. One match is enough.
func (p *Proxy) hasKey(h http.Header) bool {
	right := 0
	for _, name := range keyHeaders {
		for _, value := range h[name] {
			if name == "Authorization" {
				scheme, token, _ := strings.Cut(value, " ")
				if !strings.EqualFold(scheme, "Bearer") {
					continue
				}
				value = strings.TrimLeft(token, " ")
			}
			sum := sha256.Sum256([]byte(value))
			right |= subtle.ConstantTimeCompare(sum[:], p.key[:])
		}
	}
	return right == 1 && !p.opt.Key.Empty()
}

// plainPath reports whether every server reads path in the same way: it has no dot segment,
// empty segment, encoded slash or control character, however often it is unescaped.
func plainPath(path string) bool {
	if !strings.HasPrefix(path, "/") {
		return false
	}
	for range 4 {
		for i, segment := range strings.Split(path[1:], "/") {
			name, _, _ := strings.Cut(segment, ";") // some servers remove parameters
			last := i == strings.Count(path[1:], "/")
			if name == "." || name == ".." || segment == "" && !last || strings.ContainsFunc(segment, func(r rune) bool { return r == '\\' || r < ' ' || r == 0x7f }) {
				return false
			}
		}
		if !strings.Contains(path, "%") {
			return true
		}
		next, err := url.PathUnescape(path)
		if err != nil || strings.Count(next, "/") != strings.Count(path, "/") {
			return false
		}
		path = next
	}
	return false
}

// listed reports whether a list of Route.Paths has method and path.
func listed(paths []string, method, path string) bool {
	for _, entry := range paths {
		only, prefix, ok := strings.Cut(entry, " ")
		if !ok {
			only, prefix = "", entry
		}
		rest, found := strings.CutPrefix(path, prefix)
		if !found || only != "" && only != method {
			continue
		}
		if rest == "" || strings.HasSuffix(prefix, "/") || rest[0] == '/' || rest[0] == ':' {
			return true
		}
	}
	return false
}
