package share

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/keystore"
)

const modelLife = time.Hour

// strictServer revokes the login when a spent refresh token comes again.
type strictServer struct {
	mu       sync.Mutex
	n        int
	newest   string // refresh token
	dead     bool
	requests int
	sends    map[string]int
	reuse    int
	granted  int
	latency  time.Duration
	grace    time.Duration // for which a spent refresh token is taken again
	used     map[string]time.Time
	answer   func(n int) (status int, lost bool) // what happens to request n; nil: it is answered
	inflight int
	most     int
}

func newStrictServer() *strictServer {
	return &strictServer{sends: map[string]int{}, used: map[string]time.Time{}, latency: 200 * time.Millisecond}
}

func (s *strictServer) login() (access, refresh string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.n++
	s.newest, s.dead = fmt.Sprintf("rt-%d", s.n), false
	return fmt.Sprintf("at-%d", s.n), s.newest
}

type transport struct {
	*strictServer
	p *process
}

func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	s := t.strictServer
	s.mu.Lock()
	s.requests++
	status, lost := 0, false
	if s.answer != nil {
		status, lost = s.answer(s.requests)
	}
	w := httptest.NewRecorder()
	w.Header().Set("Content-Type", "application/json")
	if status != 0 {
		s.mu.Unlock()
		time.Sleep(s.latency)
		w.WriteHeader(status)
		return w.Result(), nil
	}
	t.p.mu.Lock()
	t.p.phase = "sent"
	t.p.mu.Unlock()
	s.inflight++
	s.most = max(s.most, s.inflight)
	_, form, _ := strings.Cut(string(body), "refresh_token=")
	sent, _, _ := strings.Cut(form, "&")
	s.sends[sent]++
	if s.sends[sent] == 1 {
		s.used[sent] = time.Now()
	}
	var answer string
	code := http.StatusOK
	switch {
	case s.dead, sent != s.newest && time.Since(s.used[sent]) >= s.grace:
		if s.sends[sent] > 1 {
			s.reuse++
			s.dead = true
		}
		code, answer = http.StatusBadRequest, `{"error":"invalid_grant"}`
	default:
		s.n++
		s.granted++
		s.newest = fmt.Sprintf("rt-%d", s.n)
		answer = fmt.Sprintf(`{"access_token":"at-%d","refresh_token":%q,"token_type":"Bearer","expires_in":%d}`, s.n, s.newest, int(modelLife.Seconds()))
	}
	t.p.model.note("%s %p sent %s: %d", t.p.id[5:8], t.p, sent, code)
	s.mu.Unlock()
	reached("sent")
	time.Sleep(s.latency)
	s.mu.Lock()
	s.inflight--
	s.mu.Unlock()
	if lost {
		t.p.model.note("%s %p answer lost", t.p.id[5:8], t.p)
		return nil, errors.New("connection reset")
	}
	w.WriteHeader(code)
	_, _ = io.WriteString(w, answer)
	return w.Result(), nil
}

// memoryChain is a keychain in memory.
type memoryChain struct {
	mu    sync.Mutex
	items map[string]keystore.Secret
}

func (*memoryChain) Kind() keystore.Kind { return keystore.Keychain }
func (*memoryChain) Backend() string     { return "memory" }

func (c *memoryChain) Get(_ context.Context, name string) (keystore.Secret, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if s, ok := c.items[name]; ok {
		return s, nil
	}
	return keystore.Secret{}, &keystore.Error{Err: keystore.ErrNotFound}
}

func (c *memoryChain) Set(_ context.Context, name string, value keystore.Secret) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items[name] = value
	return nil
}

func (c *memoryChain) Delete(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.items, name)
	return nil
}
