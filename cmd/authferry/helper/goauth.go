package helper

import (
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker"
)

// GoAuth is a request of the go command: the first is for all URLs, later ones are for a
// URL whose server refused.
type GoAuth struct {
	URL    string // empty: the first call
	Origin string // of URL; empty: none that a token may be sent to
	User   string // in URL; empty: none
	Status int    // of the server's answer; 0: there was none
	Header map[string][]string
}

// ParseGoAuth parses the argument that go appends and the answer that it writes to stdin: a
// status line and header fields, without a body. In the first call raw is empty and stdin
// is not read.
func ParseGoAuth(raw string, in io.Reader) (GoAuth, error) {
	r := GoAuth{URL: raw}
	if raw == "" {
		return r, nil
	}
	if err := clean(raw); err != nil {
		return r, err
	}
	r.User = userOf(raw)
	if r.Origin = originOf(raw); !strings.HasPrefix(r.Origin, "https:") {
		r.Origin = "" // go sends credentials over https only
	}
	data, err := read(in)
	if err != nil || len(data) == 0 {
		return r, err
	}
	status, fields, _ := strings.Cut(string(data), "\n")
	if r.Status, err = statusOf(strings.TrimSuffix(status, "\r")); err != nil {
		return r, err
	}
	r.Header = map[string][]string{}
	for line := range strings.SplitSeq(fields, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" {
			return r, nil
		}
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return r, errors.New("a line of the answer on stdin is not a header field")
		}
		if err := clean(name, strings.ReplaceAll(value, "\t", " ")); err != nil {
			return r, err
		}
		name = strings.ToLower(name)
		r.Header[name] = append(r.Header[name], strings.TrimSpace(value))
	}
	return r, errors.New("the answer on stdin is incomplete")
}

// statusOf parses a status line (RFC 9112 §4), whose reason may be missing.
func statusOf(line string) (int, error) {
	wrong := errors.New("stdin does not begin with the status line of an HTTP answer")
	if clean(line) != nil {
		return 0, errControl
	}
	version, rest, _ := strings.Cut(line, " ")
	code, _, _ := strings.Cut(rest, " ")
	status, err := strconv.Atoi(code)
	if !strings.HasPrefix(version, "HTTP/") || len(code) != 3 || err != nil || status < 100 || status > 599 {
		return 0, wrong
	}
	return status, nil
}

// EncodeGoAuth writes t's Authorization header for those of its origins that are https;
// nothing if there is none, or if requests need another header: on a redirect to another
// host go removes only Authorization.
func EncodeGoAuth(t *broker.Token) ([]byte, error) {
	var b strings.Builder
	for _, origin := range t.Origins {
		if strings.HasPrefix(origin, "https://") && clean(origin) == nil {
			b.WriteString(origin + "\n")
		}
	}
	header, err := authorization(t)
	if err != nil || header == "" || len(t.Headers) > 1 || b.Len() == 0 {
		return nil, err
	}
	b.WriteString("\nauthorization: " + header + "\n\n")
	return []byte(b.String()), nil
}
