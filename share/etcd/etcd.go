// Package etcd is a shared pool's engine over etcd. Its client is the official one, kept to
// what an engine promises:
//
//   - A compare-and-swap is sent once, to one endpoint: the client may not retry. It is sent
//     again only after etcd's answer that it didn't look at it, since somebody's rights are
//     being changed meanwhile.
//   - Whether it was sent is known from the transport, not from an error's text. Not sent is
//     not applied. Sent and refused by etcd, for what a machine may or for what it asked, is
//     not applied. Everything else is unknown.
//   - Reads are linearizable.
//   - A machine is known by its certificate. Without TLS only loopback is spoken to.
package etcd

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/share/engine"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/grpclog"
	"google.golang.org/grpc/status"
)

// Config is where an etcd is and who this machine is there.
type Config struct {
	Endpoints []string // https://HOST:PORT of one cluster's nodes, or http:// on loopback
	// For https, in PEM: the servers' authority (empty: those that the system trusts), this
	// machine's certificate and its private key (both empty: etcd asks for none).
	CA, Cert, Key []byte
}

// Engine is a connection to etcd.
type Engine struct {
	client *clientv3.Client
	doubt  *doubt
}

var _ engine.Engine = (*Engine)(nil)

// quiet keeps gRPC from writing to stderr. (Before its first use: it isn't locked.)
var quiet = sync.OnceFunc(func() { grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard)) })

// Open makes the connection; nothing is sent before the first call. An error is the
// configuration's: an endpoint without TLS beyond loopback, or a certificate that isn't one.
func Open(c Config) (*Engine, error) {
	secure, err := c.secure()
	if err != nil {
		return nil, err
	}
	e := &Engine{doubt: &doubt{}}
	transport := insecure.NewCredentials()
	if secure {
		if transport, err = c.transport(e.doubt); err != nil {
			return nil, err
		}
	}
	quiet()
	e.client, err = clientv3.New(clientv3.Config{
		Endpoints:            c.Endpoints,
		Logger:               zap.NewNop(),
		MaxUnaryRetries:      1, // that is, none
		MaxCallRecvMsgSize:   biggestAnswer,
		DialKeepAliveTime:    30 * time.Second,
		DialKeepAliveTimeout: 10 * time.Second,
		DialOptions: []grpc.DialOption{
			grpc.WithTransportCredentials(transport),
			grpc.WithStatsHandler(courier{}),
			grpc.WithChainUnaryInterceptor(impatient),
			grpc.WithDisableRetry(),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 200 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 5 * time.Second},
				MinConnectTimeout: 5 * time.Second,
			}),
		},
	})
	if err != nil {
		return nil, fmt.Errorf("etcd's client: %w", err)
	}
	return e, nil
}

// secure says whether the endpoints are https.
func (c Config) secure() (bool, error) {
	if len(c.Endpoints) == 0 {
		return false, errors.New("no endpoint of etcd")
	}
	schemes := map[string]bool{}
	for _, endpoint := range c.Endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Hostname() == "" || u.Port() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			return false, fmt.Errorf("invalid endpoint %q: it has the form https://HOST:PORT", endpoint)
		}
		schemes[u.Scheme] = true
		switch {
		case u.Scheme == "https":
		case u.Scheme != "http":
			return false, fmt.Errorf("invalid endpoint %q: it has the form https://HOST:PORT", endpoint)
		case !loopback(u.Hostname()):
			return false, fmt.Errorf("invalid endpoint %q: http is for loopback alone", endpoint)
		}
	}
	if len(schemes) > 1 {
		return false, errors.New("some endpoints are https and some http")
	}
	return schemes["https"], nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c Config) transport(d *doubt) (credentials.TransportCredentials, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CA) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CA) {
			return nil, errors.New("the authority of etcd's servers: no certificate in PEM")
		}
	}
	if len(c.Cert) > 0 || len(c.Key) > 0 {
		machine, err := tls.X509KeyPair(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("the certificate of this machine: %w", err)
		}
		config.Certificates = []tls.Certificate{machine}
	}
	return handshakes{credentials.NewTLS(config), d}, nil
}

// Get reads linearizably.
func (e *Engine) Get(ctx context.Context, key string) (engine.Entry, engine.Identity, error) {
	response, err := e.read(ctx, key)
	if err != nil {
		return engine.Entry{}, engine.Identity{}, err
	}
	entry := engine.Entry{Key: key}
	if len(response.Kvs) > 0 {
		entry.Value, entry.Version = response.Kvs[0].Value, engine.Version(response.Kvs[0].ModRevision)
	}
	return entry, identity(response.Header.GetClusterId(), response.Header.GetRevision()), nil
}

// List reads all keys that begin with prefix.
func (e *Engine) List(ctx context.Context, prefix string) ([]engine.Entry, engine.Identity, error) {
	response, err := e.read(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, engine.Identity{}, err
	}
	var list []engine.Entry
	for _, kv := range response.Kvs {
		list = append(list, engine.Entry{Key: string(kv.Key), Value: kv.Value, Version: engine.Version(kv.ModRevision)})
	}
	return list, identity(response.Header.GetClusterId(), response.Header.GetRevision()), nil
}

func identity(cluster uint64, revision int64) engine.Identity {
	return engine.Identity{Cluster: strconv.FormatUint(cluster, 16), Revision: revision}
}

