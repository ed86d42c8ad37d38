package ratelimit

import (
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// broken returns which promise of Verdict's v breaks, empty for none.
func broken(r Response, v Verdict) string {
	ahead := v.Until.Sub(r.Now)
	switch {
	case v.Held() && v.Retry():
		return "both a hold and a wait"
	case v.Held() && ahead <= 0:
		return "a hold in the past"
	case ahead > WindowCap:
		return "a hold beyond every cap"
	case v.Held() && strings.HasPrefix(v.Source, "retry-after") && ahead > RetryAfterCap:
		return "a hold beyond the cap of Retry-After"
	case v.Held() && !v.Proven && ahead != FirstGuess:
		return "a guess of another length"
	case v.Cut && (!v.Proven || ahead != WindowCap && ahead != RetryAfterCap):
		return "cut, but not to a cap"
	case v.Held() != (v.Scope != ""), v.Held() != (v.Source != ""):
		return "scope and source without a hold, or a hold without them"
	case v.Held() && v.Scope != AllScopes && v.Scope != r.HoldScope:
		return "a scope that nobody named"
	case v.Proven && !v.Held():
		return "proven, but no hold"
	case v.RetryAfter < 0, v.RetryAfter > max(r.ThrottleMax, maxBackoff):
		return "a wait out of bounds"
	case v.RetryAfter > 0 != (v.Kind == Overload || v.Kind == Throttle && !v.Held()):
		return "a wait of another kind, or none"
	case v.Held() && v.Kind != Spent && v.Kind != Throttle, v.Kind == Spent && !v.Held():
		return "a hold of another kind, or none"
	case r.Status >= 200 && r.Status < 300 && len(r.Body) == 0 && v.Kind != Success:
		return "a success is none"
	}
	for i, w := range v.Usage {
		switch {
		case w.Window == "", math.IsNaN(w.Used), math.IsInf(w.Used, 0), w.Used < 0:
			return "usage that is no share"
		case i > 0 && v.Usage[i-1].Window > w.Window:
			return "usage out of order"
		case !w.ResetsAt.IsZero() && !w.ResetsAt.After(r.Now):
			return "a window that ended"
		}
	}
	return ""
}

var (
	values = []string{
		"", "0", "1", "5", "9.5", "30", "90000", "999999999", "1e18", "1e308", "-1", "NaN", "Inf", "-Inf", "0x1p4", "junk",
		"100", "300", "10080", "allowed", "allowed_warning", "rejected", "five_hour", "seven_day_opus", "out_of_credits",
		"1786548719", "1786552320", "1786989600", "1999999999", "9999999999", "1786552320000", "9223372036854775807",
		"12ms", "6s", "1m30s", "108h48m20.79s", "-3s", "9999999h", "2026-08-12T15:33:00Z", "2019-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z",
		"1 hour 30 minutes", "30, 3600", "\"a\";r=0;t=50", "08:56:31", "PT1H", "Wed, 12 Aug 2026 15:40:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Mon, 01 Jan 0001 00:00:00 GMT",
	}
	names = []string{
		"Date", "Retry-After", "Retry-After-Ms", "X-Github-Request-Id", "Ratelimit", "Ratelimit-Policy", "Ratelimit-Reset", "X-Ratelimit-Reset-After", "X-Ratelimit-Remaining", "X-Ratelimit-Reset",
		"X-Ratelimit-Remaining-Requests", "X-Ratelimit-Reset-Requests", "X-Ratelimit-Remaining-Tokens", "X-Ratelimit-Reset-Tokens",
		"X-Codex-Primary-Used-Percent", "X-Codex-Primary-Window-Minutes", "X-Codex-Primary-Reset-After-Seconds", "X-Codex-Primary-Reset-At",
		"X-Codex-Secondary-Used-Percent", "X-Codex-Secondary-Reset-At",
		"Anthropic-Ratelimit-Requests-Remaining", "Anthropic-Ratelimit-Requests-Reset",
		"Anthropic-Ratelimit-Unified-Status", "Anthropic-Ratelimit-Unified-Reset", "Anthropic-Ratelimit-Unified-Representative-Claim",
		"Anthropic-Ratelimit-Unified-5h-Status", "Anthropic-Ratelimit-Unified-5h-Reset", "Anthropic-Ratelimit-Unified-5h-Utilization",
		"Anthropic-Ratelimit-Unified-7d-Status", "Anthropic-Ratelimit-Unified-7d-Reset",
		"Anthropic-Ratelimit-Unified-7d_opus-Status", "Anthropic-Ratelimit-Unified-7d_opus-Reset", "Anthropic-Ratelimit-Unified-Overage-Disabled-Reason",
	}
	bodies = []string{
		`{"error":{"retry_after":"1 hour 30 minutes","reset_at":1786552320000}}`, `{"message":"Resets in 2 days; you will regain access on 2026-09-01 at 00:00 UTC.","retryAfterMs":5}`,
		"", "{}", "[]", "null", "{", "data: ", "rate limited",
		`{"type":"error","error":{"type":"rate_limit_error"}}`, `{"type":"error","error":{"type":"overloaded_error"}}`,
		`{"type":"error","error":{"type":"rate_limit_error","details":{"error_code":"credits_required"}}}`,
		`{"error":{"type":"usage_limit_reached","resets_at":1786552320}}`, `{"error":{"type":"usage_limit_reached","resets_in_seconds":-5}}`,
		`{"error":{"type":"usage_limit_reached","resets_at":1e300,"resets_in_seconds":"1e300"}}`,
		`{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"Resets in 999999h.","details":[{"reason":"QUOTA_EXHAUSTED","metadata":{"model":"m","quotaResetDelay":"999h"}}]}}`,
		`{"error":{"code":503,"details":[{"retryDelay":"999s"}]}}`, `[{},{"error":{"code":401}}]`,
		"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\"}}\n\n",
		"data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"insufficient_quota\",\"message\":\"Try again in 3 hours\"}}}\n\n",
	}
)

func response(t *rapid.T) Response {
	value := rapid.SampledFrom(values)
	return Response{
		Status:      rapid.SampledFrom([]int{0, 200, 204, 302, 400, 401, 402, 403, 404, 429, 429, 429, 500, 503, 529, 999, -1}).Draw(t, "status"),
		Header:      rapid.MapOf(rapid.SampledFrom(names), rapid.SliceOfN(value, 0, 2)).Draw(t, "header"),
		Body:        []byte(rapid.SampledFrom(bodies).Draw(t, "body")),
		HoldScope:   rapid.SampledFrom([]string{"", model}).Draw(t, "scope"),
		Attempt:     rapid.SampledFrom([]int{math.MinInt, 0, 1, 2, 3, 4, 10, math.MaxInt}).Draw(t, "attempt"),
		ThrottleMax: rapid.SampledFrom([]time.Duration{-1, 0, 10 * time.Second, 48 * time.Hour}).Draw(t, "throttle_max"),
		Now:         now.Add(time.Duration(rapid.Int64Range(-1e18, 1e18).Draw(t, "now"))),
	}
}

func TestVerdictKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := response(t)
		if v := Judge(r); broken(r, v) != "" {
			t.Fatalf("%s: %+v", broken(r, v), v)
		}
	})
}

func TestOtherHeadersChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := response(t)
		before := Judge(r)
		r.Header = maps.Clone(r.Header)
		for _, name := range rapid.SliceOf(rapid.StringMatching(`X-Junk-[a-z_-]{0,12}(-Reset|-Status|-Utilization)?`)).Draw(t, "junk") {
			r.Header[name] = []string{rapid.SampledFrom(values).Draw(t, "value")}
		}
		if after := Judge(r); !reflect.DeepEqual(before, after) {
			t.Fatalf("\nbefore %+v\n after %+v", before, after)
		}
	})
}

func TestCaseOfHeadersChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := response(t)
		before := Judge(r)
		lower := map[string][]string{}
		for name, list := range r.Header {
			lower[strings.ToLower(name)] = slices.Clone(list)
		}
		r.Header = lower
		if after := Judge(r); !reflect.DeepEqual(before, after) {
			t.Fatalf("\nbefore %+v\n after %+v", before, after)
		}
	})
}

// However full its windows and empty its buckets, what was served was served.
func TestSuccessIsNeverAHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := response(t)
		r.Status, r.Body = 200, nil
		if v := Judge(r); v.Kind != Success || v.Held() || v.Retry() {
			t.Fatalf("%+v", v)
		}
	})
}

// A wrong clock on either side moves a provider's dates along with its Date.
func TestSkewChangesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		skew := time.Duration(rapid.Int64Range(-1e9, 1e9).Draw(t, "seconds")) * time.Second
		wait := time.Duration(rapid.Int64Range(1, int64(WindowCap/time.Second)).Draw(t, "wait")) * time.Second
		server := now.Add(skew)
		v := Judge(Response{Status: 429, Now: now, Header: h{
			"date":                server.Format("Mon, 02 Jan 2006 15:04:05 GMT"),
			unified + "5h-status": "rejected",
			unified + "5h-reset":  strconv.FormatInt(server.Add(wait).Unix(), 10),
		}.list()})
		if !v.Until.Equal(now.Add(wait)) {
			t.Fatalf("skew %v: until %v, want %v", skew, v.Until, now.Add(wait))
		}
	})
}

func FuzzJudge(f *testing.F) {
	for i, body := range bodies {
		name, value := names[i%len(names)], values[i%len(values)]
		f.Add(429, name, value, "Retry-After", "30", []byte(body), 1)
		f.Add(200, name, value, unified+"5h-status", "rejected", []byte(body), 3)
	}
	for i, value := range values {
		f.Add(429, "Retry-After", value, "Date", values[len(values)-1-i], []byte(nil), 1)
		f.Add(429, unified+"5h-reset", value, unified+"5h-status", "rejected", []byte(nil), 1)
	}
	f.Fuzz(func(t *testing.T, status int, name, value, name2, value2 string, body []byte, attempt int) {
		r := Response{
			Status: status, Header: map[string][]string{name: {value}, name2: {value2}}, Body: body,
			HoldScope: model, Attempt: attempt, ThrottleMax: 10 * time.Second, Now: now,
		}
		v := Judge(r)
		if broken(r, v) != "" {
			t.Fatalf("%s: %+v", broken(r, v), v)
		}
		if again := Judge(r); !reflect.DeepEqual(v, again) {
			t.Fatalf("\nfirst %+v\n then %+v", v, again)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	header := h{
		"date": "Wed, 12 Aug 2026 15:31:59 GMT", "content-type": "text/event-stream; charset=utf-8", "server": "cloudflare",
		unified + "status": "allowed", unified + "reset": "1786553400", unified + "representative-claim": "five_hour",
		unified + "5h-status": "allowed", unified + "5h-reset": "1786553400", unified + "5h-utilization": "0.33",
		unified + "7d-status": "allowed", unified + "7d-reset": "1786989600", unified + "7d-utilization": "0.54",
	}.list()
	stream := strings.Repeat("event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n", 600)
	for _, bench := range []struct {
		name   string
		status int
		body   string
	}{
		{"success", 200, ""},
		{"limit", 429, `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit."}}`},
		{"stream", 200, stream},
	} {
		r := Response{Status: bench.status, Header: header, Body: []byte(bench.body), Attempt: 1, ThrottleMax: 10 * time.Second, Now: now}
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Judge(r)
			}
		})
	}
}
