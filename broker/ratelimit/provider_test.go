package ratelimit

import (
	"reflect"
	"testing"
	"time"
)

func TestAnthropicSubscription(t *testing.T) {
	const rateLimited = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again later."}}`
	check(t, []row{
		{
			name: "full but allowed is a success", status: 200,
			header: h{unified + "status": "allowed_warning", unified + "5h-status": "allowed_warning", unified + "5h-utilization": "1.02", unified + "5h-reset": "1786552320"},
			want:   want{kind: Success},
		},
		{
			name: "served beyond a rejected window is a success", status: 200,
			header: h{unified + "status": "allowed", unified + "5h-status": "rejected", unified + "5h-reset": "1786552320", unified + "overage-status": "allowed"},
			want:   want{kind: Success},
		},
		{
			name: "five hours spent", status: 429, body: rateLimited,
			header: h{
				unified + "status": "rejected", unified + "reset": "1786561982", unified + "representative-claim": "five_hour",
				unified + "5h-status": "rejected", unified + "5h-utilization": "1.08", unified + "5h-reset": "1786561982",
				unified + "7d-status": "allowed", unified + "7d-utilization": "0.25", unified + "7d-reset": "1786989600",
				unified + "fallback-percentage": "0.5", unified + "overage-disabled-reason": "org_level_disabled", "retry-after": "13262",
			},
			want: want{kind: Spent, hold: 13262 * second, source: unified + "5h-reset"},
		},
		{
			name: "both windows spent: the later one", status: 429,
			header: h{
				unified + "5h-status": "rejected", unified + "5h-reset": "1786552320",
				unified + "7d-status": "rejected", unified + "7d-reset": "1786721520",
			},
			want: want{kind: Spent, hold: 2 * day, source: unified + "7d-reset"},
		},
		{
			name: "a weekly Retry-After does not outlast the window that rejects", status: 429,
			header: h{unified + "5h-status": "rejected", unified + "5h-reset": "1786552320", unified + "7d-status": "allowed", "retry-after": "500000"},
			want:   want{kind: Spent, hold: hour, source: unified + "5h-reset"},
		},
		{
			name: "one model's week", status: 429,
			header: h{
				unified + "status": "rejected", unified + "representative-claim": "seven_day_overage_included",
				unified + "5h-status": "allowed", unified + "5h-utilization": "0.00",
				unified + "7d-status": "allowed", unified + "7d-utilization": "0.69",
				unified + "7d_oi-status": "rejected", unified + "7d_oi-utilization": "1.02", unified + "7d_oi-reset": "1786635120",
				"retry-after": "86400",
			},
			want: want{kind: Spent, hold: day, scope: model, source: unified + "7d_oi-reset"},
		},
		{
			name: "one model's week without its reset", status: 429,
			header: h{
				unified + "status": "rejected", unified + "5h-status": "allowed", unified + "7d-status": "allowed_warning",
				unified + "7d_oi-status": "rejected", "retry-after": "120",
			},
			want: want{kind: Spent, hold: 2 * minute, scope: model, source: "retry-after"},
		},
		{
			name: "one model's week and five hours: the account's comes first", status: 429,
			header: h{
				unified + "5h-status": "rejected", unified + "5h-reset": "1786552320",
				unified + "7d_opus-status": "rejected", unified + "7d_opus-reset": "1786989600",
			},
			want: want{kind: Spent, hold: hour, source: unified + "5h-reset"},
		},
		{
			name: "the sum alone", status: 429,
			header: h{unified + "status": "rejected", unified + "reset": "1786552320", unified + "representative-claim": "seven_day"},
			want:   want{kind: Spent, hold: hour, source: unified + "reset"},
		},
		{
			name: "the sum alone, of one model", status: 429,
			header: h{unified + "status": "rejected", unified + "reset": "1786552320", unified + "representative-claim": "seven_day_opus"},
			want:   want{kind: Spent, hold: hour, scope: model, source: unified + "reset"},
		},
		{
			name: "the sum without a time", status: 429, header: h{unified + "status": "rejected"},
			want: want{kind: Spent, hold: minute, source: unified + "status", guess: true},
		},
		{
			name: "out of credits, no time", status: 429,
			header: h{unified + "overage-disabled-reason": "out_of_credits", "x-should-retry": "true"},
			want:   want{kind: Spent, hold: minute, scope: model, source: unified + "overage-disabled-reason", guess: true},
		},
		{
			name: "out of credits while the windows are free", status: 429,
			header: h{
				unified + "status": "rejected", unified + "reset": "1786552320", unified + "overage-disabled-reason": "out_of_credits",
				unified + "5h-status": "allowed", unified + "7d-status": "allowed",
			},
			want: want{kind: Spent, hold: hour, scope: model, source: unified + "reset"},
		},
		{
			name: "out of credits, but only too fast", status: 429,
			header: h{unified + "status": "allowed", unified + "overage-disabled-reason": "out_of_credits", "retry-after": "4"},
			want:   want{kind: Throttle, retry: 4 * second},
		},
		{
			name: "a model that needs credits, with the month's reset", status: 429,
			header: h{unified + "status": "rejected", unified + "reset": "1789054320", unified + "5h-status": "allowed", unified + "7d-status": "allowed"},
			body:   `{"type":"error","error":{"type":"rate_limit_error","message":"…","details":{"error_code":"credits_required"}}}`,
			want:   want{kind: Spent, hold: 8 * day, scope: model, source: unified + "reset", cut: true},
		},
		{
			name: "too fast, by words of the body only", status: 429, body: rateLimited,
			header: h{unified + "status": "allowed", unified + "5h-status": "allowed"},
			want:   want{kind: Throttle, hold: minute, source: "error.type", guess: true},
		},
		{
			name: "a reset gone by", status: 429,
			header: h{unified + "5h-status": "rejected", unified + "5h-reset": "1786540000"},
			want:   want{kind: Spent, hold: minute, source: unified + "5h-status", guess: true},
		},
		{
			name: "a reset in milliseconds", status: 429,
			header: h{unified + "5h-status": "rejected", unified + "5h-reset": "1786552320000", "retry-after": "600"},
			want:   want{kind: Spent, hold: hour, source: unified + "5h-reset"},
		},
		{
			name: "a reset by a server's clock that is two hours ahead", status: 429,
			header: h{"date": "Wed, 12 Aug 2026 17:32:00 GMT", unified + "5h-status": "rejected", unified + "5h-reset": "1786559520"},
			want:   want{kind: Spent, hold: hour, source: unified + "5h-reset"},
		},
	})
}

