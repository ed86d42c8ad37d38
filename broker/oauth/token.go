package oauth

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
)

// maxLifetime is what a longer expires_in is cut to: ten years.
const maxLifetime = 10 * 365 * 24 * time.Hour

// Token is a successful answer of the token endpoint (RFC 6749 §5.1).
type Token struct {
	AccessToken      keystore.Secret
	RefreshToken     keystore.Secret // empty: the one that was sent stays
	IDToken          keystore.Secret
	TokenType        string        // "Bearer"
	ExpiresIn        time.Duration // of the access token; 0: unknown
	RefreshExpiresIn time.Duration // 0: unknown
	Scope            string        // empty: as asked for
	ArrivedAt        time.Time     // when the answer came, by this machine's clock

	// Whose token it is, where the answer itself says so.
	Account      Party // ID and e-mail address
	Organization Party // ID and name
}

// Party is somebody whom a token answer names.
type Party struct{ ID, Name string }

var (
	errNoAccess  = errors.New("there is no access token in the answer")
	errVSCHAR    = errors.New("the access token has characters that no header can carry")
	errTokenType = errors.New("the token is not a bearer token")
)

// CheckAccessToken reports whether s can be sent as an access token: printable
// ASCII (RFC 6749 appendix A.12) that neither begins nor ends with a space,
// which an HTTP header would lose. The error does not quote it.
func CheckAccessToken(s string) error {
	if s == "" {
		return errNoAccess
	}
	if s[0] == ' ' || s[len(s)-1] == ' ' {
		return errVSCHAR
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return errVSCHAR
		}
	}
	return nil
}

// CheckTokenType accepts "Bearer" in any case (RFC 6749 §7.1), and nothing at
// all, which means it.
func CheckTokenType(s string) error {
	if s == "" || strings.EqualFold(s, "Bearer") {
		return nil
	}
	return errTokenType
}

// grant makes a Token of a 2xx answer, or the *Error that the answer is. With
// class BadToken it returns both.
func (a *answer) grant(e Endpoint, secrets ...keystore.Secret) (*Token, error) {
	if a.status < 200 || a.status > 299 {
		return nil, a.refusal(e, secrets...)
	}
	m, err := parse(a.body, a.cut)
	if err != nil {
		return nil, a.fail(Unknown, err)
	}
	access, refresh := m.text("access_token"), m.text("refresh_token")
	if access == "" && refresh == "" && m.refuses() {
		return nil, a.refusal(e, secrets...)
	}
	if access == "" && refresh == "" {
		return nil, a.fail(Unknown, errNoAccess)
	}
	if m.cut != nil && refresh == "" {
		return nil, a.fail(Unknown, m.cut)
	}
	t := &Token{
		AccessToken: keystore.NewSecret(access), RefreshToken: keystore.NewSecret(refresh), IDToken: keystore.NewSecret(m.text("id_token")),
		TokenType: m.text("token_type"), Scope: m.words("scope"), ArrivedAt: a.arrived,
		ExpiresIn: m.seconds("expires_in"), RefreshExpiresIn: m.seconds("refresh_token_expires_in"),
	}
	if t.RefreshExpiresIn == 0 {
		t.RefreshExpiresIn = m.seconds("refresh_expires_in")
	}
	account, organization := m.object("account"), m.object("organization")
	t.Account = Party{account.text("uuid"), account.text("email_address")}
	t.Organization = Party{organization.text("uuid"), organization.text("name")}

	if err := CheckAccessToken(access); err != nil {
		return t, a.fail(BadToken, err)
	}
	if err := CheckTokenType(t.TokenType); err != nil {
		return t, a.fail(BadToken, err)
	}
	return t, nil
}

// lifetime reads a number of seconds in any of the forms that servers use. 0 is
// unknown: nothing, null, zero, less, or no number.
func lifetime(raw json.RawMessage) time.Duration {
	s := string(raw)
	var quoted string
	if json.Unmarshal(raw, &quoted) == nil {
		s = strings.TrimSpace(quoted)
	}
	f, err := strconv.ParseFloat(s, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) && f > 0: // 1e400
		return maxLifetime
	case err != nil || math.IsInf(f, 0) || !(f > 0):
		return 0
	}
	return time.Duration(min(f, maxLifetime.Seconds()) * float64(time.Second))
}
