package account

import (
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// What other tools write is read as it was meant; a time that can't be read is an
// error and never "no time".
func TestParseGrant(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	later := now.Add(time.Hour)
	wide := []byte{0xff, 0xfe}
	for _, unit := range utf16.Encode([]rune(`{"access_token":"at","refresh_token":"rt","expires_in":3600}` + "\r\n")) {
		wide = append(wide, byte(unit), byte(unit>>8))
	}
	for _, test := range []struct {
		in      string
		expires time.Time
		err     string
	}{
		{`{"access_token":"at","refresh_token":"rt","expires_in":3600}`, later, ""},
		{"\ufeff" + `{"access_token":"at","refresh_token":"rt","expires_in":"3600"}` + "\r\n", later, ""},
		{string(wide), later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_in":3600.0}` + "\n\x00\x00", later, ""},
		{`{"access_token":"\ufeffat\r\n","refresh_token":" rt\n"}`, time.Time{}, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":1795456800}`, later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":1795456800000}`, later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"1795456800000000"}`, later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"2026-11-23 18:00:00"}`, later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"2026-11-23T20:00:00+0200"}`, later, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"1999-12-31T23:59:59Z"}`, time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC), ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"1"}`, time.Unix(1, 0), ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":null}`, time.Time{}, ""},
		{`{"access_token":"at","refresh_token":"rt","expires_at":"soon"}`, time.Time{}, "invalid expires_at"},
		{`{"access_token":"at","refresh_token":"rt","expires_at":-1}`, time.Time{}, "invalid expires_at"},
		{`{"access_token":"at","refresh_token":"rt","token_type":"bot"}`, time.Time{}, ""},
		{`{"access_token":"at","refresh_token":"rt","token_type":"DPoP"}`, time.Time{}, "invalid token_type"},
		{`{"access_token":"at","refresh_token":"r\u200bt"}`, time.Time{}, "invalid refresh_token"},
		{`{"access_token":"at","refresh_token":"null"}`, time.Time{}, "invalid refresh_token"},
		{`{"access_token":"a\u200bt"}`, time.Time{}, "invalid access_token"},
		{`{"access_token":"\ufeff"}`, time.Time{}, "no access_token"},
		{"\ufeff", time.Time{}, "stdin is empty"},
		{`{"access_token":` + "\x00}", time.Time{}, "not a grant in JSON"},
	} {
		n, err := parseGrant([]byte(test.in), now)
		switch {
		case test.err != "":
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q: got %v, want an error about %s", test.in, err, test.err)
			}
		case err != nil || n.AccessToken.Reveal() != "at" || n.RefreshToken.Reveal() != "rt" || n.TokenType != "" || !n.ExpiresAt.Equal(test.expires):
			t.Errorf("%q: got %q, %q until %v, %v", test.in, n.AccessToken.Reveal(), n.RefreshToken.Reveal(), n.ExpiresAt, err)
		}
	}
}
