package bridge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// mirror puts into headers what a request of 2026-07-28 has to repeat there, so that
// what is between can read it.
func (t *tools) mirror(h http.Header, p part, version string) {
	h.Set("Mcp-Protocol-Version", version)
	h.Set("Mcp-Method", headerValue(p.method))
	member := "name"
	switch p.method {
	case "resources/read":
		member = "uri"
	case callTool, "prompts/get":
	default:
		return
	}
	name, ok := p.text(member)
	if !ok {
		return // the server says it better
	}
	h.Set("Mcp-Name", headerValue(name))
	if p.method != callTool {
		return
	}
	for _, m := range t.of(name) {
		if value, ok := m.in(p); ok {
			h["Mcp-Param-"+m.header] = []string{headerValue(value)}
		}
	}
}

const sentinel, sentinelEnd = "=?base64?", "?="

// headerValue writes what a header's value can't hold, or what looks as if this had been
// done already, in base64.
func headerValue(text string) string {
	plain := text == strings.TrimSpace(text) && !(strings.HasPrefix(text, sentinel) && strings.HasSuffix(text, sentinelEnd)) &&
		!strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
	if plain {
		return text
	}
	return sentinel + base64.StdEncoding.EncodeToString([]byte(text)) + sentinelEnd
}

// maxTools is of how many tools is known what they repeat in headers.
const maxTools = 10_000

// tools remember which arguments a tool wants repeated in headers (x-mcp-header).
type tools struct {
	mu    sync.Mutex
	known map[string][]mirrored
}

// mirrored is an argument that a header repeats.
type mirrored struct {
	header string
	path   []string
}

func (t *tools) of(name string) []mirrored {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.known[name]
}

func (t *tools) learn(name string, wants []mirrored) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known == nil || len(t.known) >= maxTools {
		t.known = map[string][]mirrored{}
	}
	t.known[name] = wants
}

// in is the argument's value in a call; ok: it has one.
func (m mirrored) in(call part) (value string, ok bool) {
	at := call.params
	for _, name := range append([]string{"arguments"}, m.path...) {
		var fields map[string]json.RawMessage
		if json.Unmarshal(at, &fields) != nil || len(fields[name]) == 0 {
			return "", false
		}
		at = fields[name]
	}
	switch {
	case at[0] == '"':
		ok = json.Unmarshal(at, &value) == nil
		return value, ok
	case string(at) == "true", string(at) == "false":
		return string(at), true
	case at[0] == '-' || at[0] >= '0' && at[0] <= '9':
		return integer(string(at)), true
	}
	return "", false
}

// integer writes a number as a decimal one, if it is whole.
func integer(number string) string {
	if strings.Trim(strings.TrimPrefix(number, "-"), "0123456789") == "" {
		return number
	}
	if f, err := strconv.ParseFloat(number, 64); err == nil && f == float64(int64(f)) && f > -1<<53 && f < 1<<53 {
		return strconv.FormatInt(int64(f), 10)
	}
	return number
}

// refused is a tool that no client of this transport may show.
type refused struct{ name, why string }

// list learns from an answer to tools/list. It returns the answer without the tools whose
// headers can't be sent, and those.
func (t *tools) list(text []byte) (rest []byte, out []refused) {
	l, ok := findTools(text)
	if !ok {
		return text, nil
	}
	var kept [][]byte
	for _, one := range l.tools {
		var tool struct {
			Name   string          `json:"name"`
			Schema json.RawMessage `json:"inputSchema"`
		}
		if json.Unmarshal(one, &tool) != nil {
			kept = append(kept, one) // the client says it better
			continue
		}
		wants, why := wanted(tool.Schema)
		if why != "" {
			out = append(out, refused{tool.Name, why})
			continue
		}
		t.learn(tool.Name, wants)
		kept = append(kept, one)
	}
	if out == nil {
		return text, nil
	}
	rest = append(rest, text[:l.from]...)
	rest = append(rest, bytes.Join(kept, []byte(","))...)
	return append(rest, text[l.to:]...), out
}

