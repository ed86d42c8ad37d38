package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
)

// JSON-RPC 2.0, section 5.1; refusedHere is one of those that implementations may use.
const (
	parseError     = -32700
	invalidRequest = -32600
	refusedHere    = -32000
)

// What 2026-07-28 reserves for itself.
const (
	headerMismatch     = -32020
	unsupportedVersion = -32022
)

type rpcError struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// ours is data.authferry of an error.
type ours struct {
	Code    fault.Code `json:"code"`
	Hint    string     `json:"hint,omitempty"`
	RetryAt time.Time  `json:"retry_at,omitzero"`
}

// failure is an error in answer to id; nil: the request's id isn't known.
func failure(id json.RawMessage, code int, message string, data any) []byte {
	if len(id) == 0 {
		id = json.RawMessage("null")
	}
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(struct { // it has nothing that can't be written
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Error   rpcError        `json:"error"`
	}{"2.0", id, rpcError{code, message, data}})
	return bytes.TrimSpace(text.Bytes())
}

// serverError is an error of the server that names no request, or another one.
type serverError struct{ text json.RawMessage }

func (e *serverError) Error() string { return "the server refuses the request" }

// refusal is err in answer to a request.
func (b *Bridge) refusal(p part, err error) []byte {
	if own, ok := errors.AsType[*serverError](err); ok {
		text := append([]byte(`{"jsonrpc":"2.0","id":`), p.rawID...)
		text = append(append(text, `,"error":`...), own.text...)
		return (&message{text: append(text, '}')}).line()
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok {
		e = fault.Errorf(fault.Internal, "the request was not answered").Because(err)
	}
	said, hint := b.opt.Say(e)
	var until time.Time
	if !e.RetryAt.IsZero() {
		until = e.RetryAt.Add(time.Second - 1).UTC().Truncate(time.Second) // not too early
	}
	return failure(p.rawID, refusedHere, said, struct {
		Own ours `json:"authferry"`
	}{ours{e.Code, hint, until}})
}

func (b *Bridge) host() string { return oauth.HostOf(b.opt.Server) }

func isJSON(text []byte) bool { return json.Valid(text) }
