package oauth

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
)

// The tests here have numbers: each is one way in which authorization servers
// differ or go wrong, and proves that one request was made.

func TestS1ToS7Rotations(t *testing.T) {
	for _, kind := range brokertest.Rotations() {
		r := newRig(t, brokertest.Config{Rotation: kind})
		tok, err := r.refresh()
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		r.sentOnce()
		if tok.AccessToken.Empty() || tok.TokenType != "Bearer" || tok.ExpiresIn != time.Hour || tok.ArrivedAt.IsZero() {
			t.Errorf("%s: %+v", kind, tok)
		}
		r.next(tok)
	}
	r := newRig(t, brokertest.Config{Rotation: brokertest.Rotate})
	if _, err := r.refresh(); err != nil {
		t.Fatal(err)
	}
	tok, err := r.refresh()
	r.is(tok, err, Dead)
	if err.Code != "invalid_grant" || err.Status != 400 {
		t.Errorf("%v", err)
	}
}

func TestS8NoRefreshToken(t *testing.T) {
	for _, fault := range []string{"refresh-omitted", "refresh-blank", "refresh-null"} {
		r := newRig(t, brokertest.Config{Rotation: brokertest.Fixed})
		r.server.Inject(brokertest.Faults()[fault])
		tok, err := r.refresh()
		if err != nil || !tok.RefreshToken.Empty() {
			t.Errorf("%s: %v", fault, err)
			continue
		}
		r.sentOnce()
		r.next(tok)
	}
}

func TestS9SameRefreshToken(t *testing.T) {
	r := newRig(t, brokertest.Config{Rotation: brokertest.Fixed})
	tok, err := r.refresh()
	if err != nil {
		t.Fatal(err)
	}
	if !tok.RefreshToken.Empty() && !tok.RefreshToken.Equal(r.token) {
		t.Error("another refresh token")
	}
	r.sentOnce()
	r.next(tok)
}

func TestS10Throttled(t *testing.T) {
	for fault, want := range map[string]struct{ least, most time.Duration }{
		"429": {}, "429-text": {}, "429-seconds": {30 * time.Second, 30 * time.Second}, "429-float": {1500 * time.Millisecond, 1500 * time.Millisecond},
		"429-zero": {}, "429-negative": {}, "429-absurd": {}, "429-garbage": {}, "429-past-date": {},
		"429-ms": {1500 * time.Millisecond, 1500 * time.Millisecond}, "429-date": {time.Second, 30 * time.Second},
	} {
		r := under(t, fault)
		tok, err := r.refresh()
		r.is(tok, err, Throttled)
		r.sentOnce()
		if err.Status != 429 || err.RetryAfter < want.least || err.RetryAfter > want.most {
			t.Errorf("%s: %v, retry after %v", fault, err, err.RetryAfter)
		}
		r.next(&Token{})
	}
}

func TestS11ServerErrors(t *testing.T) {
	for fault, want := range map[string]Class{
		"500": Unknown, "502": Unknown, "503": Throttled, "504": Unknown, "html-502": Unknown,
		"500-after": Unknown, "502-after": Unknown, "503-after": Throttled, "504-after": Unknown,
	} {
		r := under(t, fault)
		tok, err := r.refresh()
		r.is(tok, err, want)
		r.sentOnce()
	}
}

func TestS12Resets(t *testing.T) {
	// A reset right after the accept can come before or after the body left.
	either := []Class{Unsent, Unknown}
	for fault, want := range map[string][]Class{
		"reset-accept": either, "reset-request": either,
		"reset-headers": {Unknown}, "reset-mid-headers": {Unknown}, "reset-mid-body": {Unknown}, "drop-after": {Unknown},
	} {
		r := under(t, fault)
		tok, err := r.refresh()
		if err == nil || tok != nil || !slices.Contains(want, err.Class) {
			t.Errorf("%s: %v", fault, err)
		}
		if l := r.server.Ledger(); l.TokenRequests > 1 || r.begun > 1 || err.Class == Unknown && r.begun != 1 {
			t.Errorf("%s: %d requests, beforeSend ran %d times", fault, l.TokenRequests, r.begun)
		}
	}
}

