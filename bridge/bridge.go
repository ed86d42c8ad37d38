package bridge

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
)

// Broker is what the bridge asks for tokens. A *broker.Keeper is one.
type Broker interface {
	Token(context.Context, broker.TokenRequest) (*broker.Token, error)
	Report(context.Context, pool.Selection, broker.ReportRequest) (*broker.ReportResult, error)
}

// Options say which server is reached, and as whom. Broker, Server and Say are required.
type Options struct {
	Broker    Broker
	Selection pool.Selection
	Server    string // its address, which oauth.CheckServer accepts
	UserAgent string
	// Say makes what a person gets to read of an error: a sentence, and the command that
	// helps, which may be empty.
	Say func(*fault.Error) (message, hint string)
	// Login has a person renew the login of an account, as next says. It returns nil
	// once there is a new one. Nil: nobody is asked.
	Login func(ctx context.Context, account string, next fault.Remedy) error
	// Warn is told, in one line, of what the client hears nothing of; nil: nobody is.
	Warn func(string)
	// Log gets a line for each request; nil: none.
	Log *slog.Logger
	// Transport is for tests that need a network with faults; nil: one of its own.
	Transport http.RoundTripper
}

// Bridge passes messages on between one client and one server.
type Bridge struct {
	opt       Options
	transport http.RoundTripper
	out       *output
	room      room
	tools     tools
	opening   chan struct{} // held by who asks for the first answer
	renewing  chan struct{} // held by who opens another session
	running   sync.WaitGroup
	life      context.Context // of a run: what outlasts a request ends with it

	mu      sync.Mutex
	account string           // whose session it is; empty: no answer came yet
	last    *broker.Token    // that was sent
	calls   map[string]*call // requests of the client that are under way, by id
	session *session
	version string // the last one of the second era that the client spoke
}

// New makes a Bridge. It opens nothing.
func New(opt Options) *Bridge {
	b := &Bridge{opt: opt, transport: opt.Transport, calls: map[string]*call{}, opening: make(chan struct{}, 1), renewing: make(chan struct{}, 1)}
	if b.transport == nil {
		b.transport = newTransport()
	}
	if b.opt.Log == nil {
		b.opt.Log = slog.New(slog.DiscardHandler)
	}
	if b.opt.Warn == nil {
		b.opt.Warn = func(string) {}
	}
	return b
}

