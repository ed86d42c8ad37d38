package brokertest

import (
	"bytes"
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
func (s *Server) write(w http.ResponseWriter, r *http.Request, a answer, f Fault) {
	if f.Reset == CutHeaders {
		abort(w)
		return
	}
	if f.Stall == CutHeaders {
		s.stay(r)
		return
	}
	if a.header.Get("Date") == "" {
		a.header.Set("Date", s.now().UTC().Format(http.TimeFormat))
	}
	if cut := f.Reset + f.Stall; cut == CutMidHeaders || cut == CutMidBody {
		s.writePart(w, a, cut, f.Stall != "")
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
func (s *Server) writePart(w http.ResponseWriter, a answer, cut Cut, stall bool) {
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