// toolList is where the tools are in an answer: between two brackets.
type toolList struct {
	from, to int
	tools    []json.RawMessage
}

// findTools finds result.tools in an answer.
func findTools(text []byte) (l toolList, ok bool) {
	d := json.NewDecoder(bytes.NewReader(text))
	if !enter(d, '{') || !seek(d, "result") || !enter(d, '{') || !seek(d, "tools") || !enter(d, '[') {
		return l, false
	}
	l.from = int(d.InputOffset())
	for d.More() {
		var one json.RawMessage
		if d.Decode(&one) != nil {
			return l, false
		}
		l.tools = append(l.tools, one)
	}
	if !enter(d, ']') {
		return l, false
	}
	l.to = int(d.InputOffset()) - 1
	return l, true
}

func enter(d *json.Decoder, delim json.Delim) bool {
	t, err := d.Token()
	return err == nil && t == delim
}

// seek goes to the value of a member of the object that d is in.
func seek(d *json.Decoder, name string) bool {
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return false
		}
		if key == name {
			return true
		}
		var skipped json.RawMessage
		if d.Decode(&skipped) != nil {
			return false
		}
	}
	return false
}

const annotation = "x-mcp-header"

// wanted are the arguments that a tool's schema wants repeated in headers; why: it asks
// for that in a way that is not allowed.
func wanted(schema json.RawMessage) (all []mirrored, why string) {
	if !bytes.Contains(schema, []byte(annotation)) {
		return nil, ""
	}
	var root any
	if json.Unmarshal(schema, &root) != nil {
		return nil, ""
	}
	s := schemaWalk{taken: map[string]bool{}}
	s.visit(root, nil, true)
	return s.found, s.why
}

type schemaWalk struct {
	found []mirrored
	taken map[string]bool // headers, in lower case
	why   string
}

// visit looks at a schema. direct: only names of properties lead to it.
func (s *schemaWalk) visit(node any, path []string, direct bool) {
	switch n := node.(type) {
	case []any:
		for _, one := range n {
			s.visit(one, path, false)
		}
	case map[string]any:
		if value, there := n[annotation]; there {
			s.annotated(n, value, path, direct)
		}
		for key, value := range n {
			switch key {
			case "enum", "const", "default", "examples", annotation:
			case "properties":
				s.each(value, path, direct)
			case "$defs", "definitions", "patternProperties", "dependentSchemas":
				s.each(value, path, false)
			default:
				s.visit(value, path, false)
			}
		}
	}
}

// each looks at schemas by name.
func (s *schemaWalk) each(node any, path []string, direct bool) {
	named, ok := node.(map[string]any)
	if !ok {
		s.visit(node, path, false)
		return
	}
	for name, one := range named {
		s.visit(one, append(slices.Clip(path), name), direct)
	}
}

func (s *schemaWalk) annotated(schema map[string]any, value any, path []string, direct bool) {
	name, ok := value.(string)
	lower := strings.ToLower(name)
	switch {
	case !ok || name == "":
		s.why = "it names no header"
	case strings.ContainsFunc(name, notTchar):
		s.why = "the name is not that of a header"
	case len(path) == 0 || !direct:
		s.why = "it wants a header for something that is not a plain parameter"
	case !primitive(schema["type"]):
		s.why = "it wants a header for a value that is not a text, a whole number or a boolean"
	case s.taken[lower]:
		s.why = "two parameters want the same header"
	default:
		s.taken[lower] = true
		s.found = append(s.found, mirrored{http.CanonicalHeaderKey(name), path})
	}
}

// primitive reports a type whose values a header can repeat.
func primitive(kind any) bool {
	switch k := kind.(type) {
	case string:
		return k == "string" || k == "integer" || k == "boolean"
	case []any:
		some := false
		for _, one := range k {
			if one == "null" {
				continue
			}
			if some = primitive(one); !some {
				return false
			}
		}
		return some
	}
	return false
}

// notTchar reports what is no character of a token (RFC 9110 §5.6.2).
func notTchar(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", r)
}
