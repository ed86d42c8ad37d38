package oauth

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
)

func TestRefusals(t *testing.T) {
	for _, test := range []struct {
		name   string
		status int
		body   string
		dead   []string
		want   Class
		code   string
	}{
		{"RFC 6749", 400, `{"error":"invalid_grant"}`, nil, Dead, "invalid_grant"},
		{"as a form", 200, `error=bad_refresh_token&error_description=The+refresh+token+passed+is+incorrect`, []string{"bad_refresh_token"}, Dead, "bad_refresh_token"},
		{"as a form, known of any server", 200, `error=bad_refresh_token`, nil, Dead, "bad_refresh_token"},
		{"as a form, not listed", 200, `error=odd_refresh_token`, nil, Refused, "odd_refresh_token"},
		{"object with type", 400, `{"type":"error","error":{"type":"invalid_grant","message":"m"}}`, nil, Dead, "invalid_grant"},
		{"object with code", 401, `{"error":{"type":"invalid_request_error","code":"refresh_token_expired"}}`, nil, Dead, "refresh_token_expired"},
		{"object with a number", 400, `{"error":{"code":400,"message":"m","status":"INVALID_ARGUMENT"}}`, nil, Misconfigured, "INVALID_ARGUMENT"},
		{"at the top", 400, `{"code":"refresh_token_invalidated","message":"m"}`, nil, Dead, "refresh_token_invalidated"},
		{"a list of one", 400, `[{"error":"invalid_grant"}]`, nil, Dead, "invalid_grant"},
		{"a list of two", 400, `[{"error":"invalid_grant"},{"error":"invalid_client"}]`, nil, Misconfigured, ""},
		{"an only one of errors", 401, `{"errors":[{"code":"invalid_grant","title":"m"}]}`, nil, Dead, "invalid_grant"},
		{"one of several errors", 400, `{"errors":[{"code":"invalid_grant"},{"code":"invalid_client"}]}`, nil, Misconfigured, ""},
		{"errors that are none", 400, `{"errors":["invalid_grant"]}`, nil, Misconfigured, ""},
		{"with a byte order mark", 400, "\ufeff\n{\"error\":\"invalid_grant\"}", nil, Dead, "invalid_grant"},
		{"listed text in a member", 400, `{"error":{"message":"The provided authorization grant is invalid"}}`, []string{"The provided authorization grant is invalid"}, Dead, ""},
		{"listed text in the description", 400, `{"error":"invalid_request","error_description":"gone"}`, []string{"gone"}, Dead, "invalid_request"},
		{"listed text alone", 400, "The provided authorization grant is invalid\n", []string{"The provided authorization grant is invalid"}, Dead, ""},
		{"text that has the code in it", 400, "invalid_grant: no", nil, Misconfigured, ""},
		{"description that has the code in it", 400, `{"error":"invalid_request","error_description":"not an invalid_grant"}`, nil, Misconfigured, "invalid_request"},
		{"another member has the code in it", 400, `{"error":"invalid_request","hint":"invalid_grant"}`, nil, Misconfigured, "invalid_request"},
		{"other case", 400, `{"error":"INVALID_GRANT"}`, nil, Refused, "INVALID_GRANT"},
		{"no JSON", 400, `{"error":"invalid_gr`, nil, Misconfigured, ""},
		{"web page", 403, `<html>invalid_grant</html>`, []string{"<html>invalid_grant</html>"}, Misconfigured, ""},
		{"busy for now", 400, `{"error":"temporarily_unavailable"}`, nil, Throttled, "temporarily_unavailable"},
		{"server error as 400", 400, `{"error":"server_error"}`, nil, Unknown, "server_error"},
		{"definitive code of a failing server", 500, `{"error":"invalid_grant"}`, nil, Unknown, "invalid_grant"},
		{"definitive code of a busy server", 429, `{"error":"invalid_grant"}`, nil, Throttled, "invalid_grant"},
		{"overloaded", 529, `{"error":{"type":"overloaded_error"}}`, nil, Unknown, "overloaded_error"},
		{"busy, says the server", 503, `{"error":"temporarily_unavailable"}`, nil, Throttled, "temporarily_unavailable"},
		{"busy, in the words of RFC 6749", 503, `{"error":"server_error"}`, nil, Throttled, "server_error"},
		{"busy, with a description", 503, `{"error":"maintenance","error_description":"back soon"}`, nil, Throttled, "maintenance"},
		{"busy, as an object", 503, `{"type":"error","error":{"type":"overloaded_error"}}`, nil, Throttled, "overloaded_error"},
		{"gateway: nothing", 503, "", nil, Unknown, ""},
		{"gateway: a page", 503, "<html><body><h1>503 Service Unavailable</h1>", nil, Unknown, ""},
		{"gateway: a text", 503, "upstream connect error or disconnect/reset before headers", nil, Unknown, ""},
		{"gateway: a message", 503, `{"message":"Service Unavailable"}`, nil, Unknown, ""},
		{"gateway: its status", 503, `{"timestamp":"2026-11-23T09:00:00Z","status":503,"error":"Service Unavailable","path":"/token"}`, nil, Unknown, ""},
		{"gateway: an object", 503, `{"error":{"code":503,"message":"The service is unavailable.","status":"UNAVAILABLE"}}`, nil, Unknown, "UNAVAILABLE"},
		{"gateway: a fault", 503, `{"fault":{"faultstring":"The Service is temporarily unavailable","detail":{"errorcode":"messaging.adaptors.http.flow.ServiceUnavailable"}}}`, nil, Unknown, ""},
		{"request time-out", 408, ``, nil, Unknown, ""},
		{"not found", 404, `{"error":"Not Found"}`, nil, Misconfigured, ""},
		{"teapot", 418, `[]`, nil, Misconfigured, ""},
		{"echo of the token", 400, `{"error":"x-afrt_secret"}`, nil, Misconfigured, ""},
		{"echo of the secret", 400, `{"error":{"code":"hush"}}`, nil, Misconfigured, ""},
		{"escape sequence", 400, `{"error":"\u001b[31mred"}`, nil, Misconfigured, ""},
		{"long", 400, `{"error":"` + strings.Repeat("x", 65) + `"}`, nil, Misconfigured, ""},
	} {
		r, n := fixed(t, test.status, nil, test.body)
		r.endpoint.DeadCodes, r.endpoint.ClientSecret = test.dead, keystore.NewSecret("hush")
		tok, err := r.refresh()
		if err == nil || tok != nil || *n != 1 {
			t.Errorf("%s: it went well, or was sent %d times", test.name, *n)
		} else if err.Class != test.want || err.Code != test.code || err.Status != test.status {
			t.Errorf("%s: %s %q: %v; want %s %q", test.name, err.Class, err.Code, err, test.want, test.code)
		}
	}
}

