package brokertest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
)

// Spoil is a way to make a good JSON answer hard to read.
type Spoil string

// The ways. All but the first are dialects of servers that were met: a client is
// to understand them.
const (
	SpoilTruncate    Spoil = "truncate"     // half of the document
	SpoilGzip        Spoil = "gzip"         // compressed, asked for or not
	SpoilForm        Spoil = "form"         // form-encoded, and says so
	SpoilSemicolon   Spoil = "semicolon"    // as form, with a raw semicolon before the tokens
	SpoilPercent     Spoil = "percent"      // as form, with a percent sign before them that escapes nothing
	SpoilBOM         Spoil = "bom"          // a byte order mark first
	SpoilGuard       Spoil = "guard"        // a line first that keeps it from running as a script
	SpoilNotice      Spoil = "notice"       // a warning of the server's own program first
	SpoilLineEnds    Spoil = "line-ends"    // a raw line end in a text before the tokens
	SpoilNaN         Spoil = "nan"          // a number before the tokens that JSON has not
	SpoilText        Spoil = "text"         // the document as a JSON text
	SpoilList        Spoil = "list"         // a list of one
	SpoilData        Spoil = "data"         // within the member "data"
	SpoilAuthedUser  Spoil = "authed-user"  // within the member "authed_user"
	SpoilNumbers     Spoil = "numbers"      // numbers as texts
	SpoilCreated     Spoil = "created"      // 201
	SpoilDuplicate   Spoil = "duplicate"    // every member twice, the good value last
	SpoilContentType Spoil = "content-type" // text/html over good JSON
	SpoilNoType      Spoil = "no-type"      // no Content-Type at all
)

// Spelled lists the dialects: a good answer is complete in each of them.
func Spelled() []Spoil {
	return []Spoil{
		SpoilGzip, SpoilForm, SpoilSemicolon, SpoilPercent, SpoilBOM, SpoilGuard, SpoilNotice, SpoilLineEnds, SpoilNaN, SpoilText,
		SpoilList, SpoilData, SpoilAuthedUser, SpoilNumbers, SpoilCreated, SpoilDuplicate, SpoilContentType, SpoilNoType,
	}
}

// apply changes a good answer; refusals stay as they are.
func (s Spoil) apply(a answer) (answer, error) {
	if a.status >= 300 {
		return a, nil
	}
	around := func(before, after string) { a.body = []byte(before + string(a.body) + after) }
	switch s {
	case "":
	case SpoilTruncate:
		a.body = a.body[:len(a.body)/2]
	case SpoilGzip:
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(a.body)
		_ = w.Close()
		a.body = b.Bytes()
		a.header.Set("Content-Encoding", "gzip")
	case SpoilForm:
		return formEncoded(a, "")
	case SpoilSemicolon:
		return formEncoded(a, "note=a;b&")
	case SpoilPercent:
		return formEncoded(a, "note=100%&")
	case SpoilBOM:
		around("\ufeff", "")
	case SpoilGuard:
		around(")]}',\n", "")
	case SpoilNotice:
		around("<br />\n<b>Warning</b>:  Undefined array key {\"scope\"} in <b>/srv/token.php</b> on line <b>7</b><br />\n", "\n")
	case SpoilLineEnds:
		a.body = before(a.body, "\"note\":\"two\r\nlines\"")
	case SpoilNaN:
		a.body = before(a.body, `"load":NaN`)
	case SpoilText:
		text, err := json.Marshal(string(a.body))
		if err != nil {
			return a, err
		}
		a.body = text
	case SpoilList:
		around("[", "]")
	case SpoilData:
		around(`{"code":0,"message":"success","data":`, "}")
	case SpoilAuthedUser:
		around(`{"ok":true,"authed_user":`, "}")
	case SpoilNumbers:
		return quotedNumbers(a)
	case SpoilCreated:
		a.status = http.StatusCreated
	case SpoilDuplicate:
		return duplicated(a)
	case SpoilContentType:
		a.header.Set("Content-Type", "text/html; charset=utf-8")
	case SpoilNoType:
		a.header["Content-Type"] = nil
	default:
		return a, fmt.Errorf("unknown way %q", s)
	}
	return a, nil
}

// before puts a member before the first one of an object.
func before(object []byte, member string) []byte {
	return []byte("{" + member + "," + string(object[1:]))
}

func members(body []byte) (map[string]any, error) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, fmt.Errorf("the answer is no JSON object: %w", err)
	}
	return fields, nil
}

// formEncoded makes a form of the answer; first goes before it.
func formEncoded(a answer, first string) (answer, error) {
	fields, err := members(a.body)
	if err != nil {
		return a, err
	}
	form := url.Values{}
	for name, v := range fields {
		form.Set(name, fmt.Sprint(v))
	}
	a.body = []byte(first + form.Encode())
	a.header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a, nil
}

func quotedNumbers(a answer) (answer, error) {
	fields, err := members(a.body)
	if err != nil {
		return a, err
	}
	for name, v := range fields {
		if n, ok := v.(json.Number); ok {
			fields[name] = n.String()
		}
	}
	a.body, err = json.Marshal(fields)
	return a, err
}

func duplicated(a answer) (answer, error) {
	fields, err := members(a.body)
	if err != nil {
		return a, err
	}
	decoy := map[string]any{}
	for name, v := range fields {
		if _, ok := v.(string); ok {
			decoy[name] = "not-this-one"
		} else {
			decoy[name] = v
		}
	}
	first, err := json.Marshal(decoy)
	if err != nil {
		return a, err
	}
	a.body = append(append(first[:len(first)-1], ','), a.body[1:]...)
	return a, nil
}
