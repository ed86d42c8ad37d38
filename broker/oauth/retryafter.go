package oauth

import (
	"net/http"
	"time"

	"github.com/authferry/authferry/broker/ratelimit"
)

const (
	maxRetryAfter = 24 * time.Hour
	// absurdRetryAfter and more is not meant: microseconds, or a wrong epoch.
	absurdRetryAfter = 366 * 24 * time.Hour
)

// retryAfter is what an answer asks to wait, at most a day. 0: nothing usable is stated.
func retryAfter(h http.Header, arrived time.Time) time.Duration {
	asked := ratelimit.RetryAfter(h, arrived)
	if asked >= absurdRetryAfter {
		return 0
	}
	return min(asked, maxRetryAfter)
}
