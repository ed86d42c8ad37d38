package ratelimit

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Times in the forms of real servers, at 15:32 UTC.
func TestWhen(t *testing.T) {
	c := newClock(now, "")
	for text, want := range map[string]time.Duration{
		"30": 30 * second, "1.5": 1500 * time.Millisecond, "0.0000000001": 1, "1786552320": hour, "1786552320.25": hour + 250*time.Millisecond,
		"1786552320000": hour, "1786552320000000": hour, "1786552320000000000": hour,
		"30s": 30 * second, "30 s": 30 * second, "12ms": 12 * time.Millisecond, "1m30s": 90 * second, "1h2m3.5s": hour + 2*minute + 3500*time.Millisecond,
		"108h48m20.79s": 108*hour + 48*minute + 20790*time.Millisecond, "1h30": 90 * minute, "5 min": 5 * minute, "2hrs": 2 * hour, "10 secs": 10 * second,
		"1 hour 30 minutes": 90 * minute, "1 hour and 30 minutes": 90 * minute, "2 days, 3 hours": 51 * hour, "2 days": 2 * day, "1 week": 7 * day, "1 month": 31 * day,
		"1,000 seconds": 1000 * second, "1d": day, "1D 2H": 26 * hour, `"3600"`: hour, "'1h'": hour, "250 milliseconds": 250 * time.Millisecond,
		"08:56:31": 8*hour + 56*minute + 31*second, "1.08:56:31": 32*hour + 56*minute + 31*second,
		"PT30S": 30 * second, "PT1H30M": 90 * minute, "P1DT2H": 26 * hour, "P1M": 31 * day, "PT1.5S": 1500 * time.Millisecond,
		"2026-08-12T16:32:00Z": hour, "2026-08-12T18:32:00+02:00": hour, "2026-08-12T18:32:00.5+0200": hour + 500*time.Millisecond, "2026-08-12 16:32:00 UTC": hour, "2026-08-12 16:32 GMT": hour,
		"2026-08-12T16:32:00": 13 * hour, "2026-08-13": 20*hour + 28*minute, // somewhere it is that late
		"Wed, 12 Aug 2026 16:32:00 GMT": hour, "Wednesday, 12-Aug-26 16:32:00 GMT": hour, "Wed Aug 12 16:32:00 2026": hour, "Wed, 12 Aug 2026 16:32:00 +0000": hour,
		"Aug 12, 2026 4:32 PM UTC": hour, "August 12, 2026 at 16:32 UTC": hour, "12 Aug 2026 16:32:00 GMT": hour, "2026/08/12 16:32:00 UTC": hour, "Aug 12th, 2026 9:32 AM PDT": hour,
		"2026-08-12 12:00 UTC-5": 12*hour - 3*hour - 32*minute,
		"30, 60, 45":             minute, "5s, 1h": hour + 5*second, "30, Wed, 12 Aug 2026 16:32:00 GMT": hour,
		"": 0, "0": 0, "-5": 0, "NaN": 0, "Inf": 0, "1e300": 0, "soon": 0, "5 apples": 0, "-3s": 0, "2026-08-12T15:00:00Z": 0, "2026-13-45T00:00:00Z": 0, "1786548000": 0,
		"99999999999999999999 years": 0, "P": 0, "PT": 0, "::": 0, "1:2": 0, ",": 0, ",,,": 0,
	} {
		got := time.Duration(0)
		if at := c.when(text); !at.IsZero() {
			got = at.Sub(now)
		}
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// What is said to people.
func TestPhrase(t *testing.T) {
	c := newClock(now, "")
	for text, want := range map[string]time.Duration{
		"Please try again in 35.883s. Visit https://x.example for more.":             35883 * time.Millisecond,
		"Rate limit is exceeded. Try again in 7 seconds.":                            7 * second,
		"Please retry after 1 hour 30 minutes.":                                      90 * minute,
		"Your quota will reset after 1h2m.":                                          62 * minute,
		"Resets in 2 days, 3 hours and 5 minutes":                                    51*hour + 5*minute,
		"Please wait 20 seconds before sending another request":                      20 * second,
		"Please wait for at least 5 minutes":                                         5 * minute,
		"Out of call volume quota. Quota will be replenished in 10.10:30:01.":        10*day + 10*hour + 30*minute + second,
		"Out of call volume quota. Quota will be replenished in 2 days":              2 * day,
		"You will regain access on 2026-09-01 at 00:00 UTC.":                         19*day + 8*hour + 28*minute,
		"You will regain access on September 1, 2026 at 12:00 AM UTC.":               19*day + 20*hour + 28*minute, // never earlier than it may be meant
		"Your limit resets at 2026-08-12T16:32:00Z":                                  hour,
		"Blocked until Wed, 12 Aug 2026 16:32:00 GMT":                                hour,
		"You can try again in about 2 hours":                                         2 * hour,
		"Retry-After: 120":                                                           2 * minute,
		"Slow down. Retry in 10s, or your account is limited; it resets in 3 hours.": 3 * hour,
		"Limit 50 requests in 60 seconds":                                            0,
		"Your limit of 100 resets every 5 hours":                                     0,
		"The model gpt-4-2024-05-13 was called on 2026-08-11":                        0,
		"": 0, "try again in": 0, "try again in a while": 0, "resets in 9999999999999999999999h": 0,
	} {
		got := time.Duration(0)
		if at := c.phrase(text); !at.IsZero() {
			got = at.Sub(now)
		}
		if strings.Contains(text, "12:00 AM") {
			if got < 19*day+8*hour+28*minute {
				t.Errorf("%q: %v", text, got)
			}
			continue
		}
		if got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestRateLimitFields(t *testing.T) {
	held := func(d time.Duration, source string) want { return want{kind: Throttle, hold: d, source: source} }
	guess := want{kind: Throttle, hold: minute, source: "status 429", guess: true}
	check(t, []row{
		{name: "the new draft", status: 429, header: h{"ratelimit": `"default";r=0;t=50`}, want: held(50*second, "ratelimit")},
		{name: "the limit that is used up", status: 429, header: h{"ratelimit": `"hour";r=0;t=1800, "day";r=10;t=50000`}, want: held(30*minute, "ratelimit")},
		{name: "two of them", status: 429, header: h{"ratelimit": `"hour";r=0;t=1800, "day";r=0;t=50000`}, want: held(50000*second, "ratelimit")},
		{name: "by its policy", status: 429, header: h{"ratelimit": `"hour";r=0`, "ratelimit-policy": `"day";q=9;w=86400, "hour";q=100;w=3600`}, want: held(hour, "ratelimit")},
		{name: "none is used up", status: 429, header: h{"ratelimit": `"hour";r=4;t=1800`}, want: guess},
		{name: "pairs", status: 429, header: h{"ratelimit": "limit=100, remaining=0, reset=50"}, want: held(50*second, "ratelimit")},
		{name: "pairs with something left", status: 429, header: h{"ratelimit": "limit=100, remaining=1, reset=50"}, want: guess},
		{name: "fields of their own", status: 429, header: h{"RateLimit-Limit": "100", "RateLimit-Remaining": "0", "RateLimit-Reset": "50"}, want: held(50*second, "ratelimit-reset")},
		{name: "the reset alone", status: 429, header: h{"RateLimit-Reset": "50"}, want: held(50*second, "ratelimit-reset")},
		{name: "Retry-After comes first", status: 429, header: h{"RateLimit-Remaining": "0", "RateLimit-Reset": "50", "retry-after": "5"}, want: want{kind: Throttle, retry: 5 * second}},
		{name: "X, an epoch", status: 429, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786552320"}, want: held(hour, "x-ratelimit-reset")},
		{name: "X, an epoch in milliseconds", status: 429, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786552320000"}, want: held(hour, "x-ratelimit-reset")},
		{name: "X, a delay", status: 429, header: h{"x-ratelimit-reset": "90"}, want: held(90*second, "x-ratelimit-reset")},
		{name: "X, a duration", status: 429, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1m30s"}, want: held(90*second, "x-ratelimit-reset")},
		{name: "X, a date", status: 429, header: h{"x-rate-limit-remaining": "0", "x-rate-limit-reset": "2026-08-12T16:32:00Z"}, want: held(hour, "x-rate-limit-reset")},
		{name: "Discord", status: 429, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset-after": "64.57"}, body: `{"message":"You are being rate limited.","retry_after":64.57,"global":false}`, want: held(64570*time.Millisecond, "retry_after")},
		{name: "something is left", status: 429, header: h{"x-ratelimit-remaining": "7", "x-ratelimit-reset": "1786552320"}, want: guess},
		{name: "of a success", status: 200, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786552320", "ratelimit": `"x";r=0;t=9`}, want: want{kind: Success}},
		{name: "not a list", status: 429, header: h{"ratelimit": `;;,"=;r=,t`}, want: guess},
	})
}

func TestTimesInBodies(t *testing.T) {
	held := func(d time.Duration, source string) want { return want{kind: Throttle, hold: d, source: source} }
	check(t, []row{
		{name: "retry_after", status: 429, body: `{"error":{"retry_after":40}}`, want: held(40*second, "error.retry_after")},
		{name: "retryAfter, a text with a unit", status: 429, body: `{"error":{"retryAfter":"2 minutes"}}`, want: held(2*minute, "error.retryAfter")},
		{name: "retry_after_ms", status: 429, body: `{"retry_after_ms":40000}`, want: held(40*second, "retry_after_ms")},
		{name: "retry_after_seconds", status: 429, body: `{"retry_after_seconds":40}`, want: held(40*second, "retry_after_seconds")},
		{name: "retryAfterMillis", status: 429, body: `{"retryAfterMillis":40000}`, want: held(40*second, "retryAfterMillis")},
		{name: "reset_time", status: 429, body: `{"error":{"reset_time":"2026-08-12T16:32:00Z"}}`, want: held(hour, "error.reset_time")},
		{name: "reset_at, milliseconds", status: 429, body: `{"error":{"reset_at":1786552320000}}`, want: held(hour, "error.reset_at")},
		{name: "a Duration of protobuf", status: 429, body: `{"error":{"code":429,"details":[{"retryDelay":{"seconds":"40","nanos":500000000}}]}}`, want: want{kind: Throttle, hold: 40500 * time.Millisecond, source: "error.details.retryDelay"}},
		{name: "Telegram", status: 429, body: `{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 35","parameters":{"retry_after":35}}`, want: held(35*second, "parameters.retry_after")},
		{
			name: "OpenRouter", status: 429, body: `{"error":{"message":"Rate limit exceeded: free-models-per-day","code":429,"metadata":{"headers":{"X-RateLimit-Limit":"50","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1786552320000"}}}}`,
			want: held(hour, "error.metadata.headers.X-RateLimit-Reset"),
		},
		{name: "a text", status: 429, body: "Rate limit reached, try again in 40 seconds\n", want: held(40*second, "body")},
		{name: "an error that is a text", status: 429, body: `{"error":"Too fast. Retry in 40s."}`, want: held(40*second, "body")},
		{name: "a date beside a delay", status: 429, body: `{"error":{"resets_in_seconds":40,"resets_at":1786548720}}`, want: held(40*second, "error.resets_in_seconds")},
		{name: "a page for people", status: 429, body: "<p>try again in 3 hours</p>", want: want{kind: Throttle, hold: minute, source: "status 429", guess: true}},
		{name: "of a success", status: 200, body: `{"retry_after":40,"message":"try again in 40 seconds"}`, want: want{kind: Success}},
	})
}

// What says with 400 or 403 that an account is used up or closed, and what only looks
// like it.
func TestOtherStatuses(t *testing.T) {
	anthropic := func(kind, message string) string {
		return fmt.Sprintf(`{"type":"error","error":{"type":%q,"message":%q}}`, kind, message)
	}
	google := func(reason, message string) string {
		return fmt.Sprintf(`{"error":{"errors":[{"domain":"usageLimits","reason":%q,"message":%q}],"code":403,"message":%q}}`, reason, message, message)
	}
	info := func(reason string) string {
		return fmt.Sprintf(`{"error":{"code":403,"status":"PERMISSION_DENIED","message":"m","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":%q}]}}`, reason)
	}
	spent := func(source string) want { return want{kind: Spent, hold: minute, source: source, guess: true} }
	fast := func(source string) want { return want{kind: Throttle, hold: minute, source: source, guess: true} }
	check(t, []row{
		{name: "Anthropic, no credit", status: 400, body: anthropic("invalid_request_error", "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits."), want: spent("error.message")},
		{name: "Anthropic, spend limit until a date", status: 400, body: anthropic("invalid_request_error", "You have reached your specified API usage limits. You will regain access on 2026-08-14 at 00:00 UTC."), want: want{kind: Spent, hold: 32*hour + 28*minute, source: "error.message"}},
		{name: "Anthropic, until a far date", status: 400, body: anthropic("invalid_request_error", "You have reached your specified workspace API usage limits. You will regain access on 2026-09-01 at 00:00 UTC."), want: want{kind: Spent, hold: 8 * day, source: "error.message", cut: true}},
		{name: "Anthropic, revoked", status: 403, body: anthropic("permission_error", "OAuth token has been revoked. Please obtain a new token."), want: spent("error.message")},
		{name: "Anthropic, organization", status: 403, body: anthropic("permission_error", "OAuth authentication is currently not allowed for this organization."), want: spent("error.message")},
		{name: "Anthropic, disabled", status: 400, body: anthropic("invalid_request_error", "This organization has been disabled."), want: spent("error.message")},
		{name: "OpenAI, quota", status: 403, body: `{"error":{"message":"m","type":"insufficient_quota","code":"insufficient_quota"}}`, want: spent("error.code")},
		{name: "OpenAI, hard limit", status: 400, body: `{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","code":"billing_hard_limit_reached"}}`, want: spent("error.code")},
		{name: "Groq", status: 400, body: `{"error":{"message":"Organization has been restricted. Please reach out to support.","type":"invalid_request_error","code":"organization_restricted"}}`, want: spent("error.code")},
		{name: "xAI, a new team", status: 403, body: `{"code":"The caller does not have permission to execute the specified operation","error":"Your newly created teams doesn't have any credits yet. You can purchase those on https://console.x.ai."}`, want: spent("body")},
		{name: "xAI", status: 403, body: `{"code":"The caller does not have permission to execute the specified operation","error":"Your team 12 has either used all available credits or reached its monthly spending limit."}`, want: spent("body")},
		{name: "OpenRouter", status: 403, body: `{"error":{"message":"Key limit exceeded (total limit). Manage it at https://x.example","code":403}}`, want: spent("error.message")},
		{name: "LiteLLM", status: 400, body: `{"error":{"message":"Budget has been exceeded!","type":"budget_exceeded","param":null,"code":"400"}}`, want: spent("error.type")},
		{name: "DashScope", status: 400, body: `{"code":"Arrearage","message":"Access denied, please make sure your account is in good standing."}`, want: spent("code")},
		{name: "Google, user", status: 403, body: google("userRateLimitExceeded", "User Rate Limit Exceeded"), want: fast("error.errors.reason")},
		{name: "Google, day", status: 403, body: google("dailyLimitExceeded", "Daily Limit Exceeded"), want: spent("error.errors.reason")},
		{name: "Google, billing", status: 403, body: info("BILLING_DISABLED"), want: spent("error.details.reason")},
		{name: "Google, validation", status: 403, body: info("VALIDATION_REQUIRED"), want: spent("error.details.reason")},
		{name: "Google, with a time", status: 403, body: `{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"RATE_LIMIT_EXCEEDED"},{"retryDelay":"40s"}]}}`, want: want{kind: Throttle, hold: 40 * second, source: "error.details.retryDelay"}},
		{name: "GitHub, words alone", status: 403, body: `{"message":"You have exceeded a secondary rate limit. Please wait a few minutes before you try again.","documentation_url":"d"}`, want: fast("message")},
		{name: "GitHub, with a time", status: 403, header: h{"retry-after": "60"}, body: `{"message":"You have exceeded a secondary rate limit."}`, want: want{kind: Throttle, hold: minute, source: "retry-after"}},
		{name: "Azure", status: 403, body: `{"statusCode":403,"message":"Out of call volume quota. Quota will be replenished in 08:56:31."}`, want: want{kind: Spent, hold: 8*hour + 56*minute + 31*second, source: "message"}},
		{name: "AWS", status: 400, body: `{"__type":"com.amazon.coral.availability#ThrottlingException","message":"Rate exceeded"}`, want: fast("__type")},
		{name: "in a stream", status: 200, body: "event: error\ndata: " + anthropic("invalid_request_error", "Your credit balance is too low to access the API.") + "\n\n", want: spent("error.message")},

		{name: "a policy", status: 403, body: google("insufficientPermissions", "Insufficient Permission"), want: want{kind: Policy}},
		{name: "not allowed", status: 403, body: info("IAM_PERMISSION_DENIED"), want: want{kind: Policy}},
		{name: "the request", status: 400, body: anthropic("invalid_request_error", "messages.0.content: Field required"), want: want{kind: Request}},
		{name: "the request quotes one", status: 400, body: anthropic("invalid_request_error", "messages.0: \"Your credit balance is too low\" is not a role"), want: want{kind: Request}},
		{name: "too long", status: 400, body: `{"error":{"message":"This model's maximum context length is 8192 tokens.","type":"invalid_request_error","code":"context_length_exceeded"}}`, want: want{kind: Request}},
		{name: "a model that isn't theirs", status: 403, body: `{"error":{"message":"Project does not have access to model x","type":"invalid_request_error","code":"model_not_found"}}`, want: want{kind: Policy}},
		{name: "the country", status: 403, body: `{"error":{"code":"unsupported_country_region_territory","message":"Country, region, or territory not supported","type":"request_forbidden"}}`, want: want{kind: Policy}},
		{name: "scope", status: 403, body: anthropic("permission_error", "OAuth token does not meet scope requirement user:profile"), want: want{kind: Policy}},
		{name: "too large, by a limit's name", status: 413, body: `{"error":{"message":"Request too large for model","type":"tokens","code":"rate_limit_exceeded"}}`, want: want{kind: Request}},
		{name: "not found", status: 404, body: anthropic("not_found_error", "Your credit balance is too low"), want: want{kind: Request}},
		{name: "a page", status: 403, body: "<html>rate limit exceeded</html>", want: want{kind: Policy}},
		{name: "a model wrote it", status: 200, body: `{"content":[{"text":"Your credit balance is too low"}],"message":"Your credit balance is too low"}`, want: want{kind: Success}},
	})
}

// However a wait is written, and whatever else is beside it, the account is left alone
// for that long at least, up to the caps.
func TestNeverShorterThanSaid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		wait := time.Duration(rapid.Int64Range(11e9, int64(20*time.Hour)).Draw(t, "wait"))
		seconds := strconv.FormatFloat(wait.Seconds(), 'f', -1, 64)
		end := now.Add(wait)
		up := end.Add(time.Second - 1).Truncate(time.Second) // of a form that has whole seconds
		whole := strconv.FormatInt(int64(up.Sub(now)/time.Second), 10)
		name, body := "x-other", ""
		value := "1"
		switch form := rapid.IntRange(0, 15).Draw(t, "form"); form {
		case 0:
			name, value = "retry-after", seconds
		case 1:
			name, value = "retry-after", wait.String()
		case 2:
			name, value = "retry-after", up.Format("Mon, 02 Jan 2006 15:04:05 GMT")
		case 3:
			name, value = "retry-after", "5, "+whole+", 7"
		case 4:
			name, value = "retry-after", strconv.FormatInt(up.Unix(), 10)
		case 5:
			name, value = "retry-after", strconv.FormatInt(up.UnixMilli(), 10)
		case 6:
			name, value = "retry-after", end.Format(time.RFC3339Nano)
		case 7:
			name, value = "ratelimit", `"a";r=0;t=`+whole+`, "b";r=0;t=3`
		case 8:
			name, value = "x-ratelimit-reset", strconv.FormatInt(up.Unix(), 10)
		case 9:
			body = `{"error":{"retry_after":` + seconds + `}}`
		case 10:
			body = `{"error":{"resets_at":` + strconv.FormatInt(up.UnixMilli(), 10) + `,"resets_in_seconds":2}}`
		case 11:
			body = `{"error":{"message":"Please try again in ` + wait.String() + `."}}`
		case 12:
			body = `{"error":{"message":"You will regain access on ` + up.UTC().Format("2006-01-02 at 15:04:05 UTC") + `."}}`
		case 13:
			body = `{"error":{"details":[{"retryDelay":"` + seconds + `s"}]}}`
		case 14:
			body = `{"retryAfterMs":` + strconv.FormatInt(int64((wait+time.Millisecond-1)/time.Millisecond), 10) + `}`
		default:
			h, m, s := int(up.Sub(now)/hour), int(up.Sub(now)/minute)%60, int(up.Sub(now)/second)%60
			body = fmt.Sprintf(`{"error":{"message":"It resets in %d hours, %d minutes and %d seconds."}}`, h, m, s)
		}
		v := Judge(Response{Status: 429, Header: h{name: value}.list(), Body: []byte(body), Attempt: 1, ThrottleMax: 10 * time.Second, Now: now})
		if v.Until.Before(end) || v.Until.Sub(end) > time.Second || !v.Proven {
			t.Fatalf("%s: %s %s: %v until %v, said %v", name, value, body, v.Proven, v.Until, end)
		}
	})
}
