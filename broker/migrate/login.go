package migrate

import (
	"time"

	"github.com/authferry/authferry/keystore"
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

	cut []item
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