// What servers answer, other than invalid_grant, to a refresh token that is over for
// good; and what is near to it and says something else. No code is listed by the
// provider's own data here.
func TestFinalAnywhere(t *testing.T) {
	const openAI = "https://auth.openai.com/oauth/token"
	for _, test := range []struct {
		name     string
		status   int
		body     string
		endpoint string
		want     Class
	}{
		{"OpenAI, session terminated", 401, `{"error":{"message":"m","type":"invalid_request_error","param":null,"code":"app_session_terminated"}}`, "", Dead},
		{"OpenAI, session expired", 400, `{"error":{"message":"m","type":"invalid_request_error","code":"app_session_expired"}}`, "", Dead},
		{"OpenAI, invalid", 401, `{"error":{"type":"invalid_request_error","code":"invalid_refresh_token"}}`, "", Dead},
		{"OpenAI, at the top", 401, `{"code":"app_session_terminated","message":"m"}`, "", Dead},
		{"OpenAI, token_expired", 401, `{"error":{"type":"invalid_request_error","code":"token_expired"}}`, openAI, Dead},
		{"token_expired at another server", 401, `{"error":{"type":"invalid_request_error","code":"token_expired"}}`, "", Refused},
		{"Slack", 200, `{"ok":false,"error":"invalid_refresh_token"}`, "", Dead},
		{"GitHub Enterprise Server", 200, `error=bad_refresh_token&error_description=x`, "", Dead},
		{"HubSpot", 400, `{"status":"BAD_REFRESH_TOKEN","message":"missing or invalid refresh token","correlationId":"0"}`, "", Dead},
		{"Twitch", 400, `{"status":400,"message":"Invalid refresh token"}`, "", Dead},
		{"Square", 401, `{"message":"Invalid refresh token","type":"service.not_authorized"}`, "", Dead},
		{"Qwen", 400, `{"error":"invalid_request","error_description":"Invalid refresh token or client_id"}`, "", Dead},
		{"Supabase", 400, `{"code":400,"error_code":"refresh_token_not_found","msg":"Invalid Refresh Token: Refresh Token Not Found"}`, "", Dead},
		{"Supabase, used", 400, `{"code":400,"error_code":"refresh_token_already_used","msg":"Invalid Refresh Token: Already Used"}`, "", Dead},
		{"Firebase", 400, `{"error":{"code":400,"message":"INVALID_REFRESH_TOKEN","status":"INVALID_ARGUMENT"}}`, "", Dead},
		{"Firebase, user", 400, `{"error":{"code":400,"message":"USER_DISABLED","status":"INVALID_ARGUMENT"}}`, "", Dead},
		{"Atlassian", 403, `{"error":"unauthorized_client","error_description":"refresh_token is invalid"}`, "", Dead},
		{"Microsoft", 400, `{"error":"interaction_required","error_codes":[50076]}`, "https://login.microsoftonline.com/common/oauth2/v2.0/token", Dead},

		{"part of a text", 400, `{"error":"invalid_request","error_description":"Invalid refresh token or client_id, try later"}`, "", Misconfigured},
		{"a text around it", 400, `{"message":"Sorry: Invalid refresh token"}`, "", Refused},
		{"the request, in words", 400, `{"error":"invalid_request","error_description":"Missing parameter: refresh_token"}`, "", Misconfigured},
		{"the client, whatever else", 401, `{"error":"invalid_client","error_description":"Invalid refresh token"}`, "", Misconfigured},
		{"the client, and a code", 401, `{"error":"invalid_client","code":"invalid_refresh_token"}`, "", Misconfigured},
		{"busy", 429, `{"error":"invalid_refresh_token"}`, "", Throttled},
		{"busy, in words", 400, `{"error":"slow_down","error_description":"Invalid refresh token"}`, "", Throttled},
		{"failing", 500, `{"error":"app_session_terminated"}`, "", Unknown},
		{"failing gateway", 502, `{"message":"Invalid refresh token"}`, "", Unknown},
		{"failing, as a 400", 400, `{"error":"server_error","error_description":"Invalid refresh token"}`, "", Unknown},

		{"names the grant", 400, `{"error":"user_suspended"}`, "", Refused},
		{"names the session", 403, `{"error":{"code":"session_locked"}}`, "", Refused},
		{"names the grant in words alone", 400, `{"message":"The provided authorization grant is invalid"}`, "", Refused},
		{"names a type of grant", 400, `{"error":"unsupported_grant_type"}`, "", Misconfigured},
		{"names nothing", 403, `{"error":"forbidden"}`, "", Misconfigured},
		{"says nothing", 401, ``, "", Misconfigured},
	} {
		a := &answer{status: test.status, body: []byte(test.body), sent: true, arrived: time.Now()}
		if got := a.refusal(Endpoint{TokenEndpoint: test.endpoint}); got.Class != test.want {
			t.Errorf("%s: %s (%v), want %s", test.name, got.Class, got, test.want)
		}
	}
	if len(anywhere().DeadCodes) == 0 {
		t.Error("builtin.toml lists nothing for any provider")
	}
}

