package oauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// resourceMetadata has the fields that are used of a protected resource's metadata (RFC
// 9728 §2).
type resourceMetadata struct {
	Resource             string
	Name                 string
	AuthorizationServers []string
	Scopes               []string
}

// parseResource parses a document; nil: it is not one. A field of the wrong type counts as
// missing.
func parseResource(body []byte) *resourceMetadata {
	var m members
	if decodeJSON(body, &m.fields) != nil || m.text("resource") == "" {
		return nil
	}
	r := &resourceMetadata{Resource: m.text("resource"), Name: m.text("resource_name")}
	_ = json.Unmarshal(m.fields["authorization_servers"], &r.AuthorizationServers) // a malformed one counts as missing
	for s := range strings.FieldsSeq(m.words("scopes_supported")) {
		if checkScope(s) == nil && !slices.Contains(r.Scopes, s) {
			r.Scopes = append(r.Scopes, s)
		}
	}
	return r
}

const protectedResource = "/.well-known/oauth-protected-resource"

// resourcePlaces are the places of a resource's metadata (RFC 9728 §3.1): for its own path,
// then for its whole host.
func resourcePlaces(u *url.URL) []string {
	server := u.Scheme + "://" + u.Host
	path := strings.TrimSuffix(u.EscapedPath(), "/")
	query := ""
	if u.RawQuery != "" {
		query = "?" + u.RawQuery
	}
	if path+query == "" {
		return []string{server + protectedResource}
	}
	return []string{server + protectedResource + path + query, server + protectedResource}
}

// WrongResourceError says that a server's metadata is for another resource than the address
// that was asked, so no token must be requested for it.
type WrongResourceError struct{ Address, Resource string }

func (e *WrongResourceError) Error() string {
	return fmt.Sprintf("the metadata of %s is of another resource, %q", e.Address, shorten(e.Resource))
}

// Covers reports whether a token for resource may be sent to address: both have the same
// scheme, host and port, and the resource's path is that of the address, or whole segments
// at its beginning. If the resource has a query, the address must have the same; otherwise
// the query of the address doesn't matter. A path that servers may read in two ways is
// never covered.
func Covers(resource, address string) bool {
	r, err := url.Parse(resource)
	if err != nil || checkParsedURL(r) != nil {
		return false
	}
	a, err := url.Parse(address)
	if err != nil || checkParsedURL(a) != nil || originOf(r) != originOf(a) {
		return false
	}
	if r.RawQuery != "" && r.RawQuery != a.RawQuery {
		return false
	}
	at, below := strings.TrimSuffix(r.EscapedPath(), "/"), a.EscapedPath()
	if ambiguous(at) || ambiguous(below) {
		return false
	}
	return strings.TrimSuffix(below, "/") == at || strings.HasPrefix(below, at+"/")
}

// ambiguous reports whether different servers may read a path differently.
func ambiguous(path string) bool {
	lower := strings.ToLower(path)
	for _, odd := range []string{"%2f", "%5c", "%2e", "%00", `\`, "//", ";"} {
		if strings.Contains(lower, odd) {
			return true
		}
	}
	return slices.ContainsFunc(strings.Split(path, "/"), func(segment string) bool { return segment == "." || segment == ".." })
}

// CheckServer accepts the address of a remote MCP server: https, or http to this machine,
// without a user or a fragment, and with an unambiguous path.
func CheckServer(address string) error {
	u, err := url.Parse(address)
	if err != nil {
		return errNoURL
	}
	if err := checkParsedURL(u); err != nil {
		return err
	}
	if ambiguous(u.EscapedPath()) {
		return errors.New("its path is ambiguous")
	}
	return nil
}
