package bridge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime"
	"net/http"
	"strconv"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
)

// call is a message on its way to the server, and what it is answered with.
type call struct {
	*message
	asks    int    // requests in it
	version string // of the second era; empty: it is of the first
	// private: it is the bridge's own, and the client hears nothing of it.
	private  bool
	answered func(p part, text []byte) // of a private one; may be nil

	leave func()             // its bytes are no longer needed; may be nil
	end   context.CancelFunc // may be nil
	again bool               // it was sent again with other headers

	// Under the bridge's mu.
	waiting         map[string]part // requests that were not answered yet
	sent, cancelled bool
}

// method is that of the message; empty: it has none, or is a list.
func (c *call) method() string {
	if c.message == nil {
		return ""
	}
	return c.only().method
}

// lasting reports a request whose answer only ends with the client.
func (c *call) lasting() bool { return c.method() == subscribe }

// newCall makes a call of a message.
func newCall(m *message, version string) *call {
	c := &call{message: m, version: version, waiting: map[string]part{}}
	for _, p := range m.parts {
		if p.isRequest() {
			c.asks++
			c.waiting[p.id] = p
		}
	}
	return c
}

// own makes a call of the bridge's own.
func own(text []byte, version string) *call {
	m, err := parse(text)
	if err != nil {
		panic("bridge: " + err.Error()) // it was one
	}
	c := newCall(m, version)
	c.private = true
	return c
}

// exchange sends a message and gives the client what comes. Errors are *fault.Error,
// *serverError, or the context's.
func (b *Bridge) exchange(ctx context.Context, c *call) error {
	res, err := b.send(ctx, !c.private && c.asks > 0, func(tok *broker.Token) (*http.Request, *session, error) { return b.post(ctx, c, tok) })
	if c.leave != nil {
		c.leave()
	}
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	return b.answer(ctx, c, res)
}

const (
	jsonType    = "application/json"
	eventStream = "text/event-stream"
)

// post is the request for a message.
func (b *Bridge) post(ctx context.Context, c *call, tok *broker.Token) (*http.Request, *session, error) {
	req, err := b.request(ctx, http.MethodPost, bytes.NewReader(c.text), tok)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Accept", jsonType+", "+eventStream)
	var s *session
	switch {
	case c.version != "":
		b.tools.mirror(req.Header, c.only(), c.version)
	case c.method() == initialize:
	case c.private:
		if own := b.current(); own != nil {
			own.name(req.Header)
		}
	default:
		if s, err = b.ready(ctx); err != nil {
			return nil, nil, err
		}
		if s != nil {
			s.name(req.Header)
		}
	}
	b.mu.Lock()
	c.sent = true
	b.mu.Unlock()
	return req, s, nil
}

// request is one with tok's headers.
func (b *Bridge) request(ctx context.Context, method string, body io.Reader, tok *broker.Token) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, b.opt.Server, body)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "the server's address can't be used").Because(err)
	}
	for _, h := range tok.Headers {
		req.Header.Set(h.Name, h.Value.Reveal())
	}
	req.Header.Set("User-Agent", b.opt.UserAgent)
	return req, nil
}

func mediaType(res *http.Response) string {
	kind, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type")) // an odd one is none
	return kind
}

// answer gives the client what a message was answered with.
func (b *Bridge) answer(ctx context.Context, c *call, res *http.Response) error {
	kind := mediaType(res)
	switch {
	case res.StatusCode >= http.StatusMultipleChoices:
		return b.refused(ctx, c, res)
	case c.asks == 0:
		_, _ = io.CopyN(io.Discard, res.Body, maxRefusal)
		if c.method() == initialized && c.version == "" {
			b.listen()
		}
		return nil
	case kind == eventStream:
		return b.follow(ctx, c, res)
	case res.StatusCode == http.StatusOK && kind == jsonType:
		text, err := io.ReadAll(io.LimitReader(res.Body, MaxMessage+1))
		switch {
		case err != nil:
			return b.broken(err)
		case len(text) > MaxMessage:
			return b.tooLong()
		}
		return b.deliver(c, text, res.Header)
	}
	return fault.Errorf(fault.ProviderRefused, "%s answers with HTTP %d and no message", b.host(), res.StatusCode)
}

func (b *Bridge) broken(err error) error {
	if errors.Is(err, io.EOF) { // which says nothing more
		err = nil
	}
	return fault.Errorf(fault.ProviderUnreachable, "the connection to %s broke before the answer was complete; the request may have run", b.host()).Because(err)
}

func (b *Bridge) tooLong() error {
	return fault.Errorf(fault.ProviderRefused, "%s answers with more than 16 MB", b.host())
}

// deliver gives a message of the server to the client.
func (b *Bridge) deliver(c *call, text []byte, header http.Header) error {
	m, err := parse(text)
	if err != nil {
		b.opt.Log.Warn("the server sent something that is not a message", "method", c.method(), "bytes", len(text))
		return fault.Errorf(fault.ProviderRefused, "%s sent something that is not a message", b.host())
	}
	for _, p := range m.parts {
		if p.method != "" {
			continue
		}
		if p.id == "" && c.asks == 1 {
			return &serverError{p.failed}
		}
		asked := b.tick(c, p.id)
		if asked && c.method() == initialize && p.failed == nil {
			b.open(c, text, header)
		}
		if asked && c.answered != nil {
			c.answered(p, text)
		}
	}
	if c.version != "" && c.method() == listTools {
		rest, out := b.tools.list(m.text)
		for _, tool := range out {
			b.opt.Warn("tool " + short(tool.name) + " is left out: " + tool.why)
		}
		m.text = rest
	}
	if !c.private {
		b.out.put(m.line())
	}
	return nil
}

// tick notes that a request was answered. It reports whether that is one of c: a server
// may send an answer over its own stream.
func (b *Bridge) tick(c *call, id string) (own bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, own = c.waiting[id]
	delete(c.waiting, id)
	if of := b.calls[id]; of != nil && (of == c || !own) {
		delete(of.waiting, id)
		delete(b.calls, id)
	}
	return own
}

// short is a server's text, fit to be shown.
func short(text string) string {
	if r := []rune(text); len(r) > 200 {
		text = string(r[:200]) + "…"
	}
	return strconv.Quote(text)
}

// done reports that all of a call's requests were answered.
func (b *Bridge) done(c *call) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(c.waiting) == 0
}
