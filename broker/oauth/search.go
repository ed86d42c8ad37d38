package oauth

import (
	"bytes"
	"encoding/json"
	"html"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/authferry/authferry/rawtext"
)

// A successful answer can have its tokens in a place that RFC 6749 §5.1 doesn't have: after
// a notice, in a wrapper, in malformed JSON. The refresh token is spent by then, so the
// answer is searched before its tokens are given up.

const (
	maxDepth = 32 // of objects within objects
	maxLevel = 4  // of texts within texts: JSON in a JSON string
)

// search finds the tokens in a malformed answer: in the first object, the outer ones before
// the inner, that has an access token, or better, a new refresh token too. The secrets of
// the request don't count, and neither does anything within an error. ok is false if there
// are none.
func search(body []byte, cut error, sent echoes) (m members, ok bool) {
	s := &scanner{sent: sent, work: 1<<16 + 16*len(body)}
	text := plainText(body)
	s.scan(text, nil, 0)
	if strings.Contains(text, "&quot;") || strings.Contains(text, "&#34;") {
		s.scan(html.UnescapeString(text), nil, 1)
	}
	s.level = 1
	form := s.add(nil)
	form.cut = cut
	for name, values := range formFields(text, cut) {
		form.set(name, textMember(values[len(values)-1]), sent)
		s.inside(values[len(values)-1], form)
	}
	var found *object
	for _, o := range s.found {
		if o.text("access_token") != "" && !o.withinError() && (found == nil || o.betterThan(found)) {
			found = o
		}
	}
	if found == nil {
		return members{}, false
	}
	if found.cut != nil && cut != nil {
		found.cut = cut
	}
	return found.members, true
}

// echoes are the secrets of a request, which don't count as new in its answer.
type echoes []string

func (e echoes) has(s string) bool {
	return s != "" && slices.Contains(e, s)
}

// object is an object that was found, with the members that could be read.
type object struct {
	members
	within *object // the object around it
	level  int     // of the text that it is in
}

// betterThan prefers real objects to those in a string, which a person may have written.
func (o *object) betterThan(p *object) bool {
	if o.level != p.level {
		return o.level < p.level
	}
	return p.text("refresh_token") == "" && o.text("refresh_token") != ""
}

// withinError reports whether an object is an error's explanation, or within one.
func (o *object) withinError() bool {
	for around := o.within; around != nil; around = around.within {
		if around.refuses() {
			return true
		}
	}
	return false
}

// set keeps the last value of each name that has one.
func (o *object) set(name string, value json.RawMessage, sent echoes) {
	if standard, ok := otherNames[strings.ReplaceAll(strings.ToLower(name), "_", "")]; ok && standard != name {
		if _, taken := o.fields[standard]; taken {
			return
		}
		name = standard
	}
	if _, taken := o.fields[name]; taken && (string(value) == `""` || string(value) == "null") {
		return
	}
	if name == "access_token" || name == "refresh_token" {
		var s string
		if json.Unmarshal(value, &s) != nil || rawtext.Nothing(s) {
			return
		}
		if sent.has(s) {
			o.echo = o.echo || name == "refresh_token"
			return
		}
	}
	o.fields[name] = value
}

// otherNames are the standard's members as other conventions spell them.
var otherNames = map[string]string{
	"accesstoken": "access_token", "refreshtoken": "refresh_token", "tokentype": "token_type", "expiresin": "expires_in",
	"idtoken": "id_token", "refreshtokenexpiresin": "refresh_token_expires_in", "refreshexpiresin": "refresh_expires_in",
}

// scanner reads objects from any text. It accepts what JSON doesn't allow: raw control
// characters, single quotes, bare names, NaN, extra commas. What it can't read it skips.
type scanner struct {
	text  string
	at    int
	work  int // the number of characters that may still be read
	level int
	sent  echoes
	found []*object
}

func (s *scanner) add(within *object) *object {
	o := &object{members: members{fields: map[string]json.RawMessage{}, cut: errBroken}, within: within, level: s.level}
	s.found = append(s.found, o)
	return o
}

// scan reads a text in the object within; nil: the text is the answer.
func (s *scanner) scan(text string, within *object, level int) {
	if level > maxLevel {
		return
	}
	inner := &scanner{text: text, work: s.work, level: level, sent: s.sent, found: s.found}
	for inner.more() {
		switch inner.text[inner.at] {
		case '{':
			inner.object(within, 0)
		case '"':
			// A string with JSON in it, or a quotation mark in a text.
			if end, ok := inner.endOfString(); ok && strings.Contains(inner.text[inner.at:end], `\"`) {
				inner.inside(unquote(inner.text[inner.at+1:end-1]), within)
				inner.at = end
				continue
			}
			inner.at++
		default:
			inner.at++
		}
	}
	s.work, s.found = inner.work, inner.found
}

// inside reads the text of a string, if it may be JSON.
func (s *scanner) inside(text string, within *object) {
	if strings.Contains(text, "{") && strings.Contains(text, ":") {
		s.scan(text, within, s.level+1)
	}
}

// more reports whether there is text left to read, within the limit.
func (s *scanner) more() bool {
	s.work--
	return s.at < len(s.text) && s.work > 0
}

// object reads an object from its opening brace on.
func (s *scanner) object(within *object, depth int) *object {
	o := s.add(within)
	damaged := false
	s.at++
	for s.more() {
		switch c := s.text[s.at]; {
		case c == '}':
			s.at++
			if !damaged {
				o.cut = nil
			}
			return o
		case space(c) || c == ',':
			s.at++
		case c == '{' && depth < maxDepth:
			damaged = true
			s.object(o, depth+1)
		default:
			name, ok := s.name()
			if !ok {
				damaged = true
				continue
			}
			value, ok := s.value(o, depth)
			if !ok {
				damaged = true
			}
			if value != nil {
				o.set(name, value, s.sent)
			}
		}
	}
	return o
}

