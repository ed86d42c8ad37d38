package brokertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"strconv"
	"strings"
)

var silent = log.New(io.Discard, "", 0)

func placeholders(pairs ...string) *strings.Replacer { return strings.NewReplacer(pairs...) }

func discard(r io.Reader) (int, error) {
	n, err := io.Copy(io.Discard, io.LimitReader(r, maxBody))
	return int(n), err
}

// listener drops connections that a fault with CutAccept is waiting for.
type listener struct {
	net.Listener
	s *Server
}

func (l *listener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if _, ok := l.s.faults.take(func(f Fault) bool { return f.Reset == CutAccept }); !ok {
			return c, nil
		}
		hangUp(c)
	}
}

// hangUp closes with a reset rather than an orderly end.
func hangUp(c net.Conn) {
	if wrapped, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = wrapped.NetConn()
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}

func abort(w http.ResponseWriter) {
	if c, _, err := http.NewResponseController(w).Hijack(); err == nil {
		hangUp(c)
	}
}

// write sends the answer, or as much of it as the fault allows.
func (a answer) write(s *Server, w http.ResponseWriter, r *http.Request, f Fault) {
	if f.Reset == CutHeaders {
		abort(w)
		return
	}
	if f.Stall == CutHeaders {
		s.stay(r)
		return
	}
	if a.header.Get("Date") == "" {
		a.header.Set("Date", s.Now().UTC().Format(http.TimeFormat))
	}
	if cut := f.Reset + f.Stall; cut == CutMidHeaders || cut == CutMidBody {
		a.writePart(s, w, cut, f.Stall != "")
		return
	}
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	if f.Drip <= 0 {
		_, _ = w.Write(a.body)
		return
	}
	for i := range a.body {
		if _, err := w.Write(a.body[i : i+1]); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		if !s.pause(r, f.Drip, nil) {
			return
		}
	}
}

// writePart speaks HTTP by hand and stops in the middle.
func (a answer) writePart(s *Server, w http.ResponseWriter, cut Cut, stall bool) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", a.status, http.StatusText(a.status))
	_ = a.header.Write(&b)
	if cut == CutMidHeaders {
		b.WriteString("X-Cut: he")
	} else {
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", len(a.body))
		b.Write(a.body[:len(a.body)/2])
	}
	c, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	_, _ = c.Write(b.Bytes())
	if !stall {
		return
	}
	gone := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, c)
		close(gone)
	}()
	select {
	case <-gone:
	case <-s.done:
	}
}

// stay says nothing until the client or the server is gone.
func (s *Server) stay(r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-s.done:
	}
}

// answer is a whole HTTP response; handlers return one, so that a fault can
// change it before a byte is sent.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func reply(status int, contentType, body string) answer {
	h := http.Header{"Cache-Control": {"no-store"}}
	if contentType != "" {
		h.Set("Content-Type", contentType)
	}
	return answer{status, h, []byte(body)}
}

func jsonReply(status int, v any) answer {
	body, err := json.Marshal(v)
	if err != nil {
		return reply(http.StatusInternalServerError, "text/plain", err.Error())
	}
	return reply(status, "application/json", string(body))
}

func redirect(to string) answer {
	a := reply(http.StatusFound, "", "")
	a.header.Set("Location", to)
	return a
}

// Shape is how the token endpoint words a refusal.
type Shape string

// The shapes known from real servers.
const (
	ShapeRFC    Shape = "rfc"    // {"error":"invalid_grant","error_description":"…"}
	ShapeObject Shape = "object" // {"type":"error","error":{"type":"invalid_grant","message":"…"}}
	ShapeNested Shape = "nested" // {"error":{"message":"…","code":"refresh_token_reused"}}
	ShapeText   Shape = "text"   // {"message":"…"}, no code anywhere
)

// refusal is an OAuth error (RFC 6749 section 5.2). Kin is the provider's own
// code for it, where the shape has a place for one.
type refusal struct {
	status int
	code   string
	text   string
	kin    string
}

func invalidGrant(text string) *refusal {
	return &refusal{http.StatusBadRequest, "invalid_grant", text, "refresh_token_invalidated"}
}

func invalidRequest(text string) *refusal {
	return &refusal{status: http.StatusBadRequest, code: "invalid_request", text: text}
}

func (r *refusal) answer(shape Shape) answer {
	code := r.code
	if r.kin != "" {
		code = r.kin
	}
	switch shape {
	case ShapeObject:
		return jsonReply(r.status, map[string]any{"type": "error", "error": map[string]string{"type": r.code, "message": r.text}})
	case ShapeNested:
		return jsonReply(r.status, map[string]any{"error": map[string]any{
			"message": r.text, "type": "invalid_request_error", "param": nil, "code": code,
		}})
	case ShapeText:
		return jsonReply(r.status, map[string]string{"message": strings.ToUpper(r.text[:1]) + r.text[1:]})
	}
	return jsonReply(r.status, map[string]string{"error": r.code, "error_description": r.text})
}
