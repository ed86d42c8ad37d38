package etcd

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/stats"
)

// parcel is a call on its way: whether the transport took it.
type parcel struct{ sent atomic.Bool }

type parcelKey struct{}

// courier notes which calls were sent. gRPC tells it before the first byte of a call can
// leave this machine.
type courier struct{}

// HandleRPC notes what was sent.
func (courier) HandleRPC(ctx context.Context, s stats.RPCStats) {
	if _, ok := s.(*stats.OutHeader); ok {
		if p, ok := ctx.Value(parcelKey{}).(*parcel); ok {
			p.sent.Store(true)
		}
	}
}

// TagRPC does nothing: the call's context has the parcel.
func (courier) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context { return ctx }

// TagConn does nothing.
func (courier) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }

// HandleConn does nothing.
func (courier) HandleConn(context.Context, stats.ConnStats) {}

// impatient makes a call fail once no endpoint can be reached; etcd's client would wait for
// the context's end.
func impatient(ctx context.Context, method string, request, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, options ...grpc.CallOption) error {
	return next(ctx, method, request, reply, conn, append(options, grpc.WaitForReady(false))...)
}

// doubt is why no server that was tried last could be trusted, or trusted this machine. gRPC
// makes a text of it.
type doubt struct {
	mu  sync.Mutex
	err error
}

func (d *doubt) certificate() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.err
}

func (d *doubt) set(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

// note keeps an error that is about a certificate, this machine's or the server's.
func (d *doubt) note(err error) {
	_, theirs := errors.AsType[*tls.CertificateVerificationError](err)
	alert, ok := errors.AsType[*net.OpError](err)
	if theirs || ok && alert.Op == "remote error" {
		d.set(err)
	}
}

// handshakes are TLS's, whose errors are noted.
type handshakes struct {
	credentials.TransportCredentials
	doubt *doubt
}

// ClientHandshake is TLS's. In TLS 1.3 a server looks at this machine's certificate when the
// handshake is over on this side; what it says of it is read as the first thing.
func (h handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if err != nil {
		h.doubt.note(err)
		return nil, nil, err
	}
	return &listening{Conn: conn, doubt: h.doubt}, info, nil
}

// Clone keeps the notes in one place.
func (h handshakes) Clone() credentials.TransportCredentials {
	return handshakes{h.TransportCredentials.Clone(), h.doubt}
}

type listening struct {
	net.Conn
	doubt *doubt
	heard atomic.Bool
}

// Write looks for what the server said before it closed the connection: gRPC writes first,
// and then doesn't read.
func (l *listening) Write(b []byte) (int, error) {
	n, err := l.Conn.Write(b)
	if err != nil && !l.heard.Load() {
		_ = l.SetReadDeadline(time.Now().Add(time.Second))
		_, _ = l.Read(make([]byte, 1))
	}
	return n, err
}

// Read clears the doubt with the first byte that comes.
func (l *listening) Read(b []byte) (int, error) {
	n, err := l.Conn.Read(b)
	switch {
	case n > 0 && !l.heard.Swap(true):
		l.doubt.set(nil)
	case err != nil && !l.heard.Load():
		l.doubt.note(err)
	}
	return n, err
}
