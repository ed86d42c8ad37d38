package brokertest

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/testenv"
)

// got is an answer as a client sees it.
type got struct {
	status int
	header http.Header
	body   []byte
	json   map[string]any
}

func (g got) text(name string) string {
	s, _ := g.json[name].(string)
	return s
}

func do(t *testing.T, s *Server, r *http.Request) (got, error) {
	t.Helper()
	resp, err := s.Client().Do(r)
	if err != nil {
		return got{}, err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return got{}, err
	}
	g := got{status: resp.StatusCode, header: resp.Header, body: body}
	_ = json.Unmarshal(bytes.TrimPrefix(body, []byte("\ufeff")), &g.json)
	return g, nil
}

func post(t *testing.T, s *Server, path string, pairs ...string) (got, error) {
	t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Set(pairs[i], pairs[i+1])
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, strings.NewReader(form.Encode()))
	testenv.Must(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, s, r)
}

func mustPost(t *testing.T, s *Server, path string, pairs ...string) got {
	t.Helper()
	g, err := post(t, s, path, pairs...)
	if err != nil {
		t.Fatalf("POST %s: %v", path, err)
	}
	return g
}

func refresh(t *testing.T, s *Server, token string) got {
	t.Helper()
	return mustPost(t, s, "/token", "grant_type", "refresh_token", "client_id", "authferry-sim", "refresh_token", token)
}

func get(t *testing.T, s *Server, path, bearer string) got {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+path, nil)
	testenv.Must(t, err)
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	g, err := do(t, s, r)
	if err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return g
}

func expect(t *testing.T, what string, g got, status int) {
	t.Helper()
	if g.status != status {
		t.Fatalf("%s: status %d, want %d: %.200s", what, g.status, status, g.body)
	}
}

const ada, bob = "ada@example.com", "bob@example.com"