func TestAnthropicKey(t *testing.T) {
	check(t, []row{
		{
			name: "the bucket that is empty, not the one that is full later", status: 429,
			header: h{
				bucket + "requests-limit": "50", bucket + "requests-remaining": "49", bucket + "requests-reset": "2026-08-12T15:33:00Z",
				bucket + "input-tokens-limit": "30000", bucket + "input-tokens-remaining": "0", bucket + "input-tokens-reset": "2026-08-12T15:32:08Z",
			},
			want: want{kind: Throttle, retry: 8 * second},
		},
		{
			name: "a longer refill", status: 429,
			header: h{bucket + "requests-remaining": "0", bucket + "requests-reset": "2026-08-12T15:32:08Z", bucket + "output-tokens-remaining": "0", bucket + "output-tokens-reset": "2026-08-12T17:33:00+02:00"},
			want:   want{kind: Throttle, hold: minute, source: bucket + "output-tokens-reset"},
		},
		{
			name: "Retry-After before the buckets", status: 429,
			header: h{bucket + "tokens-remaining": "0", bucket + "tokens-reset": "2026-08-12T15:33:00Z", "retry-after": "3"},
			want:   want{kind: Throttle, retry: 3 * second},
		},
		{
			name: "an empty bucket of a success", status: 200,
			header: h{bucket + "requests-remaining": "0", bucket + "requests-reset": "2026-08-12T15:33:00Z"},
			want:   want{kind: Success},
		},
		{
			name: "a reset that is no time", status: 429, header: h{bucket + "requests-remaining": "0", bucket + "requests-reset": "soon"},
			want: want{kind: Throttle, hold: minute, source: bucket + "requests-remaining", guess: true},
		},
	})
}

