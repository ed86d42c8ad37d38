package oauth

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"strings"
	"time"
)

// members are those of an answer's JSON object, or the fields of a form.
type members struct {
	fields map[string]json.RawMessage
	cut    error // there were more, and why they are missing
}

var (
	errEmpty  = errors.New("the answer is empty")
	errHTML   = errors.New("a web page came instead, as from a captive portal or a proxy")
	errFormat = errors.New("the answer is neither JSON nor a form")
	errBroken = errors.New("the answer breaks off")
)

// parse reads an answer's body, by what it looks like: its Content-Type is
// wrong too often. cut says that the end of body is missing. The members before
// a missing or damaged part are found all the same; of those only strings count
// (half a number is a number).
func parse(body []byte, cut error) (members, error) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	switch {
	case len(body) == 0 && cut != nil:
		return members{}, cut
	case len(body) == 0:
		return members{}, errEmpty
	case body[0] == '<':
		return members{}, errHTML
	case body[0] == '{':
		m := parseObject(body)
		if m.cut != nil && cut != nil {
			m.cut = cut
		}
		return m, nil
	}
	return parseForm(string(body), cut)
}

func parseObject(body []byte) members {
	m := members{fields: map[string]json.RawMessage{}}
	if m.read(json.NewDecoder(bytes.NewReader(body))) == nil {
		return m
	}
	m.cut = errBroken
	for name, value := range m.fields {
		if value[0] != '"' {
			delete(m.fields, name)
		}
	}
	return m
}

// read takes one object's members, as far as they can be read; of two with one
// name the last counts. What follows the object does not matter.
func (m members) read(dec *json.Decoder) error {
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
		m.fields[key] = value
	}
	_, err := dec.Token() // the closing one
	return err
}

func parseForm(body string, cut error) (members, error) {
	if cut != nil {
		body = body[:max(0, strings.LastIndexByte(body, '&'))]
	}
	values, err := url.ParseQuery(body)
	if err != nil || !values.Has("access_token") && !values.Has("refresh_token") && !values.Has("error") {
		if cut != nil {
			return members{}, cut
		}
		return members{}, errFormat
	}
	m := members{fields: map[string]json.RawMessage{}, cut: cut}
	for name := range values {
		if m.fields[name], err = json.Marshal(values.Get(name)); err != nil {
			return members{}, errFormat
		}
	}
	return m, nil
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

// object returns the members of a member; none if it is no object.
func (m members) object(name string) members {
	var inner members
	if json.Unmarshal(m.fields[name], &inner.fields) != nil {
		inner.fields = nil
	}
	return inner
}

// decodeJSON reads a whole document. The error does not quote it.
func decodeJSON(body []byte, v any) error {
	if json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), v) != nil {
		return errFormat
	}
	return nil
}
