package ratelimit

import (
	"strings"
	"testing"
	"time"
)

// now is this machine's time in the tables; the providers' epochs and stamps in
// them are relative to it.
var now = time.Date(2026, 8, 12, 15, 32, 0, 0, time.UTC) // epoch 1786548720

const model = "model:opus"

type h map[string]string

func (h h) list() map[string][]string {
	list := map[string][]string{}
	for name, value := range h {
		list[name] = []string{value}
	}
	return list
}

// want is a verdict with durations from now in place of times. Its scope is the
// whole account unless it says otherwise.
type want struct {
	kind   Kind
	hold   time.Duration
	scope  string
	source string
	guess  bool
	cut    bool
	retry  time.Duration
}

func (w want) verdict() Verdict {
	v := Verdict{Kind: w.kind, RetryAfter: w.retry}
	if w.hold > 0 {
		v.Until, v.Source, v.Proven, v.Cut = now.Add(w.hold), w.source, !w.guess, w.cut
		v.Scope = AllScopes
		if w.scope != "" {
			v.Scope = w.scope
		}
	}
	return v
}

type row struct {
	name    string
	status  int
	header  h
	body    string
	attempt int // 0: the first
	want    want
}

func check(t *testing.T, rows []row) {
	t.Helper()
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			got := Judge(Response{
				Status: row.status, Header: row.header.list(), Body: []byte(row.body),
				HoldScope: model, Attempt: max(row.attempt, 1), ThrottleMax: 10 * time.Second, Now: now,
			})
			got.Usage = nil
			compare(t, got, row.want.verdict())
		})
	}
}

func compare(t *testing.T, got, want Verdict) {
	t.Helper()
	same := got.Kind == want.Kind && got.Until.Equal(want.Until) && got.Scope == want.Scope &&
		got.Source == want.Source && got.Proven == want.Proven && got.Cut == want.Cut && got.RetryAfter == want.RetryAfter
	if !same {
		t.Errorf("\n got %+v\nwant %+v", got, want)
	}
	if reason := Reason(got.Source); got.Held() && (strings.Contains(reason, "ratelimit") || reason == Reason("") && strings.Contains(got.Source, "-")) {
		t.Errorf("the reason of %q is %q", got.Source, reason)
	}
}

const (
	second = time.Second
	minute = time.Minute
	hour   = time.Hour
	day    = 24 * hour
)

func TestStatus(t *testing.T) {
	check(t, []row{
		{name: "a success", status: 200, want: want{kind: Success}},
		{name: "a success without content", status: 204, want: want{kind: Success}},
		{name: "a redirect says nothing", status: 302, want: want{kind: Other}},
		{name: "a refused token", status: 401, want: want{kind: Auth}},
		{name: "not allowed", status: 403, want: want{kind: Policy}},
		{name: "not allowed, with a time that means something else", status: 403, header: h{"retry-after": "30"}, want: want{kind: Policy}},
		{name: "a bad request", status: 400, header: h{"retry-after": "30"}, want: want{kind: Request}},
		{name: "not found", status: 404, want: want{kind: Request}},
		{name: "too large", status: 413, want: want{kind: Request}},
		{name: "cannot be processed", status: 422, want: want{kind: Request}},
		{name: "an error of the server's", status: 500, want: want{kind: Other}},
		{name: "a gateway that gave up", status: 504, want: want{kind: Other}},
		{name: "payment required", status: 402, want: want{kind: Spent, hold: minute, source: "status 402", guess: true}},
		{name: "payment required, with a time", status: 402, header: h{"retry-after": "5"}, want: want{kind: Spent, hold: 5 * second, source: "retry-after"}},
		{name: "a limit without any time", status: 429, want: want{kind: Throttle, hold: minute, source: "status 429", guess: true}},
		{name: "a status that does not exist", status: -1, want: want{kind: Other}},
	})
}

