// Package mcp is authferry as a server of the Model Context Protocol on stdio. It
// has one tool, which tells how the logins are and can change nothing; no answer
// of it ever holds a token.
//
// It speaks the few methods that such a server needs by itself. The official SDK,
// whose client the tests use, makes the program 2.9 MB larger and each start of
// `authferry token` a tenth slower, for what is here a page of code.
package mcp

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/authferry/authferry/broker"
)

// Server is what is served.
type Server struct {
	Version string
	// Status is asked at every call; Text writes its answer for people. An error
	// of Status is shown to the caller, so it must be fit to be shown.
	Status func() (*broker.StatusView, error)
	Text   func(*broker.StatusView) string
}

// longest is how long a message may be. Nobody has more to say to a tool that
// takes no arguments.
const longest = 1 << 20

// Serve answers on out what is asked on in, a message a line, until in ends. What
// is no message is answered with an error and passed over.
func (s Server) Serve(in io.Reader, out io.Writer) error {
	r := bufio.NewReaderSize(in, longest)
	enc := json.NewEncoder(out)
	for {
		line, err := r.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = r.ReadSlice('\n')
		}
		var answer *response
		switch line = bytes.TrimSpace(line); {
		case long:
			answer = failed(nil, parseError, "the message is too long")
		case len(line) > 0:
			answer = s.answer(line)
		}
		if answer != nil {
			if err := enc.Encode(answer); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// JSON-RPC 2.0, sections 4 to 5.1.
type (
	request struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"`
		Method  *string         `json:"method"`
		Params  json.RawMessage `json:"params"`
	}
	response struct {
		Version string          `json:"jsonrpc"`
		ID      json.RawMessage `json:"id"` // null: the request's could not be read
		Result  any             `json:"result,omitempty"`
		Error   *failure        `json:"error,omitempty"`
	}
	failure struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	}
)

const (
	parseError     = -32700
	invalidRequest = -32600
	unknownMethod  = -32601
	invalidParams  = -32602
)

func failed(id json.RawMessage, code int, message string) *response {
	return &response{Version: "2.0", ID: id, Error: &failure{code, message}}
}

// answer is nil for what needs none: notifications, and answers to questions that
// this server never asks.
func (s Server) answer(line []byte) *response {
	if !json.Valid(line) {
		return failed(nil, parseError, "not JSON")
	}
	var r request
	if err := json.Unmarshal(line, &r); err != nil || r.Version != "2.0" || !validID(r.ID) {
		return failed(nil, invalidRequest, "not a JSON-RPC 2.0 request")
	}
	switch {
	case r.ID == nil, r.Method == nil:
		return nil
	}
	result, fail := s.call(*r.Method, r.Params)
	if fail != nil {
		return &response{Version: "2.0", ID: r.ID, Error: fail}
	}
	return &response{Version: "2.0", ID: r.ID, Result: result}
}

// validID wants a string or a number, where there is one: MCP allows no null.
func validID(id json.RawMessage) bool {
	return id == nil || id[0] == '"' || id[0] == '-' || id[0] >= '0' && id[0] <= '9'
}

// versions are the protocol's versions that this server can speak, the newest
// first.
var versions = []string{"2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}

const (
	toolName     = "auth_status"
	title        = "Authentication status"
	instructions = "auth_status tells which account authferry uses for which provider, which ones are held by a limit and until when, and which need a new login. Logging in is the person's part: authferry login PROVIDER."
	description  = "Shows the accounts that authferry knows: which one is current in each pool and why, and which are valid, held (until when) or need a login. Takes no arguments, changes nothing, and never returns a token."
)

type object = map[string]any

func (s Server) call(method string, params json.RawMessage) (any, *failure) {
	switch method {
	case "initialize":
		var p struct {
			Version string `json:"protocolVersion"`
		}
		if json.Unmarshal(params, &p) != nil || p.Version == "" {
			return nil, &failure{invalidParams, "initialize needs a protocolVersion"}
		}
		if !slices.Contains(versions, p.Version) {
			p.Version = versions[0]
		}
		return object{
			"protocolVersion": p.Version,
			"capabilities":    object{"tools": object{}},
			"serverInfo":      object{"name": "authferry", "title": "authferry", "version": s.Version},
			"instructions":    instructions,
		}, nil
	case "ping":
		return object{}, nil
	case "tools/list":
		return object{"tools": []any{tool()}}, nil
	case "tools/call":
		var p struct {
			Name      string                     `json:"name"`
			Arguments map[string]json.RawMessage `json:"arguments"`
		}
		if json.Unmarshal(params, &p) != nil || p.Name != toolName {
			return nil, &failure{invalidParams, "there is one tool: " + toolName}
		}
		if len(p.Arguments) > 0 {
			return nil, &failure{invalidParams, toolName + " takes no arguments"}
		}
		return s.authStatus(), nil
	}
	return nil, &failure{unknownMethod, "no such method"}
}

func tool() any {
	return object{
		"name": toolName, "title": title, "description": description,
		"inputSchema":  object{"type": "object", "additionalProperties": false},
		"outputSchema": object{"type": "object", "properties": object{"pools": object{"type": "array", "items": object{"type": "object"}}}, "required": []string{"pools"}},
		"annotations":  object{"title": title, "readOnlyHint": true, "destructiveHint": false, "idempotentHint": true, "openWorldHint": false},
	}
}

func (s Server) authStatus() any {
	view, err := s.Status()
	if err != nil {
		return object{"isError": true, "content": text(err.Error())}
	}
	return object{"content": text(s.Text(view)), "structuredContent": view}
}

func text(t string) []any { return []any{object{"type": "text", "text": t}} }
