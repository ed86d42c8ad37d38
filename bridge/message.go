package bridge

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// message is what one line or one event says in JSON-RPC 2.0: a request, a notification
// or an answer; or, up to 2025-03-26, several of them in a list.
type message struct {
	text  []byte
	parts []part
	list  bool
}

type part struct {
	id     string // a request's or an answer's, so that two spellings are one; empty: none
	rawID  json.RawMessage
	method string // empty: an answer
	params json.RawMessage
	failed json.RawMessage // an answer's error
}

func (p part) isRequest() bool { return p.method != "" && p.id != "" }

var errNoMessage = errors.New("not a JSON-RPC 2.0 message")

// parse takes a text apart as far as it matters here. text is kept.
func parse(text []byte) (*message, error) {
	text = bytes.TrimSpace(text)
	m := &message{text: text}
	if len(text) == 0 || !utf8.Valid(text) {
		return nil, errNoMessage
	}
	if text[0] != '[' {
		p, err := parsePart(text)
		m.parts = []part{p}
		return m, err
	}
	var all []json.RawMessage
	if json.Unmarshal(text, &all) != nil || len(all) == 0 {
		return nil, errNoMessage
	}
	m.list = true
	for _, one := range all {
		p, err := parsePart(one)
		if err != nil {
			return nil, err
		}
		m.parts = append(m.parts, p)
	}
	return m, nil
}

func parsePart(text []byte) (p part, err error) {
	var fields map[string]json.RawMessage // a struct would take "ID" as well
	if text[0] != '{' || json.Unmarshal(text, &fields) != nil || string(fields["jsonrpc"]) != `"2.0"` {
		return p, errNoMessage
	}
	p.rawID, p.params, p.failed = fields["id"], fields["params"], fields["error"]
	if p.id, err = normalID(p.rawID); err != nil {
		return p, err
	}
	raw, asks := fields["method"]
	_, answers := fields["result"]
	answers = answers || p.failed != nil
	if asks == answers || asks && (json.Unmarshal(raw, &p.method) != nil || p.method == "") {
		return p, errNoMessage
	}
	if answers && p.id == "" && p.failed == nil {
		return p, errNoMessage
	}
	return p, nil
}

// normalID tells the text "1" from the number. null is no id.
func normalID(raw json.RawMessage) (string, error) {
	switch {
	case len(raw) == 0, string(raw) == "null":
		return "", nil
	case raw[0] == '"':
		var text string
		err := json.Unmarshal(raw, &text)
		return "text " + text, err
	case raw[0] == '-' || raw[0] >= '0' && raw[0] <= '9':
		return "number " + string(raw), nil
	}
	return "", errNoMessage
}

// line is the message's text without the line breaks that JSON allows between its parts.
func (m *message) line() []byte {
	if !bytes.ContainsAny(m.text, "\r\n") {
		return m.text
	}
	return bytes.Map(func(r rune) rune {
		if r == '\r' || r == '\n' {
			return ' '
		}
		return r
	}, m.text)
}

// only is the one part of a message that is no list; else its zero value.
func (m *message) only() part {
	if m.list {
		return part{}
	}
	return m.parts[0]
}

// The methods that mean something here.
const (
	initialize  = "initialize"
	initialized = "notifications/initialized"
	cancelled   = "notifications/cancelled"
	listTools   = "tools/list"
	callTool    = "tools/call"
	subscribe   = "subscriptions/listen"
)

// versionKey is where a message of 2026-07-28 and later says its version.
const versionKey = "io.modelcontextprotocol/protocolVersion"

// version is what the message says of its version in _meta; empty: it is of the first
// era.
func (p part) version() string {
	var params map[string]json.RawMessage
	if len(p.params) == 0 || !bytes.Contains(p.params, []byte(versionKey)) || json.Unmarshal(p.params, &params) != nil {
		return ""
	}
	var meta map[string]json.RawMessage
	var v string
	if json.Unmarshal(params["_meta"], &meta) != nil || json.Unmarshal(meta[versionKey], &v) != nil || !validVersion(v) {
		return ""
	}
	return v
}

// validVersion reports what can stand in a header.
func validVersion(v string) bool {
	return v != "" && len(v) <= 64 && !strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' })
}

// text returns the member of params of that name, if it is a text.
func (p part) text(name string) (string, bool) {
	var params map[string]json.RawMessage
	var text string
	if len(p.params) == 0 || json.Unmarshal(p.params, &params) != nil || len(params[name]) == 0 || params[name][0] != '"' {
		return "", false
	}
	err := json.Unmarshal(params[name], &text)
	return text, err == nil
}

// cancels is the id of the request that a notification takes back.
func (p part) cancels() string {
	var params map[string]json.RawMessage
	if p.method != cancelled || json.Unmarshal(p.params, &params) != nil {
		return ""
	}
	id, err := normalID(params["requestId"])
	if err != nil {
		return ""
	}
	return id
}

// MaxMessage is how long a message may be.
const MaxMessage = 16 << 20

var errTooLong = errors.New("longer than 16 MB")

// lines reads messages, one a line.
type lines struct{ r *bufio.Reader }

func newLines(in io.Reader) *lines { return &lines{bufio.NewReaderSize(in, 64<<10)} }

// next returns the next line that has something in it, which is the caller's to keep.
// The error is errTooLong for one that was skipped, and io.EOF at the end.
func (l *lines) next() ([]byte, error) {
	for {
		line, err := l.line()
		if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
			return line, err
		}
	}
}

func (l *lines) line() (line []byte, err error) {
	long := false
	for {
		part, err := l.r.ReadSlice('\n')
		if long = long || len(line)+len(part) > MaxMessage+1; !long {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case long && (err == nil || errors.Is(err, io.EOF)):
			return nil, errTooLong
		case errors.Is(err, io.EOF) && len(bytes.TrimSpace(line)) > 0:
			return line, nil // the last one may lack its end
		default:
			return line, err
		}
	}
}

// output takes messages, one a line, from any number of goroutines.
type output struct {
	mu   sync.Mutex
	w    *bufio.Writer
	err  error
	gone func() // nobody reads any more
}

func newOutput(w io.Writer, gone func()) *output {
	return &output{w: bufio.NewWriterSize(w, 4<<10), gone: gone}
}

// put writes a message. It returns when the reader has taken it, or the system in its
// place.
func (o *output) put(message []byte) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		return
	}
	_, _ = o.w.Write(message)
	_ = o.w.WriteByte('\n')
	if o.err = o.w.Flush(); o.err != nil { // of the writes before as well
		o.gone()
	}
}