// newTransport speaks HTTP/1.1: a stream that is closed is heard at once, and none has
// to wait for another's reader. No time-out ends an answer that is slow to come; the
// client's patience does.
func newTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment, // never for loopback
		DialContext:            (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:    10 * time.Second,
		IdleConnTimeout:        60 * time.Second,
		MaxIdleConnsPerHost:    16,
		MaxResponseHeaderBytes: 256 << 10,
		DisableCompression:     true,
		Protocols:              new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// passing are troubles that may be over when the client asks again, or a person has done
// something: the bridge stays, and says so to each request.
var passing = []fault.Code{
	fault.LoginNeeded, fault.AllHeld, fault.KeystoreLocked, fault.KeystoreUnavailable, fault.KeystoreDenied, fault.KeystoreTimeout,
	fault.LockTimeout, fault.ProviderUnreachable, fault.ProviderRefused,
	fault.EngineUnreachable, fault.EngineRestored, fault.WaitingForMachine,
}

// drain is how long requests may still be answered when the client sends no more.
const drain = 30 * time.Second

// Run passes on what comes in until that ends, and what is under way was answered; then
// it ends the session. Errors are *fault.Error: why there is no token, where that can't
// change while the bridge runs or nothing ever came in; Cancelled where ctx ended.
func (b *Bridge) Run(ctx context.Context, in io.Reader, out io.Writer) error {
	_, none := b.token(ctx, "")
	if none != nil && (!slices.Contains(passing, fault.CodeOf(none)) || ctx.Err() != nil) {
		return none
	}
	inner, end := context.WithCancel(ctx)
	defer end()
	b.life = inner
	b.out = newOutput(out, end)
	defer b.goodbye(ctx)
	come, over := arrivals(inner, in)
	for some := false; ; some = true {
		select {
		case a, more := <-come:
			switch {
			case more:
				b.take(inner, a, over)
				continue
			case !some:
				return none
			}
			b.rest(inner)
			return nil
		case <-inner.Done():
		}
		if ctx.Err() != nil {
			return fault.Errorf(fault.Cancelled, "interrupted")
		}
		return nil // nobody reads what is answered
	}
}

// arrival is a line, or why there is none.
type arrival struct {
	line []byte
	err  error
}

// arrivals reads in, one line ahead; over is closed when it has ended.
func arrivals(ctx context.Context, in io.Reader) (come <-chan arrival, over <-chan struct{}) {
	lines, ended := make(chan arrival), make(chan struct{})
	go func() {
		defer close(lines)
		defer close(ended)
		for l := newLines(in); ; {
			line, err := l.next()
			if err != nil && !errors.Is(err, errTooLong) {
				return
			}
			select {
			case lines <- arrival{line, err}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return lines, ended
}

// rest waits for what is under way.
func (b *Bridge) rest(ctx context.Context) {
	done := make(chan struct{})
	go func() {
		b.running.Wait()
		close(done)
	}()
	timer := time.NewTimer(drain)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// prompt is how long a notification or an answer holds up what comes behind it: servers
// take them at once, and get them in their order.
const prompt = 5 * time.Second

// take passes one line of the client on.
func (b *Bridge) take(ctx context.Context, a arrival, over <-chan struct{}) {
	if a.err != nil {
		b.out.put(failure(nil, invalidRequest, "the message is longer than 16 MB", nil))
		return
	}
	m, err := parse(a.line)
	if err != nil {
		code := invalidRequest
		if !isJSON(a.line) {
			code = parseError
		}
		b.out.put(failure(nil, code, "this is not a JSON-RPC 2.0 message", nil))
		return
	}
	c := b.begin(m)
	if id := c.only().cancels(); id != "" && b.cancel(id, c.version != "") {
		return
	}
	if !b.room.enter(ctx, c) {
		return
	}
	own, end := context.WithCancel(ctx)
	c.end = end
	done := make(chan struct{})
	if c.lasting() {
		go b.run(own, c, done)
		return
	}
	b.running.Go(func() { b.run(own, c, done) })
	var late <-chan time.Time
	switch {
	case c.method() == initialize: // all else is part of what it opens
	case c.asks > 0:
		return
	default:
		timer := time.NewTimer(prompt)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-done:
	case <-late:
	case <-over:
	case <-ctx.Done():
	}
}

// begin makes a call of a message of the client.
func (b *Bridge) begin(m *message) *call {
	c := newCall(m, m.only().version())
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case c.version != "":
		b.version = c.version
	case b.session == nil && c.method() != initialize && !m.list:
		c.version = b.version // a notification, which says none
	}
	for id := range c.waiting {
		b.calls[id] = c
	}
	return c
}

// cancel takes a request back. It reports that the server need not hear of it: it hears
// the request's stream end, or never got the request.
func (b *Bridge) cancel(id string, silent bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.calls[id]
	if c == nil {
		return silent
	}
	c.cancelled = true
	if c.version != "" || !c.sent {
		c.end()
		return true
	}
	time.AfterFunc(drain, c.end) // a server need not answer what was cancelled
	return false
}

// run has one message of the client answered.
func (b *Bridge) run(ctx context.Context, c *call, done chan<- struct{}) {
	defer close(done)
	defer c.end()
	err := b.exchange(ctx, c)
	b.mu.Lock()
	left, silent := c.waiting, c.cancelled || ctx.Err() != nil
	c.waiting = nil
	for id := range left {
		if b.calls[id] == c {
			delete(b.calls, id)
		}
	}
	b.mu.Unlock()
	if err != nil {
		b.opt.Log.Info("not answered", "method", c.method(), "error", err)
	}
	if silent {
		return
	}
	if err == nil && len(left) > 0 {
		err = fault.Errorf(fault.ProviderRefused, "%s ended its answer before the result", b.host())
	}
	for _, p := range left {
		b.out.put(b.refusal(p, err))
	}
}

// goodbye ends the session at the server, which need not hear of it.
func (b *Bridge) goodbye(ctx context.Context) {
	b.mu.Lock()
	s, tok := b.session, b.last
	b.session = nil
	b.mu.Unlock()
	if s != nil {
		s.close()
	}
	if s != nil && s.id != "" && tok != nil {
		b.bye(context.WithoutCancel(ctx), s, tok)
	}
	if t, ok := b.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// What may be under way at once: bytes of messages whose answer did not begin yet, each
// of which counts as weight more than it has.
const (
	maxUnderWay = 64 << 20
	weight      = 64 << 10
)

// room keeps the client from sending more than that.
type room struct {
	mu      sync.Mutex
	used    int
	changed chan struct{}
}

func (r *room) enter(ctx context.Context, c *call) bool {
	size := len(c.text) + weight
	for {
		r.mu.Lock()
		if r.used+size <= maxUnderWay {
			r.used += size
			r.mu.Unlock()
			c.leave = sync.OnceFunc(func() {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.used -= size
				if r.changed != nil {
					close(r.changed)
					r.changed = nil
				}
			})
			return true
		}
		if r.changed == nil {
			r.changed = make(chan struct{})
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}
