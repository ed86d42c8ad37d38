package oauth

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// API is a provider's model API, to which the proxy passes requests.
type API struct {
	// Base is the URL that the path of a request is appended to; empty: the first origin
	// that the token may be sent to.
	Base string `json:"base,omitempty"`
	// Paths are all that may be requested: path prefixes that end at a segment or at a ":"
	// in one; with a method and a space in front, for that method only.
	Paths []string `json:"paths,omitempty"`
}

// API is the model API of p. If its data says nothing about one, a provider of the user's
// own is an API as a whole, and a built-in one has none. A remote MCP server has none
// either.
func (p Provider) API() API {
	if p.MCP != "" {
		return API{}
	}
	if len(p.APIPaths) == 0 && p.Source != SourceBuiltin {
		return API{p.APIBase, []string{"/"}}
	}
	return API{p.APIBase, slices.Clone(p.APIPaths)}
}

// TakesKeysOnly reports whether the model API of p takes API keys only, not a login's
// token.
func (p Provider) TakesKeysOnly() bool {
	base := p.APIBase
	if base == "" && len(p.APIOrigins) > 0 {
		base = p.APIOrigins[0]
	}
	u, err := url.Parse(base)
	if err != nil {
		return false
	}
	origin, err := Origin(u.Scheme + "://" + u.Host)
	return err == nil && slices.Contains(p.APIKeyOrigins, origin)
}

// Lists returns the headers of p whose value is a list, in lower case.
func (p Provider) Lists() (names []string) {
	for _, name := range slices.Concat(p.ListHeaders, anywhere().ListHeaders) {
		names = append(names, strings.ToLower(name))
	}
	return names
}

var methods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}

func checkPath(entry string) error {
	path := entry
	if method, rest, ok := strings.Cut(entry, " "); ok {
		if !slices.Contains(methods, method) {
			return errors.New("it is not a path, nor a method and a path: POST /v1/messages")
		}
		path = rest
	}
	switch {
	case !strings.HasPrefix(path, "/"):
		return errors.New("a path begins with /")
	case strings.ContainsFunc(path, func(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune(`%?#\;`, r) }),
		strings.Contains(path, "//"), slices.Contains(strings.Split(path, "/"), "."), slices.Contains(strings.Split(path, "/"), ".."):
		return errors.New("it is not a plain path")
	}
	return nil
}

// checkBase requires a URL at one of the origins, with a plain path or none.
func checkBase(base string, origins []string) error {
	if base == "" {
		return nil
	}
	u, err := url.Parse(base)
	if err != nil || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("it is not a plain URL")
	}
	origin, err := Origin(u.Scheme + "://" + u.Host)
	if err != nil {
		return err
	}
	known := slices.ContainsFunc(origins, func(o string) bool { o, err := Origin(o); return err == nil && o == origin })
	if !known {
		return errors.New("it is not on one of the api_origins")
	}
	if u.Path == "" {
		return nil
	}
	return checkPath(u.EscapedPath())
}
