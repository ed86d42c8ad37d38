package ratelimit

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// failure is an error in the body of an answer:
//
//	{"type":"error","error":{"type":"rate_limit_error",…}}              Anthropic
//	{"error":{"type":"usage_limit_reached","resets_in_seconds":60,…}}   OpenAI
//	{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[…]}}  Google
//
// or, if the status says already that it is one, at the top of the document. A nil *failure
// is no error.
type failure struct {
	fields  object
	path    string // of fields, with a dot at its end
	top     object // the object around fields; nil: they are at the top
	details []object
	text    string // its text for people, if there is no field for it
}

type object map[string]any

// findFailure looks for an error in a body: at the top of a JSON document, or in an event
// of a stream. Text from a model is never in these places. refused: the status says that it
// is an error, so the whole document may be one, or plain text.
func findFailure(body []byte, refused bool) *failure {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	f := findError(body)
	if f != nil || !refused || len(body) == 0 || body[0] == '<' {
		return f
	}
	var top object
	if json.Unmarshal(body, &top) == nil {
		f = &failure{fields: top, text: top.text("error")}
		f.detail()
		return f
	}
	if body[0] != '{' && body[0] != '[' && len(body) <= maxText {
		return &failure{text: string(body)}
	}
	return nil
}

// maxText is the length up to which a body can be a sentence, in bytes.
const maxText = 1 << 10

func findError(body []byte) *failure {
	if len(body) > 0 && (body[0] == '{' || body[0] == '[') {
		return failureIn(body)
	}
	var data []byte
	for line := range bytes.Lines(body) {
		line = bytes.TrimRight(line, "\r\n")
		if more, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			data = append(append(data, more...), '\n')
		}
		if len(line) == 0 {
			if f := failureIn(data); f != nil {
				return f
			}
			data = data[:0]
		}
	}
	return failureIn(data)
}

func failureIn(document []byte) *failure {
	if !bytes.Contains(document, []byte(`"error"`)) {
		return nil
	}
	var top any
	if json.Unmarshal(document, &top) != nil {
		return nil
	}
	if list, ok := top.([]any); ok { // Google's streams, where they are not events
		for _, top := range list {
			if f := newFailure(asObject(top)); f != nil {
				return f
			}
		}
	}
	return newFailure(asObject(top))
}

func newFailure(top object) *failure {
	fields := asObject(top["error"])
	if fields == nil {
		fields = asObject(asObject(top["response"])["error"]) // OpenAI's response.failed
	}
	if fields == nil && top["type"] == "error" {
		fields = top // OpenAI's error event
	}
	if fields == nil {
		return nil
	}
	f := &failure{fields: fields, path: "error.", top: top}
	f.detail()
	return f
}

func (f *failure) detail() {
	switch details := f.fields["details"].(type) {
	case []any: // Google
		for _, d := range details {
			f.details = append(f.details, asObject(d))
		}
	case map[string]any: // Anthropic
		f.details = append(f.details, details)
	}
}

// message is the text of f for people, and its path.
func (f *failure) message() (text, source string) {
	for _, field := range []string{"message", "detail", "msg", "error_description", "title"} {
		if text := f.fields.text(field); text != "" {
			return text, f.path + field
		}
	}
	if f.text != "" {
		return f.text, "body"
	}
	return f.top.text("message"), "message"
}

// names returns the names of the error, the most specific one first, and the path of the
// field of each.
func (f *failure) names() (names, sources []string) {
	add := func(from object, path, field string) {
		if name := from.text(field); name != "" {
			names, sources = append(names, name), append(sources, path+field)
		}
	}
	for _, d := range f.details {
		add(d, f.path+"details.", "reason")
		add(d, f.path+"details.", "error_code")
	}
	errs, _ := f.fields["errors"].([]any) // Google's older APIs
	for _, e := range errs {
		add(asObject(e), f.path+"errors.", "reason")
	}
	for _, field := range []string{"code", "type", "status", "reason", "error_code"} {
		add(f.fields, f.path, field)
	}
	if kind := f.fields.text("__type"); kind != "" { // AWS: a namespace, # and a name
		names, sources = append(names, kind[strings.LastIndex(kind, "#")+1:]), append(sources, f.path+"__type")
	}
	return names, sources
}

func (f *failure) named(name string) bool {
	if f == nil {
		return false
	}
	names, _ := f.names()
	return slices.Contains(names, name)
}

// kind returns what the error is about; empty: unknown.
func (f *failure) kind() Kind {
	kind, _ := f.meaning()
	return kind
}

func (f *failure) meaning() (kind Kind, source string) {
	if f == nil {
		return "", ""
	}
	kind, source = f.byName()
	if kind == "" || kind == Request || kind == Policy {
		text, at := f.message()
		if known := knownText(text); known != "" {
			return known, at
		}
	}
	return kind, source
}

// byName is meaning by the names of the error alone.
func (f *failure) byName() (kind Kind, source string) {
	names, sources := f.names()
	for i, name := range names {
		if kind := meaningOf(name); kind != "" {
			return kind, sources[i]
		}
	}
	if status, ok := f.fields.number("code"); ok && status >= 400 && status < 600 {
		return kindOf(int(status)), f.path + "code"
	}
	return "", ""
}

