package ratelimit

import "testing"

// compare (judge_test.go) sees to it that whatever these tests make a hold of has a reason.
func TestReason(t *testing.T) {
	for source, want := range map[string]string{
		unified + "5h-reset":                       "5-hour limit",
		unified + "5h-status":                      "5-hour limit",
		unified + "7d-reset":                       "7-day limit",
		unified + "7d_opus-reset":                  "7-day opus limit",
		unified + "30m_claude_code-reset":          "30-minute claude code limit",
		unified + "monthly-reset":                  "monthly limit",
		unified + "reset":                          "usage limit",
		unified + "status":                         "usage limit",
		unified + "overage-disabled-reason":        "no credits left",
		bucket + "requests-reset":                  "request limit",
		bucket + "tokens-remaining":                "token limit",
		bucket + "input-tokens-reset":              "input token limit",
		bucket + "output-tokens-remaining":         "output token limit",
		"x-ratelimit-remaining-requests":           "request limit",
		"x-ratelimit-reset-tokens":                 "token limit",
		"x-ratelimit-remaining":                    "rate limit",
		"x-ratelimit-reset":                        "rate limit",
		"x-ratelimit-reset-after":                  "rate limit",
		"x-ratelimit-reset-ms":                     "rate limit",
		"x-ratelimit-retry-after":                  "rate limit",
		"x-rate-limit-reset":                       "rate limit",
		"ratelimit":                                "rate limit",
		"ratelimit-reset":                          "rate limit",
		"x-codex-primary-used-percent":             "plan limit",
		"x-codex-secondary-reset-at":               "plan limit",
		"x-codex-primary-reset-after-seconds":      "plan limit",
		"retry-after":                              "the API asked to wait",
		"retry-after-ms":                           "the API asked to wait",
		"x-ms-retry-after-ms":                      "the API asked to wait",
		"status 402":                               "payment required",
		"status 429":                               "too many requests",
		"status 403":                               "limit reported by the API",
		"error.message":                            "limit reported by the API",
		"error.details.metadata.quotaResetDelay":   "limit reported by the API",
		"error.metadata.headers.X-RateLimit-Reset": "rate limit",
		"parameters.retry_after":                   "the API asked to wait",
		"body":                                     "limit reported by the API",
		"":                                         "limit reported by the API",
	} {
		if got := Reason(source); got != want {
			t.Errorf("%s: got %q, want %q", source, got, want)
		}
	}
}
