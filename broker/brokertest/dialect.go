package brokertest

import (
	"maps"
	"slices"
)

// Dialect is how an API says that a quota is spent.
type Dialect string

// The dialects known from real providers.
const (
	DialectRetryAfter      Dialect = "retry-after"       // 429, Retry-After in seconds
	DialectRetryAfterDate  Dialect = "retry-after-date"  // 429, Retry-After as an HTTP-date
	DialectRetryAfterMs    Dialect = "retry-after-ms"    // 429, Retry-After-Ms
	DialectSilent          Dialect = "silent"            // 429 that states no time
	DialectAnthropic       Dialect = "anthropic"         // subscription: unified windows
	DialectAnthropicModel  Dialect = "anthropic-model"   // subscription: one model's weekly window
	DialectAnthropicAPIKey Dialect = "anthropic-api-key" // per-minute windows, RFC 3339
	DialectAnthropicStream Dialect = "anthropic-stream"  // 200, the limit inside a stream of events
	DialectOpenAI          Dialect = "openai"            // windows with Go-like durations
	DialectCodex           Dialect = "codex"             // primary and secondary window, usage_limit_reached
	DialectGoogle          Dialect = "google"            // QUOTA_EXHAUSTED and RetryInfo in the body
	DialectGoogleCapacity  Dialect = "google-capacity"   // 503 MODEL_CAPACITY_EXHAUSTED: nobody's quota
	DialectOverloaded      Dialect = "overloaded"        // 529
	DialectUnauthorized    Dialect = "unauthorized"      // 401
	DialectPayment         Dialect = "payment"           // 402 that states no time
)

// Dialects lists every dialect in alphabetical order.
func Dialects() []Dialect { return slices.Sorted(maps.Keys(dialects)) }

type dialect struct {
	status      int
	contentType string
	body        string
	allowed     map[string]string // headers of an answer within the quota
	refused     map[string]string // headers of one over it
}

const anthropicLimit = `{"type":"error","error":{"type":"rate_limit_error","message":"This request would exceed your account's rate limit. Please try again later."}}`

