package serve

import (
	"bytes"
	"context"
	"io"
	"time"
)

const (
	maxHeld     = 256 << 10 // of a stream, held back before its first content
	maxPatience = 20 * time.Second
	maxRefusal  = 64 << 10 // of a refusal's body, for the broker
	slowRefusal = 5 * time.Second
)

// body is an answer's body whose beginning was read before it is passed on. Together they
// are what the API sent, byte for byte.
type body struct {
	from    io.ReadCloser
	held    []byte
	err     error         // what comes after held; nil: read from more
	reading chan struct{} // closed when a running read has ended; nil: none is running
	chunk   []byte
	n       int
	readErr error
	seen    func(p []byte, err error) // gets everything once, as it comes; may be nil
}

// fill reads into b.held until enough returns true or the body, patience or the context
// ends.
func (b *body) fill(ctx context.Context, patience time.Duration, enough func() bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for b.err == nil && !enough() {
		b.start()
		select {
		case <-b.reading:
			b.take()
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (b *body) start() {
	if b.reading != nil {
		return
	}
	if b.chunk == nil {
		b.chunk = make([]byte, 4<<10)
	}
	done := make(chan struct{})
	b.reading = done
	go func() {
		b.n, b.readErr = b.from.Read(b.chunk)
		close(done)
	}()
}

func (b *body) take() {
	b.held = append(b.held, b.chunk[:b.n]...)
	b.err = b.readErr
	b.reading = nil
	if b.seen != nil {
		b.seen(b.chunk[:b.n], b.err)
	}
}

// Read returns what was held back, and then what comes.
func (b *body) Read(p []byte) (int, error) {
	if len(b.held) == 0 && b.reading != nil {
		<-b.reading
		b.take()
	}
	if len(b.held) > 0 {
		n := copy(p, b.held)
		if b.held = b.held[n:]; len(b.held) == 0 {
			b.held = nil
		}
		return n, nil
	}
	if b.reading == nil {
		b.chunk = nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.from.Read(p)
	if b.seen != nil {
		b.seen(p[:n], err)
	}
	return n, err
}

// Close ends the answer: a running read returns.
func (b *body) Close() error { return b.from.Close() }

// silence is how long an API may send nothing in the middle of an answer. Most clients give
// up sooner; this is for those that don't.
const silence = 10 * time.Minute

// watched is a body that fails if the API is silent for too long.
type watched struct {
	from  io.ReadCloser
	timer *time.Timer
	end   context.CancelFunc // of the request
}

// watch returns body, which lives until it is closed or end is called.
func watch(body io.ReadCloser, end context.CancelFunc) io.ReadCloser {
	timer := time.AfterFunc(silence, end)
	timer.Stop()
	return &watched{body, timer, end}
}

func (w *watched) Read(p []byte) (int, error) {
	w.timer.Reset(silence)
	defer w.timer.Stop()
	return w.from.Read(p)
}

// Close ends the request too.
func (w *watched) Close() error {
	err := w.from.Close()
	w.timer.Stop()
	w.end()
	return err
}

// stream is a body of events.
type stream struct {
	body
	api     api
	events  events
	opening meaning // of its first event that is more than a prelude
	refusal []byte  // data of the first event that is a limit; nil: there was none
	told    bool    // onLimit was called
	ended   bool    // its last event came
	onLimit func(data []byte)
}

func newStream(from io.ReadCloser, a api) *stream {
	s := &stream{body: body{from: from}, api: a}
	s.events.emit = s.event
	s.seen = s.see
	return s
}

func (s *stream) see(p []byte, err error) {
	s.events.feed(p)
	if err == io.EOF { //nolint:errorlint // as a Reader returns it
		s.events.end()
	}
}

// event handles one event. One that was too long to read counts as content.
func (s *stream) event(data []byte) {
	s.ended = s.ended || data != nil && s.api.isLast(data)
	if s.opening == early {
		s.opening = content
		if data != nil {
			s.opening = s.api.read(data)
		}
		if s.opening == limit {
			s.refusal = bytes.Clone(data)
		}
		return
	}
	if s.refusal == nil && s.api.isLimit(data) {
		s.refusal = bytes.Clone(data)
	}
}

// open reads until the first event that is more than a prelude, and reports whether that is
// a limit. If it isn't, the stream begins: what was read is passed on, and onLimit is
// called for a later limit before that is passed on.
func (s *stream) open(ctx context.Context, onLimit func(data []byte)) (refused bool) {
	s.fill(ctx, maxPatience, func() bool { return s.opening != early || len(s.held) >= maxHeld })
	if s.opening == limit {
		s.told = true // by the caller
		return true
	}
	s.opening, s.onLimit = content, onLimit
	return false
}

// Read passes the stream on. One that ends too early ends with an error.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.body.Read(p)
	if s.refusal != nil && !s.told {
		s.told = true
		s.onLimit(s.refusal)
	}
	if err == io.EOF && !s.ended { //nolint:errorlint // as a Reader returns it
		err = io.ErrUnexpectedEOF
	}
	return n, err
}
