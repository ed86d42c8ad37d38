package ratelimit

import "strings"

// Reason says in a few plain words what a hold is based on, by the Source of its Verdict:
// "5-hour limit", "token limit", "the API asked to wait". Every source has a reason; that
// of an unknown one is "limit reported by the API".
func Reason(source string) string {
	// The last name of a path in a body may be that of a header.
	source = strings.ReplaceAll(strings.ToLower(source[strings.LastIndexByte(source, '.')+1:]), "retry_after", "retry-after")
	if window, ok := strings.CutPrefix(source, unified); ok {
		return unifiedReason(window)
	}
	switch {
	case strings.HasPrefix(source, bucket):
		return bucketReason(strings.TrimPrefix(source, bucket))
	case strings.HasPrefix(source, "x-codex-"):
		return "plan limit"
	case strings.HasPrefix(source, "x-ratelimit-remaining-"), strings.HasPrefix(source, "x-ratelimit-reset-"):
		return bucketReason(source[strings.LastIndexByte(source, '-')+1:])
	case strings.HasPrefix(source, "x-ratelimit-"), strings.HasPrefix(source, "x-rate-limit-"), strings.HasPrefix(source, "ratelimit"):
		return "rate limit"
	case strings.HasPrefix(source, "retry-after"), source == "x-ms-retry-after-ms":
		return "the API asked to wait"
	case source == "status 402":
		return "payment required"
	case source == "status 429":
		return "too many requests"
	}
	return "limit reported by the API"
}

// maxWindow is above the name of any window that is worth showing, in bytes.
const maxWindow = 32

// unifiedReason makes "7-day opus limit" of 7d_opus-reset.
func unifiedReason(field string) string {
	if field == "overage-disabled-reason" {
		return "no credits left"
	}
	for _, end := range []string{"-status", "-reset"} {
		if window, ok := strings.CutSuffix(field, end); ok && len(window) <= maxWindow {
			return WindowName(window)
		}
	}
	return "usage limit"
}

// bucketReason makes "input token limit" of input-tokens-reset.
func bucketReason(field string) string {
	for _, end := range []string{"-remaining", "-reset"} {
		field = strings.TrimSuffix(field, end)
	}
	switch field {
	case "requests", "tokens", "input-tokens", "output-tokens":
		return strings.ReplaceAll(strings.TrimSuffix(field, "s"), "-", " ") + " limit"
	}
	return "rate limit"
}
