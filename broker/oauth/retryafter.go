package oauth

import (
	"net/http"
	"time"

	"github.com/authferry/authferry/broker/ratelimit"
)

const (
	maxRetryAfter = 24 * time.Hour
	// absurdRetryAfter: such a wait is not meant; it is in microseconds, or a wrong epoch.
	absurdRetryAfter = 366 * 24 * time.Hour
)

// retryAfter is the wait that an answer asks for, at most a day. 0: none, or unusable.
func retryAfter(h http.Header, arrived time.Time) time.Duration {
	asked := ratelimit.RetryAfter(h, arrived)
	if asked >= absurdRetryAfter {
		return 0
	}
	return min(asked, maxRetryAfter)
}
