package account

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
)

// Whatever stands on stdin, import grant takes it as a grant that can be used or
// refuses it as the person's mistake, without a word of it in the error.
func FuzzImportGrant(f *testing.F) {
	const secret = "canary-4f1c"
	for _, seed := range []string{
		`{"access_token":"canary-4f1c","refresh_token":"canary-4f1c","expires_in":3600}`,
		`{"access_token":"canary-4f1c","expires_at":"2026-11-23T17:00:00Z","token_type":"bEARER"}`,
		`{"access_token":"canary-4f1c","expires_at":1795453200}`,
		`{"access_token":"canary-4f1c","expires_at":1795453200000}`,
		`{"access_token":"canary-4f1c","expires_at":"canary-4f1c"}`,
		`{"access_token":"canary-4f1c","expires_in":"1e400"}`,
		`{"access_token":"canary-4f1c","expires_in":-9223372036854775808}`,
		`{"access_token":"canary-4f1c","expires_in":{"canary-4f1c":1}}`,
		`{"access_token":"canary-4f1c\r\nx: 1"}`,
		`{"access_token":["canary-4f1c"]}`,
		`{"access_token":"canary-4f1c","token_type":"canary-4f1c"}`,
		`{"refresh_token":"canary-4f1c"}`,
		`canary-4f1c`, `{"access_token":"canary-4f1c"`, `null`, `[]`, ``,
		"\xef\xbb\xbf" + `{"access_token":"canary-4f1c"}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := parseGrant(data, now)
		if err != nil {
			e, ok := errors.AsType[*fault.Error](err)
			if !ok || e.Code != fault.Usage || len(e.Next) == 0 {
				t.Fatalf("not a usage error with a hint: %v", err)
			}
			if strings.Contains(fmt.Sprint(e.Error(), e.Next), secret) || strings.ContainsAny(e.Error(), "\r\n") {
				t.Fatalf("the error holds what was on stdin: %q", e)
			}
			return
		}
		if err := oauth.CheckAccessToken(n.AccessToken.Reveal()); err != nil {
			t.Fatalf("an access token that no header can carry was taken: %v", err)
		}
		if !n.ExpiresAt.IsZero() && (n.ExpiresAt.After(now.AddDate(10, 0, 1)) || n.ExpiresAt.Before(time.Unix(0, 0).AddDate(-2000, 0, 0))) {
			t.Fatalf("it expires at %v", n.ExpiresAt)
		}
		if _, err := n.ExpiresAt.MarshalJSON(); err != nil {
			t.Fatalf("an expiry that can't be kept: %v", err)
		}
	})
}
