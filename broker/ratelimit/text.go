package ratelimit

import "strings"

// texts are the beginnings of sentences by which providers say that an account is used up
// or closed although the error's own name says something else: invalid request, or not
// allowed. Only the beginning counts, because the rest may quote the request.
var texts = []struct {
	begin, then string // then: somewhere after it
	kind        Kind
}{
	// Anthropic, with invalid_request_error or permission_error (docs.claude.com/en/api/errors;
	// anthropics/claude-code #2085, #6007, #8327).
	{"your credit balance is too low", "", Spent},
	{"you have reached your specified", "usage limits", Spent},
	{"you're out of extra usage", "", Spent},
	{"oauth token has been revoked", "", Spent},
	{"oauth authentication is currently not allowed for this organization", "", Spent},
	{"this organization has been disabled", "", Spent},
	{"your organization has been disabled", "", Spent},
	{"your account has been disabled", "", Spent},
	// OpenAI (platform.openai.com/docs/guides/error-codes).
	{"you exceeded your current quota", "check your plan and billing", Spent},
	{"billing hard limit has been reached", "", Spent},
	{"your account is not active, please check your billing", "", Spent},
	{"your account has been deactivated", "", Spent},
	// Groq.
	{"organization has been restricted", "", Spent},
	// xAI, whose error is plain text.
	{"your team", "used all available credits", Spent},
	{"your newly created team", "doesn't have any credits", Spent},
	// OpenRouter.
	{"key limit exceeded", "", Spent},
	{"insufficient credits", "", Spent},
	// Google.
	{"quota exceeded for quota metric", "", Throttle},
	{"this api method requires billing to be enabled", "", Spent},
	// GitHub (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api).
	{"api rate limit exceeded", "", Throttle},
	{"you have exceeded a secondary rate limit", "", Throttle},
	{"you have triggered an abuse detection mechanism", "", Throttle},
	{"sorry. your account was suspended", "", Spent},
	// Azure API Management's policies quota and rate-limit.
	{"out of call volume quota", "", Spent},
	{"rate limit is exceeded", "", Throttle},
}

// knownText is what an error with this text is about; empty: the text is not known.
func knownText(text string) Kind {
	text = strings.ToLower(strings.TrimSpace(strings.ReplaceAll(text, "\u2019", "'")))
	for _, t := range texts {
		if rest, ok := strings.CutPrefix(text, t.begin); ok && strings.Contains(rest, t.then) {
			return t.kind
		}
	}
	return ""
}
