package oauth

import (
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

func TestParseLifetime(t *testing.T) {
	const day = 24 * time.Hour
	for s, want := range map[string]time.Duration{
		"365d": 365 * day, "1d": day, "0.5d": 12 * time.Hour, "12h30m": 12*time.Hour + 30*time.Minute,
		"3651d": 3650 * day, "99999999999999999999d": 3650 * day, "200000h": 3650 * day,
		"": 0, "0": 0, "0d": 0, "-1d": 0, "-1h": 0, "365": 0, "d": 0, "1e3d": 0, "infd": 0, "NaNd": 0, "0x10d": 0, "1_0d": 0, "1d2h": 0, " 1d": 0, "1y": 0,
	} {
		got, err := ParseLifetime(s)
		if got != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v, want %v", s, got, err, want)
		}
	}
}

// The longest prefix says what a secret is.
func TestRecognize(t *testing.T) {
	p := Provider{Name: "p", Prefixes: map[Credential][]string{APIKey: {"sk-"}, AdminKey: {"sk-admin-"}, LongLivedToken: {"tok_", "pat-"}}}
	testenv.Must(t, p.Validate())
	for secret, want := range map[string]Credential{"sk-x": APIKey, "sk-admin-x": AdminKey, "sk-admin": APIKey, "pat-1": LongLivedToken, "SK-x": "", "": "", "x": ""} {
		if got := p.Recognize(keystore.NewSecret(secret)); got != want {
			t.Errorf("%q is %q, want %q", secret, got, want)
		}
	}
	for _, bad := range []Provider{
		{Prefixes: map[Credential][]string{"tokens": {"x"}}},
		{Prefixes: map[Credential][]string{APIKey: {""}}},
		{Prefixes: map[Credential][]string{APIKey: {"a\nb"}}},
		{TokenLifetime: "a year"},
		{RefreshGrace: "soon"},
		{RefreshGrace: "-30s"},
		{TokenCommand: "x\x1b[2J"},
	} {
		bad.Name = "p"
		if bad.Validate() == nil {
			t.Errorf("%+v is valid", bad)
		}
	}
}
