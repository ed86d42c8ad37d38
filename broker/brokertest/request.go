package brokertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

const maxBody = 1 << 20

var errEncoding = errors.New("the body is neither a form nor a JSON object of strings")

// request is one request with its body read.
type request struct {
	*http.Request
	server  *Server
	cfg     Config
	on      Endpoint
	params  url.Values // of the query and of the body, form or JSON
	json    bool
	user    string  // whose tokens it carries, if any are known
	subject string  // who the answer is about, where a fault says so
	send    *Send   // its entry in the ledger, for a known refresh token
	client  *client // that proved itself
	issued  pair    // the tokens in the answer
}

// readParams decodes a body by its content type (form or JSON).
func readParams(contentType string, body []byte) (params url.Values, isJSON bool, err error) {
	kind, _, err := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0:
		return url.Values{}, false, nil
	case err != nil:
		return nil, false, errEncoding
	case kind == "application/x-www-form-urlencoded":
		params, err = url.ParseQuery(string(body))
		if err != nil {
			return nil, false, errEncoding
		}
		return params, false, nil
	case kind == "application/json":
		var fields map[string]any
		if err := json.Unmarshal(body, &fields); err != nil {
			return nil, true, errEncoding
		}
		params = url.Values{}
		for name, v := range fields {
			text, ok := v.(string)
			if !ok {
				return nil, true, errEncoding
			}
			params.Set(name, text)
		}
		return params, true, nil
	}
	return nil, false, errEncoding
}

func (s *Server) read(on Endpoint, w http.ResponseWriter, r *http.Request) (*request, error) {
	req := &request{Request: r, server: s, cfg: s.config(), on: on, params: url.Values{}}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return req, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if on != OnAPI && on != OnRegister && on != OnMCP {
		if req.params, req.json, err = readParams(r.Header.Get("Content-Type"), body); err != nil {
			req.params = url.Values{}
		}
	}
	for name, values := range r.URL.Query() {
		if _, ok := req.params[name]; !ok {
			req.params[name] = values
		}
	}
	if on == OnToken && req.params.Get("grant_type") == "refresh_token" {
		req.on = OnRefresh
	}
	return req, err
}

// bearer is the token or API key that the request presents.
func (r *request) bearer() string {
	if scheme, value, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "bearer") {
		return value
	}
	return r.Header.Get("X-Api-Key")
}

// at serves one endpoint: ledger first, then what the faults leave of the
// answer.
func (s *Server) at(on Endpoint, handle func(*request) answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reused := r.Context().Value(servedKey{}).(*atomic.Int64).Add(1) > 1
		if on == OnToken {
			s.books.change(func() { s.books.counts.TokenRequests++ })
		}
		if _, ok := s.faults.take(func(f Fault) bool {
			return f.meets(on, "") && (f.Reset == CutRequest || f.Reset == CutIdle && reused)
		}); ok {
			abort(w)
			return
		}
		req, err := s.read(on, w, r)
		req.arrive()
		defer req.leave()
		f, _ := s.faults.take(func(f Fault) bool {
			return f.meets(req.on, req.user) && f.Reset != CutAccept && f.Reset != CutRequest && f.Reset != CutIdle
		})
		req.subject = f.Subject
		var a answer
		switch {
		case !f.works():
		case err != nil:
			a = invalidRequest(err.Error()).answer(req.cfg.Errors)
		default:
			a = handle(req)
		}
		if !f.isZero() {
			if a, err = f.change(a, s.Now(), s.URL, s.otherURL); err != nil {
				a = reply(http.StatusInternalServerError, "text/plain", fmt.Sprintf("this fault cannot be applied: %v", err))
			}
			s.lengthen(req.issued, f.Append)
		}
		delay := f.Delay
		if on == OnToken {
			delay += req.cfg.Latency
		}
		if s.pause(r, delay, f.Until) {
			a.write(s, w, r, f)
		}
	})
}

// arrive enters the request in the ledger, before anything can go wrong.
func (r *request) arrive() {
	now := r.server.Now()
	r.server.books.change(func() {
		b := r.server.books
		p := r.params
		if v := p.Get("code_verifier"); v != "" {
			b.verifiers = append(b.verifiers, v)
		}
		r.user = b.owner(p.Get("refresh_token"), p.Get("code"), p.Get("device_code"), p.Get("token"), r.bearer())
		if r.on != OnRefresh {
			return
		}
		if t := b.refresh[p.Get("refresh_token")]; t != nil {
			r.send = &Send{At: now, From: r.RemoteAddr, Outcome: Unprocessed}
			t.sends = append(t.sends, r.send)
		}
		if r.user != "" {
			b.inflight[r.user]++
			b.maxInflight[r.user] = max(b.maxInflight[r.user], b.inflight[r.user])
		}
	})
}

// lengthen makes the server know the tokens that a fault has lengthened.
func (s *Server) lengthen(p pair, tails map[string]string) {
	if len(tails) == 0 || p.access == nil {
		return
	}
	s.books.change(func() {
		p.access.value += tails["access_token"]
		s.books.access[p.access.value] = p.access
		p.refresh.value += tails["refresh_token"]
		s.books.refresh[p.refresh.value] = p.refresh
	})
}

func (r *request) leave() {
	if r.on != OnRefresh || r.user == "" {
		return
	}
	r.server.books.change(func() { r.server.books.inflight[r.user]-- })
}

// pause waits for both; it reports false when the client or the server is gone
// meanwhile.
func (s *Server) pause(r *http.Request, d time.Duration, until <-chan struct{}) bool {
	if until != nil {
		select {
		case <-until:
		case <-r.Context().Done():
			return false
		case <-s.done:
			return false
		}
	}
	if d <= 0 {
		return true
	}
	select {
	case <-time.After(d):
		return true
	case <-r.Context().Done():
		return false
	case <-s.done:
		return false
	}
}
