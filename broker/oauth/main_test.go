package oauth

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

func TestMain(m *testing.M) { os.Exit(testenv.Alone(m).Run()) }

const ada = "ada@example.com"

// rig is an authorization server with one login, and a client for it.
type rig struct {
	t        *testing.T
	server   *brokertest.Server
	client   *Client
	endpoint Endpoint
	token    keystore.Secret // the refresh token
	begun    int             // times that beforeSend ran
}

func newRig(t *testing.T, cfg brokertest.Config) *rig {
	t.Helper()
	s := brokertest.New(t, cfg)
	c := &Client{Version: "1.2.3"}
	if trusting, ok := s.Client().Transport.(*http.Transport); ok && cfg.TLS != "" {
		c.Transport = func() http.RoundTripper { return (&Client{}).over(trusting.TLSClientConfig) }
	}
	return &rig{
		t: t, server: s, client: c,
		endpoint: Endpoint{TokenEndpoint: s.URL + "/token", RevocationEndpoint: s.URL + "/revoke", ClientID: "authferry-sim"},
		token:    keystore.NewSecret(s.Issue(ada).RefreshToken),
	}
}

// over is the client's own transport with other roots.
func (c *Client) over(conf *tls.Config) http.RoundTripper {
	own, ok := c.transport().(*route)
	if ok {
		own.TLSClientConfig = conf
	}
	return own
}

// under starts a rig whose next token request meets the named fault.
func under(t *testing.T, fault string) *rig {
	t.Helper()
	f, ok := brokertest.Faults()[fault]
	if !ok {
		t.Fatalf("no fault is called %s", fault)
	}
	r := newRig(t, brokertest.Config{Rotation: brokertest.Strict})
	r.server.Inject(f)
	return r
}

func (r *rig) refresh() (*Token, *Error) {
	r.t.Helper()
	tok, err := r.client.Refresh(r.t.Context(), r.endpoint, r.token, func() error { r.begun++; return nil })
	return tok, r.own(err)
}

// own is err as what every method promises, which gives no secret away.
func (r *rig) own(err error) *Error {
	r.t.Helper()
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*Error](err)
	if !ok {
		r.t.Fatalf("%T is no *Error: %v", err, err)
	}
	for _, secret := range []string{r.token.Reveal(), "afrt_", "afat_"} {
		if strings.Contains(e.Error(), secret) {
			r.t.Fatalf("a token stands in the error: %v", e)
		}
	}
	return e
}

// sentOnce fails unless exactly one request came to the server, and beforeSend
// ran for it.
func (r *rig) sentOnce() {
	r.t.Helper()
	l := r.server.Ledger()
	if l.TokenRequests != 1 || r.begun != 1 || l.Elsewhere != 0 {
		r.t.Errorf("%d token requests, beforeSend ran %d times, %d requests went elsewhere; want 1, 1, 0", l.TokenRequests, r.begun, l.Elsewhere)
	}
}

// is fails unless the request ended with that class.
func (r *rig) is(tok *Token, err *Error, want Class) {
	r.t.Helper()
	switch {
	case err == nil:
		r.t.Fatalf("it went well; want class %s", want)
	case err.Class != want:
		r.t.Fatalf("class %s (%v), want %s", err.Class, err, want)
	case (tok != nil) != (want == BadToken):
		r.t.Fatalf("class %s with the token %v", err.Class, tok)
	}
}

// next fails unless the server takes the refresh token that tok left.
func (r *rig) next(tok *Token) {
	r.t.Helper()
	if !tok.RefreshToken.Empty() {
		r.token = tok.RefreshToken
	}
	if _, err := r.client.Refresh(r.t.Context(), r.endpoint, r.token, nil); err != nil {
		r.t.Errorf("the refresh token that came is no good: %v", err)
	}
}

// fixed answers every request with the same, and counts them.
func fixed(t *testing.T, status int, header map[string]string, body string) (*rig, *int) {
	t.Helper()
	var mu sync.Mutex
	n := 0
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		mu.Lock()
		n++
		mu.Unlock()
		for name, v := range header {
			w.Header().Set(name, v)
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(s.Close)
	return &rig{t: t, client: &Client{}, endpoint: Endpoint{TokenEndpoint: s.URL, RevocationEndpoint: s.URL, ClientID: "c"},
		token: keystore.NewSecret("afrt_secret")}, &n
}

// wire accepts connections and keeps every byte that came in; answer is called
// when the request's header is there.
type wire struct {
	url string
	mu  sync.Mutex
	got strings.Builder
	end chan struct{} // closed when the first connection is over
}

func newWire(t *testing.T, answer func(net.Conn)) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	testenv.Must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	w := &wire{url: "http://" + l.Addr().String(), end: make(chan struct{})}
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer close(w.end)
		defer c.Close()
		in := bufio.NewReader(c)
		for header := true; ; {
			line, err := in.ReadString('\n')
			w.mu.Lock()
			w.got.WriteString(line)
			w.mu.Unlock()
			if err != nil {
				return
			}
			if header && line == "\r\n" {
				header = false
				answer(c)
			}
		}
	}()
	return w
}

func (w *wire) received() string {
	<-w.end
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.got.String()
}
