package serve

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/authferry/authferry/broker/ratelimit"
)

// api is the protocol of a path, whatever provider serves it.
type api int

const (
	other     api = iota
	messages      // Anthropic's
	responses     // OpenAI's
	chat          // OpenAI's chat completions, which many others have too
	gemini        // Google's
)

func (a api) String() string {
	return [...]string{"other", "messages", "responses", "chat", "gemini"}[a]
}

func apiOf(path string) api {
	segments := strings.Split(strings.TrimSuffix(path, "/"), "/")
	for i, s := range segments {
		switch {
		case s == "messages":
			return messages
		case s == "responses":
			return responses
		case s == "chat" && i+1 < len(segments) && segments[i+1] == "completions":
			return chat
		case (s == "models" || s == "tunedModels") && i+2 == len(segments) && strings.Contains(segments[i+1], ":"):
			return gemini
		}
	}
	return other
}

// accountFields refer to things that only the account that made them has.
var accountFields = []string{"previous_response_id", "conversation"}

// fields are the fields of a request's body that are read.
func (a api) fields() []string {
	switch a {
	case responses:
		return append([]string{"model", "prompt_cache_key"}, accountFields...)
	case chat:
		return []string{"model", "prompt_cache_key"}
	case messages, other:
		return []string{"model"}
	}
	return nil // in Google's APIs it is in the path
}

// meaning is what one event of a stream means.
type meaning int

const (
	early   meaning = iota // it comes before anything that people see
	content                // or anything else that can't be taken back
	limit                  // the account's quota or rate: another account would help
)

// preludes are events that come before any content.
var preludes = map[string]bool{
	"message_start": true, "ping": true,
	"response.created": true, "response.queued": true, "response.in_progress": true,
	"codex.rate_limits": true, "response.rate_limits": true, "rate_limits.updated": true, "keepalive": true,
}

// read returns the meaning of an event with this data before the first content.
func (a api) read(data []byte) meaning {
	if len(data) == 0 {
		return early
	}
	if a.isLimit(data) {
		return limit
	}
	var event struct {
		Type    string           `json:"type"`
		Error   json.RawMessage  `json:"error"`
		Choices *json.RawMessage `json:"choices"`
	}
	if json.Unmarshal(data, &event) != nil || len(event.Error) > 0 && string(event.Error) != "null" {
		return content
	}
	switch {
	case (a == messages || a == responses) && preludes[event.Type],
		a == chat && event.Choices != nil && wordless(*event.Choices):
		return early
	}
	return content
}

// wordless reports whether no choice of a chunk has any text yet.
func wordless(raw json.RawMessage) bool {
	var choices []struct {
		Delta  map[string]json.RawMessage `json:"delta"`
		Text   json.RawMessage            `json:"text"`
		Finish json.RawMessage            `json:"finish_reason"`
	}
	if json.Unmarshal(raw, &choices) != nil {
		return false
	}
	nothing := func(v json.RawMessage) bool { return len(v) == 0 || string(v) == "null" || string(v) == `""` }
	for _, c := range choices {
		if !nothing(c.Finish) || !nothing(c.Text) {
			return false
		}
		for key, value := range c.Delta {
			if key != "role" && !nothing(value) && string(value) != "[]" {
				return false
			}
		}
	}
	return true
}

// isLimit reports whether an event refuses the account, by the words in the broker's
// verdicts.
func (a api) isLimit(data []byte) bool {
	if a == other || !bytes.Contains(data, []byte(`"error"`)) {
		return false
	}
	switch ratelimit.Judge(ratelimit.Response{Status: 200, Body: data}).Kind {
	case ratelimit.Spent, ratelimit.Throttle:
		return true
	default:
		return false
	}
}

// lasts are markers of a stream's last event. The streams of other APIs just end.
var lasts = map[api][]string{
	messages:  {"message_stop", `"error"`},
	responses: {"response.completed", "response.failed", "response.incomplete", "response.cancelled", `"error"`},
}

// isLast reports whether the stream may end after an event with this data.
func (a api) isLast(data []byte) bool {
	for _, word := range lasts[a] {
		if bytes.Contains(data, []byte(word)) {
			return true
		}
	}
	return len(lasts[a]) == 0
}
