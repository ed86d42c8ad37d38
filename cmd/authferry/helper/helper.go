// Package helper speaks the protocols by which other programs ask a helper for a
// credential: it parses their requests, and writes one token in their format. It reads no
// file, clock or environment.
//
//	protocol    documentation
//	goauth      go help goauth
//	git         git-credential(1), gitcredentials(7)
//	docker      github.com/docker/docker-credential-helpers
//	kubernetes  client.authentication.k8s.io/v1 and v1beta1, ExecCredential
//	cargo       RFC 2730, credential provider protocol 1
//	terraform   Terraform's "Credentials Helpers"
//
// Any server, repository or configuration can influence the input. What is over [MaxInput],
// has a control character in a field (CR, LF or NUL have a meaning in line protocols) or is
// malformed is refused, with an error that quotes nothing of it. Hosts are compared as
// origins: scheme, host and port. A URL that is neither https nor http to this machine has
// no origin and gets no token.
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

// MaxInput is how much of a request is read at most, in bytes.
const MaxInput = 1 << 20

var (
	errTooLong = errors.New("the request is over 1 MiB")
	errControl = errors.New("the request contains a control character")
	errToken   = errors.New("the token has characters that this protocol can't carry; nothing was printed")
)

// Op is the operation that a program asks for.
type Op string

// The operations. Each protocol has some of them.
const (
	Get        Op = "get"
	Erase      Op = "erase" // git: the credential was refused; docker: delete it
	Store      Op = "store"
	List       Op = "list"
	Version    Op = "version"
	Capability Op = "capability"
	Forget     Op = "forget"
)

// read reads all of in.
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

// clean requires text that has no special meaning in any protocol.
func clean(texts ...string) error {
	for _, t := range texts {
		if strings.ContainsFunc(t, unicode.IsControl) {
			return errControl
		}
	}
	return nil
}

// originOf is the origin of a URL, in the form of an account's origins; empty: none that a
// token may be sent to.
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

// token is t's access token, if a field or a line can contain it.
func token(t *broker.Token) (string, error) {
	s := t.AccessToken.Reveal()
	if s == "" || clean(s) != nil {
		return "", errToken
	}
	return s, nil
}

// authorization is the value of the header of that name which requests need; empty: the
// account's provider uses another header.
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
