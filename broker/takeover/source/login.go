package source

import (
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// Login is one login in a file: an access token, a refresh token or both; or an API key.
type Login struct {
	Entry    string // its place in the file, for people
	Provider string // authferry's name of the provider, else the file's
	// Server is the address of the remote MCP server that it is for, whose provider has
	// another name here; ClientID the client that it was issued to. Empty: not said.
	Server, ClientID string
	Label            string // what the user called it; may be empty, and may be anything

	AccessToken, RefreshToken keystore.Secret
	APIKey                    keystore.Secret
	ExpiresAt                 time.Time // of the access token; zero: unknown
	RefreshExpiresAt          time.Time // zero: unknown
	Scopes                    []string
	Identity                  Identity

	HeldUntil time.Time // the other program doesn't use it until then; zero: it does
	Disabled  bool      // turned off there
	Current   bool      // the current one there

	unclear bool // it is unknown whether the access token has expired
	cut     []item
}

// expires sets when the access token ends. If that is given but can't be read, or is 0 (as
// some programs write for "refresh it"), the access token is dropped if there is a refresh
// token to get a better one.
func (l *Login) expires(n *node) {
	if n.absent() {
		return
	}
	var err error
	l.ExpiresAt, err = rawtext.Moment(n.raw)
	if zero, ok := n.number(); (err != nil || ok && zero == 0) && !l.RefreshToken.Empty() {
		l.AccessToken = keystore.Secret{}
	} else {
		l.unclear = err != nil
	}
}

// clean removes what doesn't belong to a secret. It returns why the login can't be used, or
// "".
func (l *Login) clean() (reason string) {
	for _, s := range []*keystore.Secret{&l.APIKey, &l.RefreshToken, &l.AccessToken} {
		text, err := rawtext.Token(s.Reveal())
		if errors.Is(err, rawtext.ErrNothing) {
			err = nil
		}
		if err != nil && s != &l.AccessToken || err != nil && l.RefreshToken.Empty() {
			return "its token or key contains an invisible character"
		}
		*s = keystore.NewSecret(text) // dropped if it is damaged and can be refreshed
	}
	if l.Secret().Empty() {
		return "it is empty"
	}
	if l.unclear {
		return "it has no refresh token, and the expiry of its access token can't be read"
	}
	return ""
}

// Identity is whose login it is, as the file says; nobody has verified that. Without a
// Subject only the Name, for display, is known.
type Identity struct {
	Issuer, Subject, Organization string
	Name                          string
}

// Skipped is an entry that can't be taken, with the reason.
type Skipped struct {
	Entry  string `json:"entry"`
	Reason string `json:"reason"`
}

// Secret is what the grant is made of: the API key, the refresh token, or else the access
// token.
func (l *Login) Secret() keystore.Secret {
	switch {
	case !l.APIKey.Empty():
		return l.APIKey
	case !l.RefreshToken.Empty():
		return l.RefreshToken
	}
	return l.AccessToken
}

// claims reads a JWT's payload (RFC 7519 §3) without verifying it; nil for anything else.
func claims(token string) *node {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return nil
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return nil
	}
	n, err := parse(payload)
	if err != nil || !n.isObject() {
		return nil
	}
	return n
}

// expiry is the exp claim of a JWT (RFC 7519 §4.1.4); zero if it has none.
func expiry(token string) time.Time {
	return claims(token).get("exp").moment()
}

// identityIn is the identity that an ID token names.
func identityIn(idToken string) Identity {
	c := claims(idToken)
	return Identity{
		Issuer: c.get("iss").text(), Subject: c.get("sub").text(), Name: c.get("email").text(),
		Organization: c.get("https://api.openai.com/auth").get("chatgpt_account_id").text(),
	}
}
