package ratelimit

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"
	"time"
)

// failure is an error as providers put it into a body:
//
//	{"type":"error","error":{"type":"rate_limit_error",…}}              Anthropic
//	{"error":{"type":"usage_limit_reached","resets_in_seconds":60,…}}   OpenAI
//	{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","details":[…]}}  Google
//
// A nil *failure is none.
type failure struct {
	fields  object
	details []object
}

type object map[string]any

// findFailure looks for an error in a body: at the top of a JSON document, or
// in an event of a stream. Text that a model wrote is never at such a place.
func findFailure(body []byte) *failure {
	body = bytes.TrimSpace(body)
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
	f := &failure{fields: fields}
	switch details := fields["details"].(type) {
	case []any: // Google
		for _, d := range details {
			f.details = append(f.details, asObject(d))
		}
	case map[string]any: // Anthropic
		f.details = append(f.details, details)
	}
	return f
}

// names returns what the error is called, the most telling name first, and
// beside each the path of its field.
func (f *failure) names() (names, sources []string) {
	add := func(from object, path, field string) {
		if name := from.text(field); name != "" {
			names, sources = append(names, name), append(sources, path+field)
		}
	}
	for _, d := range f.details {
		add(d, "error.details.", "reason")
		add(d, "error.details.", "error_code")
	}
	for _, field := range []string{"code", "type", "status"} {
		add(f.fields, "error.", field)
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

// kind returns what the error is about, empty where its name says nothing.
func (f *failure) kind() Kind {
	kind, _ := f.meaning()
	return kind
}

func (f *failure) meaning() (kind Kind, source string) {
	if f == nil {
		return "", ""
	}
	names, sources := f.names()
	for i, name := range names {
		if kind := meaningOf(name); kind != "" {
			return kind, sources[i]
		}
	}
	if status, ok := f.fields.number("code"); ok && status >= 400 && status < 600 {
		return kindOf(int(status)), "error.code"
	}
	return "", ""
}

func meaningOf(name string) Kind {
	switch name {
	case "usage_limit_reached", "insufficient_quota", "billing_error", "credits_required", "QUOTA_EXHAUSTED":
		return Spent
	case "rate_limit_error", "rate_limit_exceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED":
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

// body reads what the error in the body says of a limit.
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

// times returns the first usable time of f: durations before dates, because
// they need no clock but this one, and the sentence for people last.
func (said *reading) times(f *failure) (at time.Time, source string) {
	seconds, _ := f.fields.number("resets_in_seconds")
	epoch, _ := f.fields.number("resets_at")
	var delay, stamp, retry string
	for _, d := range f.details {
		meta := asObject(d["metadata"])
		delay = cmp.Or(delay, meta.text("quotaResetDelay"))
		stamp = cmp.Or(stamp, meta.text("quotaResetTimeStamp"))
		retry = cmp.Or(retry, d.text("retryDelay"))
	}
	for _, t := range []struct {
		at     time.Time
		source string
	}{
		{said.in(seconds), "error.resets_in_seconds"},
		{said.epoch(epoch), "error.resets_at"},
		{said.duration(delay), "error.details.metadata.quotaResetDelay"},
		{said.stamp(stamp), "error.details.metadata.quotaResetTimeStamp"},
		{said.duration(retry), "error.details.retryDelay"},
		{said.phrase(f.fields.text("message")), "error.message"},
	} {
		if !t.at.IsZero() {
			return t.at, t.source
		}
	}
	return time.Time{}, ""
}

// ofOneModel reports whether f is about a quota that every model has for itself:
// Google names the model then, and Anthropic asks for credits.
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