func TestOverload(t *testing.T) {
	check(t, []row{
		{name: "no answer", status: 0, want: want{kind: Overload, retry: second}},
		{name: "second attempt", status: 503, attempt: 2, want: want{kind: Overload, retry: 2 * second}},
		{name: "third attempt", status: 529, attempt: 3, want: want{kind: Overload, retry: 4 * second}},
		{name: "sixth attempt", status: 529, attempt: 6, want: want{kind: Overload, retry: 32 * second}},
		{name: "seventh attempt", status: 529, attempt: 7, want: want{kind: Overload, retry: minute}},
		{name: "any later attempt", status: 503, attempt: 1 << 40, want: want{kind: Overload, retry: minute}},
		{name: "the provider asks for more", status: 503, header: h{"retry-after": "7"}, want: want{kind: Overload, retry: 7 * second}},
		{name: "the provider asks for less", status: 503, attempt: 4, header: h{"retry-after": "7"}, want: want{kind: Overload, retry: 8 * second}},
		{name: "the provider asks for too much", status: 503, header: h{"retry-after": "86400"}, want: want{kind: Overload, retry: minute}},
		{name: "529 of Anthropic", status: 529, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, want: want{kind: Overload, retry: second}},
		{name: "500 with the same body", status: 500, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, want: want{kind: Overload, retry: second}},
		{name: "429 with the same body is not the account's", status: 429, body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`, want: want{kind: Overload, retry: second}},
		{
			name: "429 of Google for want of capacity", status: 429,
			body: `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"MODEL_CAPACITY_EXHAUSTED"},{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"39s"}]}}`,
			want: want{kind: Overload, retry: 39 * second},
		},
		{
			name: "capacity, but a window rejects as well", status: 429,
			header: h{unified + "5h-status": "rejected", unified + "5h-reset": "1786552320"},
			body:   `{"type":"error","error":{"type":"overloaded_error"}}`,
			want:   want{kind: Spent, hold: hour, source: unified + "5h-reset"},
		},
	})
}

func TestRetryAfter(t *testing.T) {
	throttle := func(after time.Duration) want { return want{kind: Throttle, retry: after} }
	held := func(d time.Duration, source string) want { return want{kind: Throttle, hold: d, source: source} }
	guess := want{kind: Throttle, hold: minute, source: "status 429", guess: true}
	cut := want{kind: Throttle, hold: day, source: "retry-after", cut: true}

	check(t, []row{
		{name: "seconds", status: 429, header: h{"retry-after": "5"}, want: throttle(5 * second)},
		{name: "canonical name", status: 429, header: h{"Retry-After": " 5 "}, want: throttle(5 * second)},
		{name: "just short enough to wait for", status: 429, header: h{"retry-after": "10"}, want: throttle(10 * second)},
		{name: "just too long", status: 429, header: h{"retry-after": "10.001"}, want: held(10001*time.Millisecond, "retry-after")},
		{name: "long", status: 429, header: h{"retry-after": "30"}, want: held(30*second, "retry-after")},
		{name: "fractions", status: 429, header: h{"retry-after": "2.5"}, want: throttle(2500 * time.Millisecond)},
		{name: "nought", status: 429, header: h{"retry-after": "0"}, want: throttle(second)},
		{name: "milliseconds", status: 429, header: h{"retry-after-ms": "250", "retry-after": "1"}, want: throttle(250 * time.Millisecond)},
		{name: "bad milliseconds", status: 429, header: h{"retry-after-ms": "soon", "retry-after": "3"}, want: throttle(3 * second)},
		{name: "negative milliseconds", status: 429, header: h{"retry-after-ms": "-1", "retry-after": "3"}, want: throttle(3 * second)},
		{name: "a date", status: 429, header: h{"retry-after": "Wed, 12 Aug 2026 15:40:00 GMT"}, want: held(8*minute, "retry-after")},
		{name: "a date of RFC 850", status: 429, header: h{"retry-after": "Wednesday, 12-Aug-26 15:40:00 GMT"}, want: held(8*minute, "retry-after")},
		{name: "a date of asctime", status: 429, header: h{"retry-after": "Wed Aug 12 15:40:00 2026"}, want: held(8*minute, "retry-after")},
		{
			name: "a date by a server's clock that is an hour behind", status: 429,
			header: h{"date": "Wed, 12 Aug 2026 14:32:00 GMT", "retry-after": "Wed, 12 Aug 2026 14:40:00 GMT"},
			want:   held(8*minute, "retry-after"),
		},
		{
			name: "seconds do not depend on the server's clock", status: 429,
			header: h{"date": "Wed, 12 Aug 2020 14:32:00 GMT", "retry-after": "60"},
			want:   held(minute, "retry-after"),
		},
		{name: "a date gone by", status: 429, header: h{"retry-after": "Wed, 12 Aug 2026 15:00:00 GMT"}, want: guess},
		{name: "negative", status: 429, header: h{"retry-after": "-5"}, want: guess},
		{name: "not a number", status: 429, header: h{"retry-after": "NaN"}, want: guess},
		{name: "infinite", status: 429, header: h{"retry-after": "Inf"}, want: guess},
		{name: "out of range", status: 429, header: h{"retry-after": "1e999"}, want: guess},
		{name: "absurd", status: 429, header: h{"retry-after": "1e18"}, want: guess},
		{name: "an epoch where a delay belongs", status: 429, header: h{"retry-after": "1786552320"}, want: held(hour, "retry-after")},
		{name: "an epoch in milliseconds", status: 429, header: h{"retry-after": "1786552320000"}, want: held(hour, "retry-after")},
		{name: "an epoch gone by", status: 429, header: h{"retry-after": "1786548000"}, want: guess},
		{name: "with a unit", status: 429, header: h{"retry-after": "30s"}, want: held(30*second, "retry-after")},
		{name: "with a word", status: 429, header: h{"retry-after": "2 days"}, want: cut},
		{name: "with two", status: 429, header: h{"retry-after": "1 hour 30 minutes"}, want: held(90*minute, "retry-after")},
		{name: "a list", status: 429, header: h{"retry-after": "30, 3600, 60"}, want: held(hour, "retry-after")},
		{name: "a list of dates", status: 429, header: h{"retry-after": "Wed, 12 Aug 2026 15:40:00 GMT, Wed, 12 Aug 2026 16:32:00 GMT"}, want: held(hour, "retry-after")},
		{name: "a list of both", status: 429, header: h{"retry-after": "30, Wed, 12 Aug 2026 15:40:00 GMT"}, want: held(8*minute, "retry-after")},
		{name: "milliseconds that say less", status: 429, header: h{"retry-after-ms": "250", "retry-after": "60"}, want: held(minute, "retry-after")},
		{name: "milliseconds that say more", status: 429, header: h{"retry-after-ms": "60000", "retry-after": "1"}, want: held(minute, "retry-after-ms")},
		{name: "RFC 3339", status: 429, header: h{"retry-after": "2026-08-12T16:32:00Z"}, want: held(hour, "retry-after")},
		{name: "an ISO duration", status: 429, header: h{"retry-after": "PT1H30M"}, want: held(90*minute, "retry-after")},
		{name: "the body says more", status: 429, header: h{"retry-after": "5"}, want: held(40*second, "error.retry_after"), body: `{"error":{"retry_after":40}}`},
		{name: "the body says less", status: 429, header: h{"retry-after": "40"}, want: held(40*second, "retry-after"), body: `{"error":{"retry_after":5}}`},
		{name: "empty", status: 429, header: h{"retry-after": ""}, want: guess},
		{name: "words", status: 429, header: h{"retry-after": "in a while"}, want: guess},
		{name: "a day", status: 429, header: h{"retry-after": "86400"}, want: held(day, "retry-after")},
		{name: "over a day", status: 429, header: h{"retry-after": "86401"}, want: cut},
		{name: "years", status: 429, header: h{"retry-after": "999999999"}, want: cut},
		{name: "a throttle the second time", status: 429, attempt: 2, header: h{"retry-after": "5"}, want: throttle(5 * second)},
		{name: "a throttle the third time", status: 429, attempt: 3, header: h{"retry-after": "5"}, want: want{kind: Throttle, hold: minute, source: "retry-after", guess: true}},
		{name: "a long wait the third time", status: 429, attempt: 3, header: h{"retry-after": "30"}, want: held(30*second, "retry-after")},
	})
}

func TestOfAHeadersValuesTheLongestCounts(t *testing.T) {
	v := Judge(Response{Status: 429, Header: map[string][]string{"Retry-After": {"", "40", "50", "5"}}, Now: now})
	compare(t, v, want{kind: Throttle, hold: 50 * second, source: "retry-after"}.verdict())
}

// A throttle that a person lets wait for long is no shorter the third time.
func TestThirdThrottleIsNotShorter(t *testing.T) {
	v := Judge(Response{Status: 429, Attempt: 3, Header: h{"retry-after": "1800"}.list(), ThrottleMax: time.Hour, Now: now})
	compare(t, v, want{kind: Throttle, hold: 30 * minute, source: "retry-after"}.verdict())
}

func TestModelScopeWithoutAHoldScope(t *testing.T) {
	v := Judge(Response{
		Status: 429, Now: now,
		Header: h{unified + "7d_opus-status": "rejected", unified + "7d_opus-reset": "1786552320"}.list(),
	})
	compare(t, v, want{kind: Spent, hold: hour, source: unified + "7d_opus-reset"}.verdict())
}

func TestNoThrottleIsWorthWaitingFor(t *testing.T) {
	v := Judge(Response{Status: 429, Attempt: 1, Header: h{"retry-after": "1"}.list(), Now: now})
	compare(t, v, want{kind: Throttle, hold: second, source: "retry-after"}.verdict())
}

func TestBodyIsReadUpToItsLimit(t *testing.T) {
	event := `{"error":{"code":"insufficient_quota"}}`
	filler := "data: " + strings.Repeat("x", maxBody-len(event)-len("data: \n\ndata: ")) + "\n\n"
	for text, kind := range map[string]Kind{
		filler + "data: " + event:  Spent,
		filler + "data:  " + event: Success, // one byte over: the event is torn
	} {
		if v := Judge(Response{Status: 200, Body: []byte(text), Now: now}); v.Kind != kind {
			t.Errorf("body of %d bytes: %s, want %s", len(text), v.Kind, kind)
		}
	}
}

func TestGuess(t *testing.T) {
	for _, row := range []struct {
		before int
		d      time.Duration
		cut    bool
	}{
		{-1, minute, false}, {0, minute, false}, {1, 2 * minute, false}, {2, 4 * minute, false}, {3, 8 * minute, false}, {4, 10 * minute, true}, {1 << 40, 10 * minute, true},
	} {
		if d, cut := Guess(row.before); d != row.d || cut != row.cut {
			t.Errorf("Guess(%d) = %v, %v, want %v, %v", row.before, d, cut, row.d, row.cut)
		}
	}
}