// A 503 that says when to come back did not spend the token, whatever it brings.
func TestUnavailableForAWhile(t *testing.T) {
	for _, header := range []map[string]string{{"Retry-After": "7"}, {"Retry-After": "Mon, 23 Nov 2026 09:00:40 GMT"}, {"Retry-After-Ms": "1500"}} {
		r, _ := fixed(t, 503, header, "<html>")
		tok, err := r.refresh()
		r.is(tok, err, Throttled)
	}
}

func TestRetryAfter(t *testing.T) {
	arrived := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	const date = "Mon, 23 Nov 2026 09:00:00 GMT"
	for _, test := range []struct {
		after, ms, date string
		want            time.Duration
	}{
		{},
		{after: "30", want: 30 * time.Second},
		{after: " 30 ", want: 30 * time.Second},
		{after: "1.5", want: 1500 * time.Millisecond},
		{after: "0"}, {after: "-5"}, {after: "NaN"}, {after: "Inf"}, {after: "-Inf"}, {after: "1e400"}, {after: "soon"}, {after: "99999999999"},
		{after: "86401", want: 24 * time.Hour},
		{after: "30, 90, 60", want: 90 * time.Second}, {after: "2 minutes", want: 2 * time.Minute}, {after: "1h30m", want: 90 * time.Minute},
		{after: "1795435240", want: 40 * time.Second}, {after: "1795435240000", want: 40 * time.Second}, {after: "2026-11-23T12:00:40Z", want: 40 * time.Second},
		{after: "2592000", want: 24 * time.Hour},
		{ms: "1500", want: 1500 * time.Millisecond},
		{after: "30", ms: "1500", want: 30 * time.Second},
		{ms: "172800000", want: 24 * time.Hour},
		{after: "Mon, 23 Nov 2026 09:00:40 GMT", date: date, want: 40 * time.Second},
		{after: "Monday, 23-Nov-26 09:00:40 GMT", date: date, want: 40 * time.Second},
		{after: "Mon, 23 Nov 2026 12:00:40 GMT", want: 40 * time.Second},
		{after: "Mon, 23 Nov 2026 12:00:40 GMT", date: "yesterday", want: 40 * time.Second},
		{after: "Mon, 23 Nov 2026 08:00:00 GMT", date: date},
		{after: "Wed, 25 Nov 2026 09:00:00 GMT", date: date, want: 24 * time.Hour},
		{after: "Sun, 23 Nov 2036 09:00:00 GMT", date: date},
	} {
		h := http.Header{}
		for name, v := range map[string]string{"Retry-After": test.after, "Retry-After-Ms": test.ms, "Date": test.date} {
			if v != "" {
				h.Set(name, v)
			}
		}
		if got := retryAfter(h, arrived); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestTokenMembers(t *testing.T) {
	r, _ := fixed(t, 200, nil, `{"access_token":"a","refresh_token":"r","id_token":"i","token_type":"bearer","scope":["x","y"],"expires_in":"60",
		"refresh_token_expires_in":120,"account":{"uuid":"u","email_address":"ada@example.com"},"organization":{"uuid":"o","name":"Org"}}`)
	tok, err := r.refresh()
	if err != nil {
		t.Fatal(err)
	}
	if tok.IDToken.Reveal() != "i" || tok.TokenType != "Bearer" || tok.Scope != "x y" || tok.ExpiresIn != time.Minute || tok.RefreshExpiresIn != 2*time.Minute ||
		tok.Account != (Party{"u", ada}) || tok.Organization != (Party{"o", "Org"}) {
		t.Errorf("%+v", tok)
	}
	r, _ = fixed(t, 201, nil, `{"access_token":"a","refresh_token":5,"refresh_expires_in":30,"scope":7,"account":"me","error":null}`)
	if tok, err = r.refresh(); err != nil || !tok.RefreshToken.Empty() || tok.TokenType != "Bearer" || tok.Scope != "" || tok.RefreshExpiresIn != 30*time.Second {
		t.Errorf("%+v %v", tok, err)
	}
	r, _ = fixed(t, 200, nil, `access_token=a&scope=x%2Cy&expires_in=28800&refresh_token=r&refresh_token_expires_in=15897600&token_type=bearer`)
	if tok, err = r.refresh(); err != nil || tok.RefreshToken.Reveal() != "r" || tok.ExpiresIn != 8*time.Hour || tok.RefreshExpiresIn != 15897600*time.Second {
		t.Errorf("%+v %v", tok, err)
	}
	cut := errTooBig
	if m, err := parse([]byte("refresh_token=r&access_token=hal"), cut); err != nil || m.text("refresh_token") != "r" || m.text("access_token") != "" {
		t.Errorf("%v %v", m, err)
	}
}

func TestCheckAccessToken(t *testing.T) {
	for _, s := range []string{"a", "a.b-c_d~e+f/g=", "a b", "{\"quoted\"}", strings.Repeat("x", 1<<16)} {
		if err := CheckAccessToken(s); err != nil {
			t.Errorf("%.20q: %v", s, err)
		}
	}
	for _, s := range []string{"", " a", "a ", "a\nb", "a\x00", "a\tb", "schlüssel", "\x7f", "\xff"} {
		if err := CheckAccessToken(s); err == nil || s != "" && strings.Contains(err.Error(), strings.TrimSpace(s)) && len(s) > 2 {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{
		"", "Bearer", "bEARER", "bearer ", " Bearer", "Bearer Token", "BearerToken", "bearer_token", "bot", "user", "application", "client", "JWT", "access_token", "oauth2",
		"urn:ietf:params:oauth:token-type:access_token", "Basic", "machine", "popular", "Token",
	} {
		if err := CheckTokenType(s); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	}
	for _, s := range []string{"DPoP", "dpop ", "DPOP", "mac", "MAC", "hmac-sha-256", "PoP", "urn:ietf:params:oauth:token-type:pop", "http_signature", "HoK", "N_A", "n_a", "Bearer DPoP"} {
		if CheckTokenType(s) == nil {
			t.Errorf("%q can be sent without a proof", s)
		}
	}
}
