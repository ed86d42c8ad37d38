package oauth

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Credential is the kind of a secret that a person brings, judged by its prefix.
type Credential string

// The kinds of credential. Empty: unknown.
const (
	LongLivedToken Credential = "token" // a bearer token for programs, without a refresh token
	APIKey         Credential = "api_key"
	RefreshToken   Credential = "refresh_token" // belongs to the client that it was issued to
	AdminKey       Credential = "admin_key"     // for managing an organization, not for its API
)

var credentials = []Credential{LongLivedToken, APIKey, RefreshToken, AdminKey}

// Recognize returns the kind of secret, by the longest of p's prefixes that it has.
func (p Provider) Recognize(secret keystore.Secret) Credential {
	var found Credential
	longest := 0
	for kind, prefixes := range p.Prefixes {
		for _, prefix := range prefixes {
			if len(prefix) > longest && strings.HasPrefix(secret.Reveal(), prefix) {
				found, longest = kind, len(prefix)
			}
		}
	}
	return found
}

// Lifetime is how long a long-lived token of p is valid after its issue; 0: unknown.
func (p Provider) Lifetime() time.Duration {
	d, _ := ParseLifetime(p.TokenLifetime)
	return d
}

// TokenAdvice says what to use if logins of p can't be refreshed.
func (p Provider) TokenAdvice() string {
	if p.TokenCommand != "" {
		return "use " + p.TokenCommand + ", or an API key"
	}
	return "use an API key, or name its client with --client-id"
}

// longestLifetime is the longest lifetime that is accepted.
const longestLifetime = 10 * 365 * 24 * time.Hour

// ParseLifetime parses a Go duration or a number of days, "365d". More than ten years
// counts as ten years.
func ParseLifetime(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n float64
		n, err = strconv.ParseFloat(days, 64)
		d = time.Duration(min(n, longestLifetime.Hours()/24) * 24 * float64(time.Hour))
		if math.IsNaN(n) || !decimal(days) {
			err = errors.New("not a number of days")
		}
	}
	if err != nil || d <= 0 {
		return 0, errors.New("a lifetime looks like 365d, or like 12h30m")
	}
	return min(d, longestLifetime), nil
}

func decimal(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
}

// checkCredentials returns an error for the first invalid setting about p's credentials.
func (p Provider) checkCredentials() error {
	for _, kind := range slices.Sorted(maps.Keys(p.Prefixes)) {
		if !slices.Contains(credentials, kind) {
			return fmt.Errorf("prefixes: %q is none of token, api_key, refresh_token, admin_key", string(kind))
		}
		for _, prefix := range p.Prefixes[kind] {
			if prefix == "" || len(prefix) > maxName || CheckAccessToken(prefix) != nil {
				return fmt.Errorf("prefixes: a prefix is 1 to %d characters of a token", maxName)
			}
		}
	}
	if p.TokenLifetime != "" {
		if _, err := ParseLifetime(p.TokenLifetime); err != nil {
			return fmt.Errorf("token_lifetime: %w", err)
		}
	}
	if p.RefreshGrace != "" && p.refreshGrace() == 0 {
		return errors.New("refresh_token_grace: a duration like 30s")
	}
	if err := printable(p.TokenCommand); err != nil {
		return fmt.Errorf("token_command: %w", err)
	}
	return nil
}