// name reads a member's name and the colon after it. If there is none, it skips what can't
// be the beginning of one.
func (s *scanner) name() (string, bool) {
	var name string
	end := s.at
	switch s.text[s.at] {
	case '"', '\'':
		after, ok := s.endOfString()
		if !ok {
			s.at++
			return "", false
		}
		name, end = unquote(s.text[s.at+1:after-1]), after
	default:
		for end < len(s.text) && wordly(s.text[end]) {
			end++
		}
		if name = s.text[s.at:end]; name == "" {
			s.at++
			return "", false
		}
	}
	colon := end
	for colon < len(s.text) && space(s.text[colon]) {
		colon++
	}
	s.work -= colon - s.at
	switch {
	case colon < len(s.text) && s.text[colon] == ':':
		s.at = colon + 1
		return name, true
	case s.text[s.at] == '"' || s.text[s.at] == '\'':
		s.at++ // any quotation mark in a text may be the one before a name
	default:
		s.at = end
	}
	return "", false
}

// value reads a JSON value; nil: there is no usable one. ok: the end of the value is known.
func (s *scanner) value(within *object, depth int) (value json.RawMessage, ok bool) {
	for s.more() && space(s.text[s.at]) {
		s.at++
	}
	if !s.more() {
		return nil, false
	}
	switch c := s.text[s.at]; {
	case c == '"' || c == '\'':
		end, ok := s.endOfString()
		if !ok {
			s.at = len(s.text)
			return nil, false
		}
		text := unquote(s.text[s.at+1 : end-1])
		s.at = end
		s.inside(text, within)
		return textMember(text), true
	case c == '{' && depth < maxDepth:
		o := s.object(within, depth+1)
		raw, err := json.Marshal(o.fields)
		return raw, err == nil && o.cut == nil
	case c == '[' && depth < maxDepth:
		return s.list(within, depth+1)
	}
	return s.bare()
}

func (s *scanner) list(within *object, depth int) (json.RawMessage, bool) {
	list := []json.RawMessage{}
	s.at++
	whole := true
	for s.more() {
		switch c := s.text[s.at]; {
		case c == ']':
			s.at++
			raw, err := json.Marshal(list)
			return raw, err == nil && whole
		case space(c) || c == ',':
			s.at++
		case c == '}' || c == ':': // it is not terminated
			return nil, false
		default:
			value, ok := s.value(within, depth)
			whole = whole && ok
			if value != nil {
				list = append(list, value)
			}
		}
	}
	return nil, false
}

// noValues are words in place of a value that JSON doesn't have.
var noValues = []string{"NaN", "Infinity", "-Infinity", "+Infinity", "undefined", "None", "True", "False", "nil"}

// bare reads a number, true, false or null. At the end of the text it is incomplete: half a
// number is a number.
func (s *scanner) bare() (json.RawMessage, bool) {
	begin := s.at
	for s.at < len(s.text) && !strings.ContainsRune(",}]\r\n\"'{[", rune(s.text[s.at])) {
		s.at++
	}
	s.work -= s.at - begin
	word := strings.TrimSpace(s.text[begin:s.at])
	if s.at == len(s.text) {
		return nil, false
	}
	switch {
	case s.at > begin:
	case strings.IndexByte(",}]", s.text[s.at]) >= 0:
		return nil, true // there is none
	default: // a brace or bracket that is too deep
		s.at++
		return nil, false
	}
	if json.Valid([]byte(word)) {
		return json.RawMessage(word), true
	}
	return nil, slices.Contains(noValues, word)
}

// endOfString returns what follows the string that begins here, if it ends.
func (s *scanner) endOfString() (int, bool) {
	quote := s.text[s.at]
	for i := s.at + 1; i < len(s.text); i++ {
		switch s.text[i] {
		case '\\':
			i++
		case quote:
			s.work -= i - s.at
			return i + 1, true
		}
	}
	s.work -= len(s.text) - s.at
	return 0, false
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func wordly(c byte) bool {
	return c >= utf8.RuneSelf || c == '_' || c == '-' || c == '$' || c == '.' ||
		c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// unquote reads the text between two quotation marks. A control character is itself, and so
// is an escaped character that needs no escape.
func unquote(raw string) string {
	if !strings.ContainsRune(raw, '\\') {
		return raw
	}
	var strict bytes.Buffer
	strict.WriteByte('"')
	for i := 0; i < len(raw); i++ {
		c := raw[i]
		switch {
		case c == '\\' && i+1 < len(raw) && strings.IndexByte(`"\/bfnrtu`, raw[i+1]) >= 0:
			strict.WriteByte(c)
			i++
			strict.WriteByte(raw[i])
		case c == '\\':
			if i++; i < len(raw) {
				strict.Write(textMember(raw[i : i+1])[1:])
				strict.Truncate(strict.Len() - 1)
			}
		case c < ' ' || c == '"':
			b := textMember(string(c))
			strict.Write(b[1 : len(b)-1])
		default:
			strict.WriteByte(c)
		}
	}
	strict.WriteByte('"')
	var s string
	if json.Unmarshal(strict.Bytes(), &s) != nil { // \u without four digits
		return raw
	}
	return s
}

// textMember is s as the value of a member.
func textMember(s string) json.RawMessage {
	raw, err := json.Marshal(s)
	if err != nil {
		return nil // a string can always be encoded
	}
	return raw
}