func TestS13Stalls(t *testing.T) {
	for _, fault := range []string{"stall", "stall-after", "stall-mid-headers", "stall-mid-body", "drip"} {
		r := under(t, fault)
		r.client.Timeout = 200 * time.Millisecond
		tok, err := r.refresh()
		r.is(tok, err, Unknown)
		r.sentOnce()
	}
}

func TestS14Redirects(t *testing.T) {
	for _, status := range []string{"302", "307", "308"} {
		for _, to := range []string{"self", "other"} {
			r := under(t, "redirect-"+status+"-"+to)
			tok, err := r.refresh()
			r.is(tok, err, Unknown)
			r.sentOnce()
			if !strings.Contains(err.Error(), "redirects") {
				t.Errorf("%v", err)
			}
		}
	}
}

func TestS15OddBodies(t *testing.T) {
	for _, fault := range []string{"gzip", "form", "bom", "duplicate", "content-type", "no-type"} {
		r := under(t, fault)
		tok, err := r.refresh()
		if err != nil {
			t.Errorf("%s: %v", fault, err)
			continue
		}
		r.sentOnce()
		if tok.ExpiresIn != time.Hour {
			t.Errorf("%s: expires in %v", fault, tok.ExpiresIn)
		}
		r.next(tok)
	}
	for fault, text := range map[string]string{
		"html": "web page", "html-after": "web page", "empty": "empty", "empty-after": "empty", "huge": "too big", "truncated": "breaks off",
	} {
		r := under(t, fault)
		if fault == "truncated" {
			// So that its first half has no refresh token in it.
			f := brokertest.Faults()[fault]
			r = newRig(t, brokertest.Config{TokenFields: func(string) map[string]any { return map[string]any{"aaa": strings.Repeat("x", 4000)} }})
			r.server.Inject(f)
		}
		tok, err := r.refresh()
		r.is(tok, err, Unknown)
		r.sentOnce()
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v", fault, err)
		}
	}
}

// The rotated refresh token counts even when the rest of the answer is lost.
func TestS15RecoversARefreshToken(t *testing.T) {
	big := strings.Repeat("x", 2<<20)
	for _, test := range []struct {
		name, body      string
		access, refresh string
		bad             bool
	}{
		{"cut behind both", `{"access_token":"a","refresh_token":"r","expires_in":36`, "a", "r", false},
		{"cut in a name", `{"refresh_token":"r","access_token":"a","sco`, "a", "r", false},
		{"cut before the access token", `{"refresh_token":"r","access_tok`, "", "r", true},
		{"cut in the access token", `{"refresh_token":"r","access_token":"a`, "", "r", true},
		{"too big", `{"refresh_token":"r","access_token":"a","junk":"` + big + `"}`, "a", "r", false},
		{"too big for the access token", `{"refresh_token":"r","junk":"` + big + `","access_token":"a"}`, "", "r", true},
		{"damaged", `{"refresh_token":"r","expires_in":nope,"access_token":"a"}`, "a", "r", false},
		{"garbage behind", `{"refresh_token":"r","access_token":"a"}<!-- served by 7 -->`, "a", "r", false},
		{"no access token", `{"refresh_token":"r","token_type":"Bearer"}`, "", "r", true},
		{"with an error", `{"refresh_token":"r","error":"server_error"}`, "", "r", true},
	} {
		r, n := fixed(t, 200, nil, test.body)
		tok, err := r.refresh()
		if tok == nil || tok.AccessToken.Reveal() != test.access || tok.RefreshToken.Reveal() != test.refresh || *n != 1 {
			t.Errorf("%s: %v after %d requests", test.name, err, *n)
		} else if want := map[bool]Class{true: BadToken}[test.bad]; classOf(err) != want {
			t.Errorf("%s: %v", test.name, err)
		}
	}
	for _, body := range []string{
		`{"token_type":"Bearer"}`, `{}`,
		`{"access_token":"a","refresh_token":"r`, `{"access_token":"a"`, `{"access_token":"a","nested":{"refresh_token":"r"`, `{`, `{"`,
		`[{"refresh_token":"r"}]`, `"refresh_token"`, `null`, `access`, `{access_token:a}`, "\x1f\x8bdamaged",
	} {
		r, n := fixed(t, 200, nil, body)
		tok, err := r.refresh()
		r.is(tok, err, Unknown)
		if *n != 1 {
			t.Errorf("%s: %d requests", body, *n)
		}
	}
}

