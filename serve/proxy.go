package serve

import (
	"context"
	"crypto/sha256"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

// Broker is what the proxy asks for each request; *broker.Keeper implements it.
type Broker interface {
	Token(context.Context, broker.TokenRequest) (*broker.Token, error)
	Report(context.Context, pool.Selection, broker.ReportRequest) (*broker.ReportResult, error)
}

// Route is the part of the proxy for one provider.
type Route struct {
	Selection pool.Selection
	Pool      string // of the Selection, for Trouble only; it selects nothing
	// Paths are all that may be requested: path prefixes that end at a segment or at a ":"
	// in one; with a method and a space in front, for that method only.
	Paths []string
	// KeyOrigins are APIs that take API keys only: no login's token is sent there. If the
	// Selection's accounts may be of both kinds, it must have KeysOnly.
	KeyOrigins []string
	// Lists are headers, in lower case, in which the client's values are kept beside a
	// token's.
	Lists []string
}

// Options say what a Proxy serves, and to whom. Broker, Routes, Key, Hosts and Say are
// required.
type Options struct {
	Broker Broker
	Routes map[string]Route // by provider: the first segment of a request's path
	Key    keystore.Secret  // that a client must send
	Hosts  []string         // the accepted values of Host, with the port: see HostsOf
	// Say makes the sentence that a person reads. It must be one line.
	Say func(Trouble) string

	// Patience is how long a request waits in total for accounts that will be free soon;
	// zero: not at all.
	Patience time.Duration
	// Strange says that clients have logins of their own, which they might drop after a
	// 403: it becomes a 400.
	Strange bool
	// Log gets a line for each request; nil: none.
	Log *slog.Logger
	// Transport is for tests that need a network with faults; nil: NewTransport.
	Transport http.RoundTripper
}

// Proxy is the http.Handler. It is safe for concurrent use.
type Proxy struct {
	opt       Options
	key       [sha256.Size]byte
	transport http.RoundTripper
	reverse   *httputil.ReverseProxy
	ramps     ramps
	sessions  sessions
	reports   successes
	strangers limiter
	ending    atomic.Bool  // the connection must not be used for another request
	open      atomic.Int64 // connections
	quiet     *time.Timer
}

// quietAfter is how long there must be no request before memory is returned to the system:
// otherwise what big prompts took would stay with the process for minutes.
const quietAfter = 5 * time.Second

// New makes a Proxy. It opens nothing.
func New(opt Options) *Proxy {
	p := &Proxy{opt: opt, key: sha256.Sum256([]byte(opt.Key.Reveal())), transport: opt.Transport}
	if p.transport == nil {
		p.transport = NewTransport()
	}
	if p.opt.Log == nil {
		p.opt.Log = slog.New(slog.DiscardHandler)
	}
	p.quiet = time.AfterFunc(quietAfter, debug.FreeOSMemory)
	p.quiet.Stop()
	p.reverse = &httputil.ReverseProxy{
		Rewrite:      func(*httputil.ProxyRequest) {}, // it keeps ReverseProxy from adding anything; send does the rest
		Transport:    roundTripper(p.relay),
		ErrorHandler: p.fail,
		ErrorLog:     log.New(io.Discard, "", 0),
		BufferPool:   &copyBuffers,
	}
	return p
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// NewTransport makes the transport to the APIs. It speaks HTTP/1.1, because parallel
// uploads would queue on one HTTP/2 connection. It has no time-out for a slow answer; the
// client's patience ends that.
func NewTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment, // never for loopback
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		IdleConnTimeout:       60 * time.Second,
		MaxIdleConnsPerHost:   64,
		DisableCompression:    true,
		ExpectContinueTimeout: time.Second,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// copyBuffers have what is being sent to clients: one for each of maybe a thousand idle
// streams.
var copyBuffers = buffers{pool: sync.Pool{New: func() any { b := make([]byte, 4<<10); return &b }}}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte { return *b.pool.Get().(*[]byte) }

func (b *buffers) Put(buffer []byte) { b.pool.Put(&buffer) }

// HostsOf returns the values of Host that clients of a listener at addr send.
func HostsOf(addr net.Addr) []string {
	_, port, err := net.SplitHostPort(addr.String())
	if err != nil {
		return nil
	}
	var hosts []string
	for _, name := range []string{"127.0.0.1", "localhost", "::1"} {
		hosts = append(hosts, net.JoinHostPort(name, port))
	}
	return hosts
}

// lastRequest is how long the clients of a proxy that ends may still send a request on an
// open connection: it is answered, and they are told that it was the last.
const lastRequest = time.Second

// Serve serves the requests that come in at l until ctx ends. It then closes l and gives
// the answers in progress the time drain to end; with zero it cuts them off. It returns
// when nothing of the proxy is running any more.
func (p *Proxy) Serve(ctx context.Context, l net.Listener, drain time.Duration) error {
	server := &http.Server{
		Handler:                      p,
		DisableGeneralOptionsHandler: true,
		ReadHeaderTimeout:            10 * time.Second,
		IdleTimeout:                  2 * time.Minute,
		MaxHeaderBytes:               256 << 10,
		ErrorLog:                     log.New(io.Discard, "", 0), // its messages would quote what clients send
		Protocols:                    new(http.Protocols),
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				p.open.Add(1)
			case http.StateClosed:
				p.open.Add(-1)
			case http.StateActive, http.StateIdle, http.StateHijacked: // the last never
			}
		},
	}
	server.Protocols.SetHTTP1(true)
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		patience, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if drain > 0 {
			p.ending.Store(true)
			_ = l.Close()
			for began := time.Now(); p.open.Load() > 0 && time.Since(began) < min(lastRequest, drain); {
				time.Sleep(10 * time.Millisecond)
			}
		}
		if server.Shutdown(patience) != nil {
			_ = server.Close()
		}
	})
	err := server.Serve(l)
	if !stop() {
		<-stopped
		err = nil
	}
	p.Close()
	return err
}

