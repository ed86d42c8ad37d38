package oauth

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
	"unicode/utf16"
)

// members are those of an answer's JSON object, or the fields of a form.
type members struct {
	fields map[string]json.RawMessage
	cut    error // more were cut off, with the reason
	odd    bool  // the answer was not exactly one object, or had a member twice
	echo   bool  // the refresh token in it is the one that was sent
}

var (
	errEmpty  = errors.New("the answer is empty")
	errHTML   = errors.New("a web page came instead, as from a captive portal or a proxy")
	errFormat = errors.New("the answer is neither JSON nor a form")
	errBroken = errors.New("the answer breaks off")
)

// parse parses an answer's body by its form, because Content-Type is wrong too often. cut
// says that the end of the body is missing. Members before a missing or damaged part are
// found all the same, but only strings: half a number is a number.
func parse(body []byte, cut error) (members, error) {
	text := strings.TrimSpace(plainText(body))
	for _, guard := range guards {
		text = strings.TrimSpace(strings.TrimPrefix(text, guard))
	}
	switch {
	case text == "" && cut != nil:
		return members{}, cut
	case text == "":
		return members{}, errEmpty
	case text[0] == '<':
		return members{}, errHTML
	case text[0] == '{':
		m := parseObject([]byte(text))
		if m.cut != nil && cut != nil {
			m.cut = cut
		}
		return m, nil
	}
	return parseForm(text, cut)
}

// guards are written before JSON so that another site can't run it as a script.
var guards = []string{")]}',", ")]}'", ")]}", "while(1);", "while (1);", "for(;;);", "for (;;);", "{}&&"}

// plainText converts a text of any Unicode encoding to UTF-8.
func plainText(body []byte) string {
	var order binary.ByteOrder
	switch {
	case bytes.HasPrefix(body, []byte{0xff, 0xfe}), len(body) > 3 && body[0] != 0 && body[1] == 0 && body[3] == 0:
		order = binary.LittleEndian
	case bytes.HasPrefix(body, []byte{0xfe, 0xff}), len(body) > 3 && body[0] == 0 && body[1] != 0 && body[2] == 0:
		order = binary.BigEndian
	default:
		return strings.TrimPrefix(string(body), "\ufeff")
	}
	units := make([]uint16, 0, len(body)/2)
	for ; len(body) > 1; body = body[2:] {
		units = append(units, order.Uint16(body))
	}
	return strings.TrimPrefix(string(utf16.Decode(units)), "\ufeff")
}

func parseObject(body []byte) members {
	m := members{fields: map[string]json.RawMessage{}}
	dec := json.NewDecoder(bytes.NewReader(body))
	if m.read(dec) == nil {
		m.odd = m.odd || len(bytes.TrimSpace(body[dec.InputOffset():])) > 0
		return m
	}
	m.cut, m.odd = errBroken, true
	for name, value := range m.fields {
		if value[0] != '"' {
			delete(m.fields, name)
		}
	}
	return m
}

// read reads the members of one object, as far as possible; of two with the same name the
// last counts. Text after the object is ignored.
func (m *members) read(dec *json.Decoder) error {
	if _, err := dec.Token(); err != nil { // the opening brace
		return err
	}
	for dec.More() {
		name, err := dec.Token()
		if err != nil {
			return err
		}
		key, ok := name.(string)
		if !ok {
			return errFormat
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		_, twice := m.fields[key]
		m.odd = m.odd || twice
		m.fields[key] = value
	}
	_, err := dec.Token() // the closing one
	return err
}

func parseForm(body string, cut error) (members, error) {
	values := formFields(body, cut)
	if !values.Has("access_token") && !values.Has("refresh_token") && !values.Has("error") {
		if cut != nil {
			return members{}, cut
		}
		return members{}, errFormat
	}
	_, err := url.ParseQuery(body)
	m := members{fields: map[string]json.RawMessage{}, cut: cut, odd: err != nil}
	for name := range values {
		m.fields[name] = textMember(values.Get(name))
	}
	return m, nil
}

// formFields parses a form as parameters does, without the field that was cut off.
func formFields(body string, cut error) url.Values {
	if cut != nil {
		body = body[:max(0, strings.LastIndexByte(body, '&'))]
	}
	return parameters(body)
}

// text returns a member that is a string; "" for any other.
func (m members) text(name string) string {
	var s string
	if json.Unmarshal(m.fields[name], &s) != nil {
		return ""
	}
	return s
}

// words returns a string, or a list of strings as one.
func (m members) words(name string) string {
	var list []string
	if json.Unmarshal(m.fields[name], &list) == nil {
		return strings.Join(list, " ")
	}
	return m.text(name)
}

func (m members) seconds(name string) time.Duration { return lifetime(m.fields[name]) }

// object returns the members of a member; none if it is not an object.
func (m members) object(name string) members {
	var inner members
	if json.Unmarshal(m.fields[name], &inner.fields) != nil {
		inner.fields = nil
	}
	return inner
}

// decodeJSON decodes a complete document. The error doesn't quote it.
func decodeJSON(body []byte, v any) error {
	if json.Unmarshal([]byte(plainText(body)), v) != nil {
		return errFormat
	}
	return nil
}