var dialects = map[Dialect]dialect{
	DialectRetryAfter: {
		status: 429, contentType: "application/json", body: `{"error":"too many requests"}`,
		refused: map[string]string{"Retry-After": "{seconds}"},
	},
	DialectRetryAfterDate: {
		status: 429, contentType: "application/json", body: `{"error":"too many requests"}`,
		refused: map[string]string{"Retry-After": "{reset_http}"},
	},
	DialectRetryAfterMs: {
		status: 429, contentType: "application/json", body: `{"error":"too many requests"}`,
		refused: map[string]string{"Retry-After-Ms": "{ms}"},
	},
	DialectSilent: {status: 429, contentType: "text/plain", body: "Too Many Requests"},
	DialectAnthropic: {
		status: 429, contentType: "application/json", body: anthropicLimit,
		allowed: map[string]string{
			"Anthropic-Ratelimit-Unified-Status":               "allowed",
			"Anthropic-Ratelimit-Unified-Reset":                "{reset_unix}",
			"Anthropic-Ratelimit-Unified-5h-Status":            "allowed",
			"Anthropic-Ratelimit-Unified-5h-Reset":             "{reset_unix}",
			"Anthropic-Ratelimit-Unified-5h-Utilization":       "{fraction}",
			"Anthropic-Ratelimit-Unified-Representative-Claim": "five_hour",
		},
		refused: map[string]string{
			"Anthropic-Ratelimit-Unified-Status":               "rejected",
			"Anthropic-Ratelimit-Unified-Reset":                "{reset_unix}",
			"Anthropic-Ratelimit-Unified-5h-Status":            "rejected",
			"Anthropic-Ratelimit-Unified-5h-Reset":             "{reset_unix}",
			"Anthropic-Ratelimit-Unified-5h-Utilization":       "{fraction}",
			"Anthropic-Ratelimit-Unified-Representative-Claim": "five_hour",
			"Retry-After": "{seconds}",
		},
	},
	DialectAnthropicModel: {
		status: 429, contentType: "application/json", body: anthropicLimit,
		refused: map[string]string{
			"Anthropic-Ratelimit-Unified-Status":               "rejected",
			"Anthropic-Ratelimit-Unified-Reset":                "{reset_unix}",
			"Anthropic-Ratelimit-Unified-5h-Status":            "allowed",
			"Anthropic-Ratelimit-Unified-7d-Status":            "allowed",
			"Anthropic-Ratelimit-Unified-7d_oi-Status":         "rejected",
			"Anthropic-Ratelimit-Unified-7d_oi-Reset":          "{reset_unix}",
			"Anthropic-Ratelimit-Unified-Representative-Claim": "seven_day_oi",
		},
	},
	DialectAnthropicAPIKey: {
		status: 429, contentType: "application/json", body: anthropicLimit,
		allowed: map[string]string{
			"Anthropic-Ratelimit-Requests-Limit":     "{limit}",
			"Anthropic-Ratelimit-Requests-Remaining": "{remaining}",
			"Anthropic-Ratelimit-Requests-Reset":     "{reset_rfc3339}",
		},
		refused: map[string]string{
			"Anthropic-Ratelimit-Requests-Limit":     "{limit}",
			"Anthropic-Ratelimit-Requests-Remaining": "0",
			"Anthropic-Ratelimit-Requests-Reset":     "{reset_rfc3339}",
			"Retry-After":                            "{seconds}",
		},
	},
	DialectAnthropicStream: {
		status: 200, contentType: "text/event-stream",
		body: "event: message_start\ndata: {\"type\":\"message_start\"}\n\nevent: error\ndata: " + anthropicLimit + "\n\n",
	},
	DialectOpenAI: {
		status: 429, contentType: "application/json",
		body: `{"error":{"message":"Rate limit reached. Please try again in {duration}.","type":"requests","param":null,"code":"rate_limit_exceeded"}}`,
		allowed: map[string]string{
			"X-Ratelimit-Limit-Requests":     "{limit}",
			"X-Ratelimit-Remaining-Requests": "{remaining}",
			"X-Ratelimit-Reset-Requests":     "{duration}",
		},
		refused: map[string]string{
			"X-Ratelimit-Limit-Requests":     "{limit}",
			"X-Ratelimit-Remaining-Requests": "0",
			"X-Ratelimit-Reset-Requests":     "{duration}",
		},
	},
	DialectCodex: {
		status: 429, contentType: "application/json",
		body: `{"error":{"type":"usage_limit_reached","message":"The usage limit has been reached","plan_type":"plus","resets_at":{reset_unix},"resets_in_seconds":{seconds}}}`,
		allowed: map[string]string{
			"X-Codex-Primary-Used-Percent":        "{percent}",
			"X-Codex-Primary-Window-Minutes":      "300",
			"X-Codex-Primary-Reset-At":            "{reset_unix}",
			"X-Codex-Primary-Reset-After-Seconds": "{seconds}",
		},
		refused: map[string]string{
			"X-Codex-Primary-Used-Percent":          "100",
			"X-Codex-Primary-Window-Minutes":        "300",
			"X-Codex-Primary-Reset-At":              "{reset_unix}",
			"X-Codex-Primary-Reset-After-Seconds":   "{seconds}",
			"X-Codex-Secondary-Used-Percent":        "40",
			"X-Codex-Secondary-Window-Minutes":      "10080",
			"X-Codex-Secondary-Reset-After-Seconds": "500000",
		},
	},
	DialectGoogle: {
		status: 429, contentType: "application/json",
		body: `{"error":{"code":429,"message":"You have exhausted your capacity on this model. Your quota will reset after {duration}.","status":"RESOURCE_EXHAUSTED","details":[` +
			`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"QUOTA_EXHAUSTED","domain":"cloudcode-pa.googleapis.com","metadata":{"quotaResetDelay":"{duration}","quotaResetTimeStamp":"{reset_rfc3339}"}},` +
			`{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{seconds_float}s"}]}}`,
	},
	DialectGoogleCapacity: {
		status: 503, contentType: "application/json",
		body: `{"error":{"code":503,"message":"No capacity available","status":"UNAVAILABLE","details":[` +
			`{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":"MODEL_CAPACITY_EXHAUSTED","domain":"cloudcode-pa.googleapis.com"}]}}`,
	},
	DialectOverloaded: {
		status: 529, contentType: "application/json",
		body: `{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}`,
	},
	DialectUnauthorized: {
		status: 401, contentType: "application/json",
		body:    `{"type":"error","error":{"type":"authentication_error","message":"invalid bearer token"}}`,
		refused: map[string]string{"Www-Authenticate": `Bearer error="invalid_token"`},
	},
	DialectPayment: {
		status: 402, contentType: "application/json", body: `{"error":{"message":"insufficient balance","code":"insufficient_quota"}}`,
	},
}
