package serve

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/authferry/authferry/broker/ratelimit"
)

// api is the protocol that a path belongs to, whoever's API it is at.
type api int

const (
	other     api = iota
	messages      // Anthropic's
	responses     // OpenAI's
	chat          // OpenAI's chat completions, and everybody's since
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

// accountFields name what only the account has that made it.
var accountFields = []string{"previous_response_id", "conversation"}

// fields are what is looked for in a request's body.
func (a api) fields() []string {
	switch a {
	case responses:
		return append([]string{"model", "prompt_cache_key"}, accountFields...)
	case chat:
		return []string{"model", "prompt_cache_key"}
	case messages, other:
		return []string{"model"}
	}
	return nil // Google's have it in the path
}

// meaning is what one event of a stream says.
type meaning int

const (
	early   meaning = iota // it comes before anything that a person sees
	content                // or anything else that can't be taken back
	limit                  // the account's quota or rate: another account would do
)

// preludes are events that come before any content.
var preludes = map[string]bool{
	"message_start": true, "ping": true,
	"response.created": true, "response.queued": true, "response.in_progress": true,
	"codex.rate_limits": true, "response.rate_limits": true, "rate_limits.updated": true, "keepalive": true,
}

// read says what an event with this data means before the first content.
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

// wordless reports that no choice of a chunk has said anything yet.
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

// isLimit reports that an event refuses the account, by the words that the broker's
// verdicts know.
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

// lasts are what a stream's last event has in it. The other APIs' streams just end.
var lasts = map[api][]string{
	messages:  {"message_stop", `"error"`},
	responses: {"response.completed", "response.failed", "response.incomplete", "response.cancelled", `"error"`},
}

// isLast reports that the stream may end after an event with this data.
func (a api) isLast(data []byte) bool {
	for _, word := range lasts[a] {
		if bytes.Contains(data, []byte(word)) {
			return true
		}
	}
	return len(lasts[a]) == 0
}
