package source

import (
	"errors"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/rawtext"
)

// Login is one login that a file holds: tokens, of which at least one is there,
// or an API key.
type Login struct {
	Entry    string // where in the file it stands, for a person
	Provider string // authferry's name for the provider, else the file's own
	Label    string // what its user called it; may be empty, and may be anything

	AccessToken, RefreshToken keystore.Secret
	APIKey                    keystore.Secret
	ExpiresAt                 time.Time // of the access token; zero: unknown
	RefreshExpiresAt          time.Time // zero: unknown
	Scopes                    []string
	Identity                  Identity

	HeldUntil time.Time // the other program kept it out of use until then; zero: it did not
	Disabled  bool      // switched off there
	Current   bool      // the one that was in use there

	unclear bool // whether the access token is over is not clear
	cut     []item
}

// expires sets when the access token ends. One whose end is written and can't be
// read, or is 0, as some programs write "to be refreshed", is nothing to rely on
// where there is a refresh token to make a better one.
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

// clean leaves each secret as its issuer wrote it. What it returns is why there is
// no such secret.
func (l *Login) clean() (reason string) {
	for _, s := range []*keystore.Secret{&l.APIKey, &l.RefreshToken, &l.AccessToken} {
		text, err := rawtext.Token(s.Reveal())
		if errors.Is(err, rawtext.ErrNothing) {
			err = nil
		}
		if err != nil && s != &l.AccessToken || err != nil && l.RefreshToken.Empty() {
			return "its token or key has an invisible character within"
		}
		*s = keystore.NewSecret(text) // none for a damaged one that can be refreshed
	}
	if l.Secret().Empty() {
		return "it is empty"
	}
	if l.unclear {
		return "its access token has no refresh token, and when it ends can't be read"
	}
	return ""
}

// Identity is whose login it is by the file's own word, which nobody checked.
// Without a Subject only the Name, for display, is known.
type Identity struct {
	Issuer, Subject, Organization string
	Name                          string
}

// Skipped is an entry that is no login to be taken, and why.
type Skipped struct {
	Entry  string `json:"entry"`
	Reason string `json:"reason"`
}

// Secret is what makes the grant: the API key, the refresh token, or else the
// access token.
func (l *Login) Secret() keystore.Secret {
	switch {
	case !l.APIKey.Empty():
		return l.APIKey
	case !l.RefreshToken.Empty():
		return l.RefreshToken
	}
	return l.AccessToken
}