// Close closes idle connections and waits for reports in progress. p must not be used
// afterwards.
func (p *Proxy) Close() {
	p.quiet.Stop()
	p.reports.wait()
	if t, ok := p.transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// ServeHTTP answers one request.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	started := time.Now()
	out := &writer{ResponseWriter: w, control: http.NewResponseController(w)}
	c := &call{started: started}
	defer func() { p.note(c, r, out) }()
	if p.ending.Load() {
		w.Header().Set("Connection", "close")
	}
	if t := p.enter(c, r); t != nil {
		p.answer(out, r, c.api, *t)
		return
	}
	if c.health {
		out.WriteHeader(http.StatusOK)
		return
	}
	if err := c.read(r); err != nil {
		p.answer(out, r, c.api, Trouble{Kind: Unreadable, Provider: c.provider})
		return
	}
	p.quiet.Reset(quietAfter)
	inner := r.WithContext(context.WithValue(r.Context(), callKey{}, c))
	inner.Body, inner.ContentLength = http.NoBody, 0 // relay has it
	p.reverse.ServeHTTP(out, inner)
}

type callKey struct{}

// note logs what became of a request.
func (p *Proxy) note(c *call, r *http.Request, w *writer) {
	if c.unknown && !p.strangers.allow() {
		return
	}
	level := slog.LevelInfo
	if r.Context().Err() != nil {
		level = slog.LevelWarn // abandoned
	}
	p.opt.Log.Log(context.WithoutCancel(r.Context()), level, "request",
		"provider", c.provider, "api", c.api.String(), "account", c.account, "status", w.status, "bytes", w.bytes,
		"attempts", c.attempts, "abandoned", r.Context().Err() != nil, "took", time.Since(c.started).Round(time.Millisecond))
}

// writer counts bytes, and gives up on a client that reads nothing for too long.
type writer struct {
	http.ResponseWriter
	control *http.ResponseController
	status  int
	bytes   int64
	renewed time.Time
}

// stuck is how long a client may read nothing of its answer.
const stuck = 10 * time.Minute

func (w *writer) WriteHeader(status int) {
	if status >= 200 {
		w.status = status
	}
	w.renew()
	w.ResponseWriter.WriteHeader(status)
}

func (w *writer) Write(data []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	w.renew()
	n, err := w.ResponseWriter.Write(data)
	w.bytes += int64(n)
	return n, err
}

func (w *writer) renew() {
	if now := time.Now(); now.Sub(w.renewed) > stuck/10 {
		w.renewed = now
		_ = w.control.SetWriteDeadline(now.Add(stuck)) // not every ResponseWriter has one
	}
}

// Unwrap is for http.ResponseController, by which ReverseProxy flushes.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// limiter lets one event per second through.
type limiter struct {
	mu   sync.Mutex
	next time.Time
}

func (l *limiter) allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.next) {
		return false
	}
	l.next = now.Add(time.Second)
	return true
}

func sameFold(list []string, s string) bool {
	return slices.ContainsFunc(list, func(o string) bool { return strings.EqualFold(o, s) })
}
