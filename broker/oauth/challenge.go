package oauth

import (
	"net/http"
	"slices"
	"strings"
)

// Challenge is what a server says in a 401 or 403 about the access token that it requires
// (RFC 6750 §3, RFC 9728 §5.1). Nothing in it is verified, except that each scope is
// well-formed.
type Challenge struct {
	ResourceMetadata string   // URL of the resource's metadata
	Scopes           []string // that the request needs
	Error            string   // "invalid_token", "insufficient_scope"; may be empty
}

// InsufficientScope is the Error of a challenge that a token with more scopes would satisfy
// (RFC 6750 §3.1).
const InsufficientScope = "insufficient_scope"

// ParseChallenge returns the first challenge of the Bearer scheme in an answer's
// WWW-Authenticate fields (RFC 9110 §11.6.1). ok is false if there is none.
func ParseChallenge(header http.Header) (c Challenge, ok bool) {
	for _, field := range header.Values("WWW-Authenticate") {
		for _, one := range challenges(field) {
			if !strings.EqualFold(one.scheme, bearerType) {
				continue
			}
			c = Challenge{ResourceMetadata: one.params["resource_metadata"], Error: one.params["error"]}
			for s := range strings.FieldsSeq(one.params["scope"]) {
				if checkScope(s) == nil && !slices.Contains(c.Scopes, s) {
					c.Scopes = append(c.Scopes, s)
				}
			}
			return c, true
		}
	}
	return Challenge{}, false
}

type challenge struct {
	scheme string
	params map[string]string // by lower-case name; the first of each name counts
}

// challenges parses a WWW-Authenticate field. What can't be parsed is skipped up to the
// next comma, so that one odd challenge doesn't hide the others.
func challenges(field string) (all []challenge) {
	rest := field
	for {
		rest = strings.TrimLeft(rest, " \t,")
		if rest == "" {
			return all
		}
		name, after := cutToken(rest)
		if name == "" {
			_, rest, _ = strings.Cut(rest, ",")
			continue
		}
		blank := strings.TrimLeft(after, " \t")
		value, isParam := strings.CutPrefix(blank, "=")
		if isParam && len(all) > 0 && !strings.HasPrefix(value, "=") {
			var text string
			text, rest = cutValue(strings.TrimLeft(value, " \t"))
			last := all[len(all)-1].params
			if _, taken := last[strings.ToLower(name)]; !taken {
				last[strings.ToLower(name)] = text
			}
			continue
		}
		if isParam { // there is no scheme that it could belong to, or it is a token68
			_, rest, _ = strings.Cut(blank, ",")
			continue
		}
		all = append(all, challenge{name, map[string]string{}})
		rest = blank
		if word, end := cutToken(blank); word != "" && len(blank) < len(after) {
			// A token68 (RFC 9110 §11.2) is the only content of its challenge.
			if end = strings.TrimLeft(end, " \t"); !strings.HasPrefix(end, "=") && (end == "" || end[0] == ',') {
				rest = end
			}
		}
	}
}

func cutToken(s string) (token, rest string) {
	end := strings.IndexFunc(s, notTchar)
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// cutValue parses a token or a quoted string (RFC 9110 §5.6.4).
func cutValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, ", \t")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '"':
			return b.String(), s[i+1:]
		case '\\':
			if i++; i == len(s) {
				return b.String(), ""
			}
		}
		b.WriteByte(s[i])
	}
	return "", "" // it is not terminated
}