func TestS16Lifetimes(t *testing.T) {
	for fault, want := range map[string]time.Duration{
		"string": time.Hour, "float": 3600*time.Second + 500*time.Millisecond, "zero": 0, "negative": 0, "null": 0, "missing": 0,
		"word": 0, "object": 0, "bool": 0, "huge": maxLifetime, "1e18": maxLifetime, "1e400": maxLifetime,
	} {
		r := under(t, "expires-"+fault)
		tok, err := r.refresh()
		if err != nil {
			t.Errorf("%s: %v", fault, err)
			continue
		}
		r.sentOnce()
		if tok.ExpiresIn != want {
			t.Errorf("%s: %v, want %v", fault, tok.ExpiresIn, want)
		}
		r.next(tok)
	}
}

func TestS17Errors(t *testing.T) {
	for fault, want := range map[string]struct {
		class Class
		code  string
	}{
		"error-rfc": {Dead, "invalid_grant"}, "error-object": {Dead, "invalid_grant"}, "error-nested": {Dead, "refresh_token_reused"},
		"error-401": {Dead, "invalid_grant"}, "error-200": {Dead, "invalid_grant"},
		"error-text": {Refused, ""}, "error-401-empty": {Misconfigured, ""}, "error-403": {Misconfigured, "access_denied"},
		"slow-down": {Throttled, "slow_down"}, "pending": {Misconfigured, "authorization_pending"},
	} {
		r := under(t, fault)
		tok, err := r.refresh()
		r.is(tok, err, want.class)
		r.sentOnce()
		if err.Code != want.code {
			t.Errorf("%s: code %q, want %q", fault, err.Code, want.code)
		}
	}
	r := under(t, "error-text")
	r.endpoint.DeadCodes = []string{"The provided refresh token is invalid or expired"}
	tok, err := r.refresh()
	r.is(tok, err, Dead)
}

func TestS18Client(t *testing.T) {
	for _, fault := range []string{"invalid-client", "unauthorized-client", "invalid-scope"} {
		r := under(t, fault)
		tok, err := r.refresh()
		r.is(tok, err, Misconfigured)
		r.sentOnce()
		if want := strings.ReplaceAll(fault, "-", "_"); err.Code != want {
			t.Errorf("%v", err)
		}
		r.next(&Token{})
	}
	for auth, style := range map[string]string{"client_secret_post": AuthParams, "client_secret_basic": AuthHeader, "none": AuthNone} {
		cfg := brokertest.Config{ClientAuth: auth}
		if auth != "none" {
			cfg.ClientSecret = "hush"
		}
		r := newRig(t, cfg)
		r.endpoint.AuthStyle, r.endpoint.ClientSecret = style, keystore.NewSecret(cfg.ClientSecret)
		if _, err := r.refresh(); err != nil {
			t.Errorf("%s: %v", auth, err)
		}
		r.sentOnce()
	}
	r := newRig(t, brokertest.Config{TokenRequest: "json"})
	r.endpoint.Encoding = EncodingJSON
	if _, err := r.refresh(); err != nil {
		t.Errorf("json: %v", err)
	}
	r.sentOnce()
}

func TestS19Scope(t *testing.T) {
	r := under(t, "scope-reduced")
	tok, err := r.refresh()
	if err != nil || tok.Scope != "openid" {
		t.Fatalf("%+v %v", tok, err)
	}
	r.sentOnce()
}

func TestS20Subject(t *testing.T) {
	r := under(t, "subject-changed")
	tok, err := r.refresh()
	if err != nil || strings.Count(tok.IDToken.Reveal(), ".") != 2 {
		t.Fatalf("%+v %v", tok, err)
	}
	r.sentOnce()
}