// read tries each endpoint once: unlike a write, a read may be repeated.
func (e *Engine) read(ctx context.Context, key string, options ...clientv3.OpOption) (response *clientv3.GetResponse, err error) {
	for range e.client.Endpoints() {
		sent := &parcel{}
		response, err = whileRightsChange(func() (*clientv3.GetResponse, error) {
			return e.client.Get(context.WithValue(ctx, parcelKey{}, sent), key, options...)
		})
		if err == nil {
			return response, nil
		}
		err = e.kind(ctx, err, sent, false)
		if ctx.Err() != nil || !errors.Is(err, engine.ErrUnreachable) {
			break
		}
	}
	return nil, err
}

// whileRightsChange repeats a call that etcd refuses to look at, since its users or roles were
// changed when it was under way: each time another machine comes or goes.
func whileRightsChange[R any](call func() (R, error)) (response R, err error) {
	for range 10 {
		if response, err = call(); !errors.Is(err, rpctypes.ErrAuthOldRevision) {
			break
		}
	}
	return response, err
}

// biggestAnswer is the size of an answer that is taken: all records of 10,000 accounts.
const biggestAnswer = 128 << 20

// biggest is the size of a value that is sent. etcd takes 1.5 MB in a request.
const biggest = 1 << 20

// Swap sets key to value, of 1 MB at most, if its version still is expect.
func (e *Engine) Swap(ctx context.Context, key string, expect engine.Version, value []byte) (engine.Entry, bool, error) {
	if len(value) > biggest {
		return engine.Entry{}, false, fmt.Errorf("%w: a value of %d bytes, of %d at most", engine.ErrRefused, len(value), biggest)
	}
	sent := &parcel{}
	then := clientv3.OpPut(key, string(value))
	if value == nil {
		then = clientv3.OpDelete(key)
	}
	response, err := whileRightsChange(func() (*clientv3.TxnResponse, error) {
		return e.client.Txn(context.WithValue(ctx, parcelKey{}, sent)).
			If(clientv3.Compare(clientv3.ModRevision(key), "=", int64(expect))).
			Then(then).Else(clientv3.OpGet(key)).Commit()
	})
	entry := engine.Entry{Key: key}
	switch {
	case err != nil:
		return engine.Entry{}, false, e.kind(ctx, err, sent, true)
	case response.Succeeded:
		if value != nil {
			entry.Value, entry.Version = append([]byte{}, value...), engine.Version(response.Header.GetRevision())
		}
	default:
		for _, answer := range response.Responses { // one, or none from what is no etcd
			for _, kv := range answer.GetResponseRange().GetKvs() {
				entry.Value, entry.Version = kv.Value, engine.Version(kv.ModRevision)
			}
		}
	}
	return entry, response.Succeeded, nil
}

// Changed returns once a key that begins with prefix has changed after the revision, or where
// etcd has forgotten what changed since.
func (e *Engine) Changed(ctx context.Context, prefix string, after int64) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	watching, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	defer cancel()
	for response := range e.client.Watch(watching, prefix, clientv3.WithPrefix(), clientv3.WithRev(after+1)) {
		switch {
		case len(response.Events) > 0 || response.CompactRevision != 0:
			return nil
		case response.Err() != nil:
			err := response.Err()
			if err.Error() == rpctypes.ErrGRPCPermissionDenied.Error() { // the text is all that etcd gives here
				err = rpctypes.ErrPermissionDenied
			}
			return e.kind(ctx, err, &parcel{}, false)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", engine.ErrUnreachable, err)
	}
	return fmt.Errorf("%w: the connection was closed", engine.ErrUnreachable)
}

// Close ends the connection and what waits on it.
func (e *Engine) Close() error {
	if err := e.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
		return fmt.Errorf("etcd's client: %w", err)
	}
	return nil
}

// kind makes one of the engine's errors of what the client returned.
func (e *Engine) kind(ctx context.Context, err error, sent *parcel, write bool) error {
	kind := engine.ErrUnreachable
	answer, answered := errors.AsType[rpctypes.EtcdError](err)
	code := status.Code(err)
	if answered {
		code = answer.Code()
	}
	switch {
	case !sent.sent.Load() && e.doubt.certificate() != nil:
		err = e.doubt.certificate()
		if _, theirs := errors.AsType[*tls.CertificateVerificationError](err); !theirs {
			kind = engine.ErrRefused
		}
	case write && sent.sent.Load() && (!answered || !refusals[code]):
		kind = engine.ErrUnknown
	case code == codes.ResourceExhausted && !answered: // by this side: the answer is too big
	case errors.Is(err, rpctypes.ErrNoSpace): // for anybody, until its administrator has made some
	case refusals[code] && !errors.Is(err, rpctypes.ErrTooManyRequests) && !errors.Is(err, rpctypes.ErrAuthOldRevision):
		kind = engine.ErrRefused
	}
	if over := ctx.Err(); over != nil && !errors.Is(err, over) {
		return failure{kind, fmt.Errorf("%w: %w", over, failure{kind, err})}
	}
	return failure{kind, err}
}

// failure is an error of a kind, in the words of what was met: gRPC puts layers of its own
// around them.
type failure struct{ kind, err error }

func (f failure) Error() string {
	text := f.err.Error()
	if i := strings.LastIndex(text, "desc = "); i >= 0 {
		text = text[i+len("desc = "):]
	}
	if unquoted, err := strconv.Unquote(text); err == nil {
		text = unquoted
	}
	return strings.TrimPrefix(text, "transport: Error while dialing: ")
}

func (f failure) Unwrap() []error { return []error{f.kind, f.err} }

// refusals are the codes of what etcd answers before anything is changed.
var refusals = map[codes.Code]bool{
	codes.PermissionDenied: true, codes.Unauthenticated: true, codes.InvalidArgument: true, codes.ResourceExhausted: true,
	codes.FailedPrecondition: true, codes.NotFound: true, codes.OutOfRange: true, codes.Unimplemented: true,
}
