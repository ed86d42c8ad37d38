// Package helper speaks the protocols in which other programs ask a helper for a
// credential: what they say is parsed, and one token is written in the form that
// they read. Nothing in it reads a file, a clock or the environment.
//
//	protocol    the program's own page on it
//	goauth      go help goauth
//	git         git-credential(1), gitcredentials(7)
//	docker      github.com/docker/docker-credential-helpers
//	kubernetes  client.authentication.k8s.io/v1 and v1beta1, ExecCredential
//	cargo       RFC 2730, credential provider protocol 1
//	terraform   Terraform's "Credentials Helpers"
//
// Input is what anybody's server, repository or configuration made a program
// say. Whatever is over [MaxInput], has a control character in a field (a line
// protocol would take CR, LF or NUL for more than it is) or is malformed is
// refused, in words that quote nothing of it. A host is compared as an origin:
// scheme, host and port; what is no https URL, nor an http one of this machine,
// has none and gets no token.
package helper

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"unicode"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/oauth"
)

// MaxInput is the most that is read of a program's request, in bytes.
const MaxInput = 1 << 20

var (
	errTooLong = errors.New("the request is over 1 MiB")
	errControl = errors.New("the request contains a control character")
	errToken   = errors.New("the token has characters that this protocol can't carry; nothing was printed")
)

// Op is what a program wants done.
type Op string

// The operations, of which each protocol knows some.
const (
	Get        Op = "get"
	Erase      Op = "erase" // git: what you gave was refused; docker: forget it
	Store      Op = "store"
	List       Op = "list"
	Version    Op = "version"
	Capability Op = "capability"
	Forget     Op = "forget"
)

// read returns all of in.
func read(in io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(in, MaxInput+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("the request can't be read: %w", err)
	case len(data) > MaxInput:
		return nil, errTooLong
	}
	return data, nil
}

// clean wants a text that no protocol takes for anything but text.
func clean(texts ...string) error {
	for _, t := range texts {
		if strings.ContainsFunc(t, unicode.IsControl) {
			return errControl
		}
	}
	return nil
}

// originOf is where a URL's requests go, as an account's origins are written;
// empty: nowhere that a token may be sent to.
func originOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil || u.Opaque != "" {
		return ""
	}
	origin, err := oauth.Origin((&url.URL{Scheme: u.Scheme, Host: u.Host}).String())
	if err != nil {
		return ""
	}
	return origin
}

// userOf is the user name in a URL; empty: none.
func userOf(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return ""
	}
	return u.User.Username()
}

// hostOrigin is originOf for a host, with or without a port: https.
func hostOrigin(host string) string {
	if strings.ContainsAny(host, "/\\?#@") {
		return ""
	}
	return originOf("https://" + host)
}

// token is t's access token, if it is what a field or a line can hold.
func token(t *broker.Token) (string, error) {
	s := t.AccessToken.Reveal()
	if s == "" || clean(s) != nil {
		return "", errToken
	}
	return s, nil
}

// authorization is the value of the header of that name which requests need, or
// empty: the account's provider uses another one.
func authorization(t *broker.Token) (string, error) {
	for _, h := range t.Headers {
		if h.Name == "authorization" {
			value := h.Value.Reveal()
			if clean(value) != nil {
				return "", errToken
			}
			return value, nil
		}
	}
	return "", nil
}
