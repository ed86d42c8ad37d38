package oauth

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/authferry/authferry/keystore"
)

// placeholder stands for the token in a header template.
const placeholder = "{token}"

const bearer = "authorization: Bearer " + placeholder

// Header is one header of a request. Its name is lower case.
type Header struct {
	Name  string
	Value keystore.Secret
}

// Expand fills token into header templates of the form "name: value". They are those of a
// valid Provider; anything else is skipped.
func Expand(templates []string, token keystore.Secret) []Header {
	headers := make([]Header, 0, len(templates))
	for _, t := range templates {
		name, value, err := splitHeader(t)
		if err != nil {
			continue
		}
		value = strings.ReplaceAll(value, placeholder, token.Reveal())
		headers = append(headers, Header{Name: name, Value: keystore.NewSecret(value)})
	}
	return headers
}

// Headers about the connection, and those that only the client may set.
var forbiddenHeaders = []string{
	"connection", "content-length", "cookie", "expect", "host", "keep-alive",
	"set-cookie", "te", "trailer", "transfer-encoding", "upgrade",
}

// splitHeader parses a template: a field name and value of RFC 9110 §5, in which {token} is
// the only thing in braces.
func splitHeader(template string) (name, value string, err error) {
	name, value, ok := strings.Cut(template, ":")
	name, value = strings.ToLower(name), strings.Trim(value, " \t")
	switch {
	case !ok || name == "" || strings.ContainsFunc(name, notTchar):
		return "", "", errors.New("it is not of the form 'name: value'")
	case slices.Contains(forbiddenHeaders, name) || strings.HasPrefix(name, "proxy-"):
		return "", "", fmt.Errorf("a provider can't set the header %s", name)
	case value == "":
		return "", "", errors.New("it has no value")
	case strings.ContainsFunc(value, func(r rune) bool { return r != '\t' && (r < ' ' || r > '~') }):
		return "", "", errors.New("its value has characters that no header can carry")
	case strings.ContainsAny(strings.ReplaceAll(value, placeholder, ""), "{}"):
		return "", "", errors.New("the only placeholder is " + placeholder)
	}
	return name, value, nil
}

func checkHeaderName(name string) error {
	if name == "" || strings.ContainsFunc(name, notTchar) {
		return errors.New("it is not the name of a header")
	}
	return nil
}

// notTchar is RFC 9110 §5.6.2.
func notTchar(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}

// checkHeaders requires templates of which exactly one has the token.
func checkHeaders(templates []string) error {
	var names []string
	tokens := 0
	for _, t := range templates {
		name, value, err := splitHeader(t)
		if err != nil {
			return fmt.Errorf("%q: %w", t, err)
		}
		if slices.Contains(names, name) {
			return fmt.Errorf("header %s is given twice", name)
		}
		names = append(names, name)
		tokens += strings.Count(value, placeholder)
	}
	if len(templates) > 0 && tokens == 0 {
		return errors.New("none of them has " + placeholder + " in it")
	}
	return nil
}
