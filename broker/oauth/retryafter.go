package oauth

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	maxRetryAfter = 24 * time.Hour
	// absurdRetryAfter and more is not meant: microseconds, or a wrong epoch.
	absurdRetryAfter = 366 * 24 * time.Hour
)

// retryAfter reads Retry-After (RFC 9110 §10.2.3), seconds or a date, and
// Retry-After-Ms where that is missing. A date counts from the answer's own
// Date, so that neither clock has to be right. 0: nothing usable is stated.
func retryAfter(h http.Header, arrived time.Time) time.Duration {
	text, unit := strings.TrimSpace(h.Get("Retry-After")), time.Second
	if text == "" {
		text, unit = strings.TrimSpace(h.Get("Retry-After-Ms")), time.Millisecond
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return capRetryAfter(f * float64(unit))
	}
	until, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = arrived
	}
	return capRetryAfter(float64(until.Sub(now)))
}

func capRetryAfter(nanoseconds float64) time.Duration {
	if !(nanoseconds > 0 && nanoseconds < float64(absurdRetryAfter)) { // NaN too
		return 0
	}
	return min(time.Duration(nanoseconds), maxRetryAfter)
}
