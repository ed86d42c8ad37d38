package brokertest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"net/url"
)

// Spoil is a way to make a good JSON answer hard to read.
type Spoil string

// The ways.
const (
	SpoilTruncate    Spoil = "truncate"     // half of the document
	SpoilGzip        Spoil = "gzip"         // compressed, asked for or not
	SpoilForm        Spoil = "form"         // form-encoded, and says so
	SpoilBOM         Spoil = "bom"          // a byte order mark first
	SpoilDuplicate   Spoil = "duplicate"    // every member twice, the good value last
	SpoilContentType Spoil = "content-type" // text/html over good JSON
	SpoilNoType      Spoil = "no-type"      // no Content-Type at all
)

func (s Spoil) apply(a answer) (answer, error) {
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
		return formEncoded(a)
	case SpoilBOM:
		a.body = append([]byte("\ufeff"), a.body...)
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

func members(body []byte) (map[string]any, error) {
	var fields map[string]any
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if err := d.Decode(&fields); err != nil {
		return nil, fmt.Errorf("the answer is no JSON object: %w", err)
	}
	return fields, nil
}

func formEncoded(a answer) (answer, error) {
	fields, err := members(a.body)
	if err != nil {
		return a, err
	}
	form := url.Values{}
	for name, v := range fields {
		form.Set(name, fmt.Sprint(v))
	}
	a.body = []byte(form.Encode())
	a.header.Set("Content-Type", "application/x-www-form-urlencoded")
	return a, nil
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