func TestS21OddTokens(t *testing.T) {
	for _, odd := range []string{"2600", "4200", "64k", "newline", "quotes", "unicode", "nul", "space"} {
		r := under(t, "refresh-"+odd)
		tok, err := r.refresh()
		if err != nil {
			t.Errorf("refresh token, %s: %v", odd, err)
			continue
		}
		r.sentOnce()
		r.next(tok)

		r = under(t, "access-"+odd)
		tok, err = r.refresh()
		if odd == "2600" || odd == "4200" || odd == "64k" || odd == "quotes" {
			if err != nil || tok.AccessToken.Empty() {
				t.Errorf("access token, %s: %v", odd, err)
			}
		} else {
			r.is(tok, err, BadToken)
			r.next(tok)
		}
	}
	r := under(t, "no-token")
	tok, err := r.refresh()
	r.is(tok, err, BadToken)
	r.sentOnce()
	r.next(tok)

	r = under(t, "token-type-mac")
	tok, err = r.refresh()
	r.is(tok, err, BadToken)
	r.next(tok)

	r = under(t, "token-type-odd")
	if tok, err = r.refresh(); err != nil || tok.TokenType != "Bearer" {
		t.Errorf("%+v %v", tok, err)
	}
}

func TestS22RevokedMeanwhile(t *testing.T) {
	r := newRig(t, brokertest.Config{})
	r.server.Revoke(ada)
	tok, err := r.refresh()
	r.is(tok, err, Dead)
	r.sentOnce()
}

func TestS23WrongDate(t *testing.T) {
	for _, fault := range []string{"date-ahead", "date-behind"} {
		r := under(t, fault)
		before := time.Now()
		tok, err := r.refresh()
		if err != nil || tok.ExpiresIn != time.Hour || tok.ArrivedAt.Before(before) || tok.ArrivedAt.After(time.Now()) {
			t.Errorf("%s: %+v %v", fault, tok, err)
		}
		r.sentOnce()
	}
	// An absolute Retry-After counts by the clock that stated it.
	date := time.Now().Add(5 * time.Hour)
	r, _ := fixed(t, 429, map[string]string{
		"Date": date.UTC().Format(http.TimeFormat), "Retry-After": date.Add(40 * time.Second).UTC().Format(http.TimeFormat),
	}, "")
	if _, err := r.refresh(); err == nil || err.RetryAfter != 40*time.Second {
		t.Errorf("%v", err)
	}
}

func TestS24TLS(t *testing.T) {
	for kind, text := range map[brokertest.TLS]string{
		brokertest.TLSExpired: "expired", brokertest.TLSWrongHost: "another host", brokertest.TLSStall: "timed out",
	} {
		r := newRig(t, brokertest.Config{TLS: kind})
		if kind == brokertest.TLSStall {
			r.client.Timeout = 200 * time.Millisecond
		}
		tok, err := r.refresh()
		r.is(tok, err, Unsent)
		if r.begun != 0 || r.server.TokenRequests() != 0 || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: beforeSend ran %d times: %v", kind, r.begun, err)
		}
	}
	r := newRig(t, brokertest.Config{TLS: brokertest.TLSGood})
	if _, err := r.refresh(); err != nil {
		t.Fatal(err)
	}
	r.sentOnce()
	r = newRig(t, brokertest.Config{TLS: brokertest.TLSGood})
	r.client.Transport = nil
	tok, err := r.refresh()
	r.is(tok, err, Unsent)
	if !strings.Contains(err.Error(), "unknown authority") {
		t.Errorf("%v", err)
	}
}

// A connection that the server closed meanwhile is where net/http sends a
// request again by itself; here every request has its own.
func TestS25ConnectionIsNew(t *testing.T) {
	r := under(t, "idle-close")
	for range 3 {
		tok, err := r.refresh()
		if err != nil {
			t.Fatal(err)
		}
		r.token = tok.RefreshToken
	}
	if l := r.server.Ledger(); l.TokenRequests != 3 || l.MostSends() != 1 || r.server.PendingFaults() != 1 {
		t.Errorf("%d requests, a token was sent %d times", l.TokenRequests, l.MostSends())
	}
}

func TestS26Latency(t *testing.T) {
	r := newRig(t, brokertest.Config{Latency: 100 * time.Millisecond})
	if _, err := r.refresh(); err != nil {
		t.Fatal(err)
	}
	r.sentOnce()
	r = newRig(t, brokertest.Config{Latency: time.Minute})
	r.client.Timeout = 100 * time.Millisecond
	tok, err := r.refresh()
	r.is(tok, err, Unknown)
	r.sentOnce()
}