func TestOpenAI(t *testing.T) {
	check(t, []row{
		{name: "12ms", status: 429, header: h{"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "12ms"}, want: want{kind: Throttle, retry: 12 * time.Millisecond}},
		{name: "6s", status: 429, header: h{"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "6s"}, want: want{kind: Throttle, retry: 6 * second}},
		{name: "1m30s", status: 429, header: h{"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "1m30s"}, want: want{kind: Throttle, hold: 90 * second, source: "x-ratelimit-reset-tokens"}},
		{name: "plain seconds", status: 429, header: h{"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9"}, want: want{kind: Throttle, retry: 9 * second}},
		{name: "too many days", status: 429, header: h{"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "300h"}, want: want{kind: Throttle, hold: 8 * day, source: "x-ratelimit-reset-tokens", cut: true}},
		{name: "a duration beyond all bounds", status: 429, header: h{"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "9999999999h"}, want: want{kind: Throttle, hold: minute, source: "x-ratelimit-remaining-tokens", guess: true}},
		{
			name: "too fast, said to people", status: 429,
			body: `{"error":{"message":"Rate limit reached for organization org-x on tokens per min (TPM): Limit 250000, Used 250000, Requested 149514. Please try again in 35.883s. Visit …","type":"tokens","param":null,"code":"rate_limit_exceeded"}}`,
			want: want{kind: Throttle, hold: 35883 * time.Millisecond, source: "error.message"},
		},
		{
			name: "too fast, said in words", status: 429,
			body: `{"error":{"code":"429","message":"Rate limit is exceeded. Try again in 7 seconds."}}`,
			want: want{kind: Throttle, retry: 7 * second},
		},
		{
			name: "no money left", status: 429,
			body: `{"error":{"message":"You exceeded your current quota, please check your plan and billing details.","type":"insufficient_quota","param":null,"code":"insufficient_quota"}}`,
			want: want{kind: Spent, hold: minute, source: "error.code", guess: true},
		},
		{
			name: "no money left, and a short wait that would not help", status: 429, header: h{"retry-after": "2"},
			body: `{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}`,
			want: want{kind: Spent, hold: 2 * second, source: "retry-after"},
		},
		{
			name: "a plan's limit", status: 429,
			body: `{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"free","resets_at":1787151425,"resets_in_seconds":602705}}`,
			want: want{kind: Spent, hold: 602705 * second, source: "error.resets_in_seconds"},
		},
		{
			name: "a plan's limit by date alone", status: 429, header: h{"date": "Wed, 12 Aug 2026 15:30:00 GMT"},
			body: `{"error":{"type":"usage_limit_reached","resets_at":1786552320}}`,
			want: want{kind: Spent, hold: 62 * minute, source: "error.resets_at"},
		},
		{
			name: "a plan's limit, with its windows", status: 429,
			header: h{
				"X-Codex-Active-Limit": "premium", "X-Codex-Plan-Type": "plus",
				"X-Codex-Primary-Used-Percent": "100", "X-Codex-Primary-Window-Minutes": "300", "X-Codex-Primary-Reset-After-Seconds": "13873", "X-Codex-Primary-Reset-At": "1786562593",
				"X-Codex-Secondary-Used-Percent": "80", "X-Codex-Secondary-Window-Minutes": "10080", "X-Codex-Secondary-Reset-After-Seconds": "316705",
				"X-Codex-Primary-Over-Secondary-Limit-Percent": "0", "X-Codex-Credits-Has-Credits": "False",
			},
			body: `{"type":"error","error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":1786562592,"eligible_promo":null,"resets_in_seconds":13872},"status_code":429}`,
			want: want{kind: Spent, hold: 13873 * second, source: "x-codex-primary-reset-after-seconds"},
		},
		{
			name: "a full window by date alone, the other slot not in use", status: 429,
			header: h{
				"date":                         "Wed, 12 Aug 2026 15:32:00 GMT",
				"x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "10080", "x-codex-primary-reset-at": "1786894320",
				"x-codex-secondary-used-percent": "0", "x-codex-secondary-window-minutes": "0", "x-codex-secondary-reset-after-seconds": "0", "x-codex-secondary-reset-at": "",
			},
			want: want{kind: Spent, hold: 4 * day, source: "x-codex-primary-reset-at"},
		},
		{
			name: "a full window without a time", status: 429, header: h{"x-codex-primary-used-percent": "100"},
			want: want{kind: Spent, hold: minute, source: "x-codex-primary-used-percent", guess: true},
		},
		{
			name: "too fast, with a window at 99 percent", status: 429,
			header: h{"x-codex-primary-used-percent": "99", "x-codex-primary-window-minutes": "300", "x-codex-primary-reset-after-seconds": "13873", "retry-after": "2"},
			want:   want{kind: Throttle, retry: 2 * second},
		},
		{
			name: "a full window of a success", status: 200,
			header: h{"x-codex-primary-used-percent": "100", "x-codex-primary-window-minutes": "300", "x-codex-primary-reset-after-seconds": "13873"},
			want:   want{kind: Success},
		},
	})
}

func TestGoogle(t *testing.T) {
	check(t, []row{
		{
			name: "days until the quota is back", status: 429,
			body: `{ "error": { "code": 429, "message": "Individual quota reached. Contact your administrator to enable overages. Resets in 108h48m29s.", "status": "RESOURCE_EXHAUSTED", "details": [ { "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "QUOTA_EXHAUSTED", "domain": "cloudcode-pa.googleapis.com", "metadata": { "uiMessage": "true", "model": "gemini-3.5-flash-low", "quotaResetDelay": "108h48m20.79s", "quotaResetTimeStamp": "2026-08-17T04:20:20Z" } }, { "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "391609.79s" } ] } }`,
			want: want{kind: Spent, hold: 108*hour + 48*minute + 29*second, scope: model, source: "error.message"},
		},
		{
			name: "two seconds until the quota is back is no throttle", status: 429,
			body: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"QUOTA_EXHAUSTED","metadata":{"quotaResetDelay":"2.463586755s","model":"gemini-3-pro-high"}},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"2.463586755s"}]}}`,
			want: want{kind: Spent, hold: 2463586755, scope: model, source: "error.details.metadata.quotaResetDelay"},
		},
		{
			name: "by date alone", status: 429,
			body: `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"reason":"QUOTA_EXHAUSTED","metadata":{"quotaResetTimeStamp":"2026-08-12T16:32:00Z"}}]}}`,
			want: want{kind: Spent, hold: hour, source: "error.details.metadata.quotaResetTimeStamp"},
		},
		{
			name: "by RetryInfo alone", status: 429,
			body: `{"error":{"status":"RESOURCE_EXHAUSTED","details":[{"reason":"QUOTA_EXHAUSTED"},{"retryDelay":"391609.79s"}]}}`,
			want: want{kind: Spent, hold: 391609790 * time.Millisecond, source: "error.details.retryDelay"},
		},
		{
			name: "said to people alone", status: 429,
			body: `{"error":{"code":429,"message":"You have exhausted your capacity on this model. Your quota will reset after 1h2m.","status":"RESOURCE_EXHAUSTED","details":[{"reason":"QUOTA_EXHAUSTED"}]}}`,
			want: want{kind: Spent, hold: 62 * minute, source: "error.message"},
		},
		{
			name: "too fast", status: 429,
			body: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"RATE_LIMIT_EXCEEDED"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"3.9s"}]}}`,
			want: want{kind: Throttle, retry: 3900 * time.Millisecond},
		},
		{
			name: "one model's quota per minute", status: 429,
			body: `{"error":{"code":429,"message":"You exceeded your current quota. Please retry in 53.016342224s.","status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":"GenerateContentPaidTierInputTokensPerModelPerMinute","quotaDimensions":{"location":"global","model":"gemini-2.5-pro"}}]},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"53s"}]}}`,
			want: want{kind: Throttle, hold: 53016342224, scope: model, source: "error.message"},
		},
		{
			name: "nothing but the name", status: 429,
			body: `{"error":{"code":429,"message":"Resource has been exhausted (e.g. check quota).","status":"RESOURCE_EXHAUSTED"}}`,
			want: want{kind: Throttle, hold: minute, source: "error.status", guess: true},
		},
		{
			name: "unavailable", status: 503, body: `{"error":{"code":503,"status":"UNAVAILABLE"}}`,
			want: want{kind: Overload, retry: second},
		},
	})
}

func TestGitHub(t *testing.T) {
	const request = "x-github-request-id"
	check(t, []row{
		{
			name: "the hour is used up", status: 403, header: h{request: "0:1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786549920"},
			want: want{kind: Spent, hold: 20 * minute, source: "x-ratelimit-reset"},
		},
		{
			name: "the hour is used up, with 429", status: 429, header: h{request: "0:1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786549920"},
			want: want{kind: Spent, hold: 20 * minute, source: "x-ratelimit-reset"},
		},
		{
			name: "the hour is used up, no time", status: 403, header: h{request: "0:1", "x-ratelimit-remaining": "0"},
			want: want{kind: Spent, hold: minute, source: "x-ratelimit-remaining", guess: true},
		},
		{
			name: "too fast", status: 403, header: h{request: "0:1", "x-ratelimit-remaining": "4000", "retry-after": "60"},
			want: want{kind: Throttle, hold: minute, source: "retry-after"},
		},
		{
			name: "not allowed", status: 403, header: h{request: "0:1", "x-ratelimit-remaining": "4000", "x-ratelimit-reset": "1786549920"},
			want: want{kind: Policy},
		},
		{
			name: "the last request of the hour", status: 200, header: h{request: "0:1", "x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786549920"},
			want: want{kind: Success},
		},
		{
			name: "somebody else's header of the same name", status: 403, header: h{"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1786549920"},
			want: want{kind: Policy},
		},
	})
}

// A limit that arrives inside a 200 has to be found, and what a model wrote must
// not be taken for one.
func TestErrorInsideASuccess(t *testing.T) {
	allowed := h{
		"content-type": "text/event-stream; charset=utf-8", unified + "status": "allowed", unified + "reset": "1786553400",
		unified + "5h-status": "allowed", unified + "5h-reset": "1786553400", unified + "5h-utilization": "0.33",
		unified + "representative-claim": "five_hour", unified + "overage-status": "rejected", unified + "overage-disabled-reason": "org_level_disabled",
	}
	const begin = "event: message_start\r\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\"}}\r\n\r\n"
	check(t, []row{
		{
			name: "Anthropic, overloaded", status: 200, header: allowed,
			body: "event: error\ndata: {\"type\":\"error\",\"error\":{\"details\":null,\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
			want: want{kind: Overload, retry: second},
		},
		{
			name: "Anthropic, too fast after a beginning", status: 200, header: allowed,
			body: begin + "event: error\r\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\r\n\r\n",
			want: want{kind: Throttle, hold: minute, source: "error.type", guess: true},
		},
		{
			name: "Anthropic, refused token", status: 200, body: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"authentication_error\"}}\n\n",
			want: want{kind: Auth},
		},
		{
			name: "Anthropic, an error that says nothing of the account", status: 200, body: "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\"}}\n\n",
			want: want{kind: Other},
		},
		{
			name: "OpenAI, a failed response", status: 200,
			body: "event: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"id\":\"resp_1\",\"error\":{\"code\":\"rate_limit_exceeded\",\"message\":\"Rate limit reached. Please try again in 1.898s.\"}}}\n\n",
			want: want{kind: Throttle, retry: 1898 * time.Millisecond},
		},
		{
			name: "OpenAI, an error event", status: 200,
			body: "event: error\ndata: {\"type\":\"error\",\"code\":\"server_is_overloaded\",\"message\":\"…\",\"param\":null}\n\n",
			want: want{kind: Overload, retry: second},
		},
		{
			name: "OpenAI, a plan's limit", status: 200,
			body: "data: {\"type\":\"error\",\"error\":{\"type\":\"usage_limit_reached\",\"resets_in_seconds\":3600}}\n\n",
			want: want{kind: Spent, hold: hour, source: "error.resets_in_seconds"},
		},
		{
			name: "a chat completion, by code alone, without an end", status: 200,
			body: `data: {"error":{"message":"rate limited","code":"rate_limit_exceeded"}}`,
			want: want{kind: Throttle, hold: minute, source: "error.code", guess: true},
		},
		{
			name: "Google, a number alone", status: 200, body: `[{"candidates":[]},{"error":{"code":429}}]`,
			want: want{kind: Throttle, hold: minute, source: "error.code", guess: true},
		},
		{
			name: "data over several lines", status: 200, body: "data: {\"error\":\ndata: {\"code\":\"insufficient_quota\"}}\n\n",
			want: want{kind: Spent, hold: minute, source: "error.code", guess: true},
		},
		{
			name: "a note on limits while the answer goes on", status: 200,
			body: "event: codex.rate_limits\ndata: {\"type\":\"codex.rate_limits\",\"rate_limits\":{\"limit_reached\":true,\"primary\":{\"used_percent\":100}},\"error\":null}\n\n",
			want: want{kind: Success},
		},
		{
			name: "a model that quotes an error", status: 200,
			body: `data: {"type":"content_block_delta","delta":{"text":"data: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}","error":{"type":"rate_limit_error"}}}` + "\n\n",
			want: want{kind: Success},
		},
		{name: "a response that says it has no error", status: 200, body: `{"id":"resp_1","status":"completed","error":null}`, want: want{kind: Success}},
		{name: "a torn event", status: 200, body: "event: error\ndata: {\"type\":\"error\",\"err", want: want{kind: Success}},
		{name: "fields of other types", status: 429, body: `{"error":{"type":7,"code":[],"message":{},"details":"none","resets_at":"never","resets_in_seconds":null}}`, want: want{kind: Throttle, hold: minute, source: "status 429", guess: true}},
		{name: "an error that is a text", status: 429, body: `{"error":"slow down"}`, want: want{kind: Throttle, hold: minute, source: "status 429", guess: true}},
		{name: "a page for people", status: 429, body: "<html><title>429</title></html>", want: want{kind: Throttle, hold: minute, source: "status 429", guess: true}},
	})
}

func TestUsage(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		header h
		want   []Window
	}{
		{
			name: "a subscription, by a server's clock that is one second behind", status: 200,
			header: h{
				"date":                   "Wed, 12 Aug 2026 15:31:59 GMT",
				unified + "7d_oi-status": "allowed", unified + "7d_oi-utilization": "1.02",
				unified + "7d-status": "allowed", unified + "7d-utilization": "0.54", unified + "7d-reset": "1786989600",
				unified + "5h-status": "allowed", unified + "5h-utilization": "0.33", unified + "5h-reset": "1786553400",
				unified + "overage-status": "rejected", unified + "overage-utilization": "0.5",
			},
			want: []Window{
				{Window: "5h", Used: 0.33, ResetsAt: time.Unix(1786553401, 0)},
				{Window: "7d", Used: 0.54, ResetsAt: time.Unix(1786989601, 0)},
				{Window: "7d_oi", Used: 1.02},
			},
		},
		{
			name: "a limit states it as well", status: 429,
			header: h{unified + "5h-status": "rejected", unified + "5h-utilization": "1.08", unified + "5h-reset": "1786553400"},
			want:   []Window{{Window: "5h", Used: 1.08, ResetsAt: time.Unix(1786553400, 0)}},
		},
		{
			name: "a plan, by length and not by slot", status: 200,
			header: h{
				"x-codex-primary-used-percent": "42", "x-codex-primary-window-minutes": "10080", "x-codex-primary-reset-after-seconds": "60",
				"x-codex-secondary-used-percent": "7.5", "x-codex-secondary-window-minutes": "300",
			},
			want: []Window{{Window: "5h", Used: 0.075}, {Window: "7d", Used: 0.42, ResetsAt: now.Add(minute)}},
		},
		{
			name: "other lengths", status: 200,
			header: h{
				"x-codex-primary-used-percent": "0", "x-codex-primary-window-minutes": "90",
				"x-codex-secondary-used-percent": "0", "x-codex-secondary-window-minutes": "short",
			},
			want: []Window{{Window: "90m"}, {Window: "secondary"}},
		},
		{
			name: "what is no share", status: 200,
			header: h{
				unified + "5h-utilization": "NaN", unified + "7d-utilization": "-0.1", unified + "7d_opus-utilization": "Inf",
				unified + "-utilization": "0.5", "x-codex-primary-used-percent": "a lot",
			},
		},
	} {
		t.Run(row.name, func(t *testing.T) {
			got := Judge(Response{Status: row.status, Header: row.header.list(), Now: now}).Usage
			for i := range got {
				got[i].ResetsAt = got[i].ResetsAt.UTC()
			}
			for i := range row.want {
				row.want[i].ResetsAt = row.want[i].ResetsAt.UTC()
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("\n got %v\nwant %v", got, row.want)
			}
		})
	}
}