func meaningOf(name string) Kind {
	switch name {
	case "usage_limit_reached", "insufficient_quota", "billing_error", "credits_required", "QUOTA_EXHAUSTED",
		// OpenAI and those that follow it: no money, or no account any more.
		"billing_hard_limit_reached", "billing_not_active", "insufficient_balance", "insufficient_credits", "quota_exceeded", "usage_not_included",
		"account_deactivated", "account_suspended", "access_terminated", "organization_restricted", "organization_disabled", "organization_deactivated",
		"exceeded_current_quota_error", "budget_exceeded", // Moonshot, LiteLLM
		"Arrearage", "AllocationQuota.FreeTierOnly", // DashScope
		// Google, by the names of its older APIs and of google.rpc.ErrorInfo.
		"dailyLimitExceeded", "dailyLimitExceededUnreg", "quotaExceeded", "limitExceeded", "variableTermLimitExceeded", "downloadQuotaExceeded", "servingLimitExceeded",
		"BILLING_DISABLED", "CONSUMER_SUSPENDED", "VALIDATION_REQUIRED",
		"ServiceQuotaExceededException": // AWS
		return Spent
	case "rate_limit_error", "rate_limit_exceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED",
		"rateLimitExceeded", "userRateLimitExceeded", "userRateLimitExceededUnreg", "concurrentLimitExceeded", "sharingRateLimitExceeded",
		"too_many_requests", "rate_limited", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded", "Throttling":
		return Throttle
	case "overloaded_error", "server_is_overloaded", "slow_down", "MODEL_CAPACITY_EXHAUSTED", "UNAVAILABLE":
		return Overload
	case "authentication_error", "invalid_api_key", "UNAUTHENTICATED":
		return Auth
	case "permission_error", "PERMISSION_DENIED":
		return Policy
	case "invalid_request_error", "not_found_error", "request_too_large", "INVALID_ARGUMENT", "NOT_FOUND":
		return Request
	}
	return ""
}

// body reads what the error in the body says about a limit.
func (said *reading) body() {
	f := said.failure
	if f == nil {
		return
	}
	kind, source := f.meaning()
	if kind != Spent {
		kind = Throttle
	}
	at, field := said.times(f)
	said.add(signal{kind: kind, model: f.ofOneModel(), source: source}.until(signal{at: at, source: field}))
}

// times returns the latest time that f states, in its fields and in its text: of two
// mentions of one time, one may have been rounded.
func (said *reading) times(f *failure) (at time.Time, source string) {
	later := func(t time.Time, from string) {
		if t.After(at) {
			at, source = t, from
		}
	}
	said.fieldTimes(f.fields, f.path, 3, later)
	said.fieldTimes(f.top, "", 0, later)
	for _, name := range []string{"parameters", "metadata"} { // Telegram
		said.fieldTimes(asObject(f.top[name]), name+".", 1, later)
	}
	text, from := f.message()
	later(said.phrase(text), from)
	return at, source
}

// fieldTimes calls tell for every time in o, and in the objects within it.
func (said *reading) fieldTimes(o object, path string, depth int, tell func(time.Time, string)) {
	names := slices.Sorted(maps.Keys(o))
	slices.Reverse(names) // of two equal ones the name is resets_in_seconds, not resets_at
	for _, name := range names {
		unit, isTime := timeField(name)
		switch v := o[name].(type) {
		case float64:
			if isTime {
				tell(said.wait(strconv.FormatFloat(v, 'f', -1, 64), unit), path+name)
			}
		case string:
			if isTime {
				tell(said.wait(v, unit), path+name)
			}
		case map[string]any:
			if seconds, ok := object(v).number("seconds"); ok && isTime { // a Duration of protobuf
				nanos, _ := object(v).number("nanos")
				tell(said.amount(seconds+nanos/1e9), path+name)
			} else if depth > 0 {
				said.fieldTimes(v, path+name+".", depth-1, tell)
			}
		case []any:
			for _, e := range v {
				if depth > 0 {
					said.fieldTimes(asObject(e), path+name+".", depth-1, tell)
				}
			}
		}
	}
}

// timeField reports whether a field with this name, however it is spelled, has a wait or
// the time at which one ends, and the unit of its number.
func timeField(name string) (unit time.Duration, ok bool) {
	name = strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(name))
	name = strings.TrimPrefix(strings.TrimPrefix(name, "x"), "ratelimit")
	unit = time.Second
	for _, fine := range []string{"milliseconds", "millis", "ms"} {
		if short, found := strings.CutSuffix(name, fine); found && short != "" {
			name, unit = strings.TrimSuffix(short, "in"), time.Millisecond
			break
		}
	}
	for _, coarse := range []string{"seconds", "secs", "sec"} {
		if short, found := strings.CutSuffix(name, coarse); found && short != "" {
			name = strings.TrimSuffix(short, "in")
		}
	}
	switch name {
	case "retryafter", "retryin", "retryat", "retry", "retrydelay", "tryagainin", "nextretryat", "nextavailableat", "availableat", "availablein",
		"wait", "waitfor", "waittime", "waituntil", "blockeduntil", "lockeduntil",
		"reset", "resets", "resetat", "resetsat", "resetin", "resetsin", "resetafter", "resetsafter", "resettime", "resettimestamp", "resetdate", "resetdelay",
		"quotaresetdelay", "quotaresettimestamp", "quotaresettime", "quotaresetat":
		return unit, true
	}
	return unit, false
}

// ofOneModel reports whether f is about a quota that each model has separately: Google
// names the model then, and Anthropic asks for credits.
func (f *failure) ofOneModel() bool {
	for _, d := range f.details {
		if asObject(d["metadata"]).text("model") != "" {
			return true
		}
		violations, _ := d["violations"].([]any)
		for _, v := range violations {
			if asObject(asObject(v)["quotaDimensions"]).text("model") != "" {
				return true
			}
		}
	}
	return f.named("credits_required")
}

func (o object) text(field string) string {
	s, _ := o[field].(string)
	return s
}

func (o object) number(field string) (float64, bool) {
	switch v := o[field].(type) {
	case float64:
		return v, true
	case string:
		return number(v)
	}
	return 0, false
}

func asObject(v any) object {
	o, _ := v.(map[string]any)
	return o
}
