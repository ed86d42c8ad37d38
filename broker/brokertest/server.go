package brokertest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is a running authorization server. All methods are safe for
// concurrent use.
type Server struct {
	URL string // "http://127.0.0.1:PORT", the issuer; no slash at its end

	mu  sync.RWMutex // guards cfg
	cfg Config

	books    *books
	faults   faults
	cert     *certificate // nil without TLS
	server   *http.Server
	other    *http.Server
	otherURL string
	done     chan struct{}
	stop     sync.Once
	advance  atomic.Int64
}

// Grant is a login as `authferry import grant` reads it.
type Grant struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`
	ExpiresIn    int    `json:"expires_in"` // seconds
}

// Start starts a server; whoever starts it calls Close. An address that is
// not loopback is refused.
func Start(cfg Config) (*Server, error) {
	cfg = cfg.withDefaults()
	if err := cfg.check(); err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return nil, err
	}
	if !loopback(host) {
		return nil, fmt.Errorf("%s is not a loopback address", cfg.Addr)
	}
	inner, err := net.Listen("tcp", cfg.Addr)
	if err != nil {
		return nil, err
	}
	elsewhere, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		_ = inner.Close()
		return nil, err
	}
	s := &Server{
		URL: "http://" + inner.Addr().String(), otherURL: "http://" + elsewhere.Addr().String(),
		cfg: cfg, books: newBooks(), done: make(chan struct{}),
	}
	var l net.Listener = &listener{inner, s}
	if cfg.TLS != "" {
		if s.cert, err = newCertificate(cfg.TLS); err != nil {
			_, _ = inner.Close(), elsewhere.Close()
			return nil, err
		}
		s.URL = "https://" + inner.Addr().String()
		l = s.cert.listen(l, cfg.TLS, s.done)
	}
	s.server = serve(l, s.routes())
	s.other = serve(elsewhere, http.HandlerFunc(s.elsewhere))
	return s, nil
}

// New starts a server that ends with the test.
func New(t testing.TB, cfg Config) *Server {
	t.Helper()
	s, err := Start(cfg)
	if err != nil {
		t.Fatalf("start the authorization server: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// Close ends the server and every connection, stalled ones too.
func (s *Server) Close() {
	s.stop.Do(func() {
		close(s.done)
		_ = s.server.Close()
		_ = s.other.Close()
	})
}

// OtherURL is a second loopback server that stands for a host which must never
// see a token; the ledger counts what comes to it.
func (s *Server) OtherURL() string { return s.otherURL }

// Client is an HTTP client that trusts the server's certificate and follows no
// redirects. It keeps no connections.
func (s *Server) Client() *http.Client {
	t := &http.Transport{DisableKeepAlives: true}
	if s.cert != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: s.cert.pool(), MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

// CertPEM is the server's certificate for SSL_CERT_FILE; nil without TLS.
func (s *Server) CertPEM() []byte {
	if s.cert == nil {
		return nil
	}
	return s.cert.pem
}

// Configure changes the configuration while the server runs; Addr and TLS are
// as they were at the start.
func (s *Server) Configure(change func(*Config)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.cfg
	change(&next)
	if err := next.check(); err != nil {
		return err
	}
	s.cfg = next
	return nil
}

func (s *Server) config() Config {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.cfg
}

// Advance moves the server's clock forward: tokens age, graces end.
func (s *Server) Advance(d time.Duration) { s.advance.Add(int64(d)) }

// Now is the server's time.
func (s *Server) Now() time.Time { return time.Now().Add(time.Duration(s.advance.Load())) }

// Issue opens a login for user without any browser.
func (s *Server) Issue(user string) Grant { return s.IssueFor(user, "") }

// IssueFor is Issue for a login at the resource of that address (RFC 8707).
func (s *Server) IssueFor(user, resource string) Grant {
	cfg, now := s.config(), s.Now()
	var g Grant
	s.books.change(func() {
		f, p := s.books.open(now, cfg, user, defaultScope, "")
		f.resource = resource
		g = Grant{p.access.value, p.refresh.value, int(cfg.AccessTTL / time.Second)}
	})
	return g
}

// IssueKey returns an API key of user for the API.
func (s *Server) IssueKey(user string) string {
	key := token("afak_")
	s.books.change(func() { s.books.keys[key] = user })
	return key
}

// Revoke ends every login of user, as if they had done so on the provider's
// site.
func (s *Server) Revoke(user string) {
	now := s.Now()
	s.books.change(func() {
		for _, f := range s.books.families {
			if f.user == user {
				s.books.revoke(now, f, "revoked by the user")
			}
		}
	})
}

func (s *Server) elsewhere(w http.ResponseWriter, r *http.Request) {
	n, _ := discard(r.Body)
	s.books.change(func() {
		s.books.counts.Elsewhere++
		s.books.counts.ElsewhereBytes += n
	})
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write([]byte(`{"access_token":"elsewhere","refresh_token":"elsewhere","token_type":"Bearer","expires_in":3600}`))
}

func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	for _, r := range []struct {
		pattern string
		on      Endpoint
		handle  func(*request) answer
	}{
		{"GET /.well-known/openid-configuration", OnMetadata, (*request).metadata},
		{"GET /.well-known/oauth-authorization-server", OnMetadata, (*request).metadata},
		{"GET /.well-known/jwks.json", OnMetadata, (*request).jwks},
		{"/authorize", OnAuthorize, (*request).authorize},
		{"GET /code", OnAuthorize, (*request).showCode},
		{"POST /token", OnToken, (*request).token},
		{"POST /device_authorization", OnDevice, (*request).deviceAuthorization},
		{"/device", OnAuthorize, (*request).devicePage},
		{"POST /revoke", OnRevoke, (*request).revocation},
		{"POST /introspect", OnIntrospect, (*request).introspect},
		{"/userinfo", OnUserinfo, (*request).userinfo},
		{"/api/", OnAPI, (*request).api},
		{"GET " + resourceMetadata + "/", OnMetadata, (*request).protected},
		{"POST /register", OnRegister, (*request).register},
		{"DELETE /register/", OnRegister, (*request).unregister},
	} {
		mux.Handle(r.pattern, s.at(r.on, r.handle))
	}
	mux.HandleFunc("/mcp", s.remote)
	mux.HandleFunc("/at/{name}/mcp", s.remote)
	mux.HandleFunc("/_control", s.control)
	return mux
}

type servedKey struct{}

func serve(l net.Listener, h http.Handler) *http.Server {
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute,
		ErrorLog:          silent,
		ConnContext: func(ctx context.Context, _ net.Conn) context.Context {
			return context.WithValue(ctx, servedKey{}, new(atomic.Int64))
		},
	}
	go func() { _ = server.Serve(l) }()
	return server
}

func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
