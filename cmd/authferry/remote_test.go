package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/mcp"
	"github.com/authferry/authferry/broker/brokertest/oidc"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// call sends one request to an MCP server, with the headers that authferry prints.
func call(t *testing.T, s *scene, provider, address string) (status int, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, address,
		strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"x","version":"1"}}}`))
	testenv.Must(t, err)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	for line := range strings.Lines(s.Must("", "header", provider).Out) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		req.Header.Set(name, value)
	}
	res, err := http.DefaultClient.Do(req)
	testenv.Must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	testenv.Must(t, err)
	return res.StatusCode, string(text)
}

// The example server of the TypeScript SDK, which is strict about resources and wants
// the very redirect URI that was registered.
func TestSDKServer(t *testing.T) {
	proofs.Only(t, "runs the SDK's example server")
	address := mcp.StartServer(t)
	s := newScene(t, brokertest.Config{})
	s.Must("", "login", address, "--name", "example")
	if status, body := call(t, s, "example", address); status != http.StatusOK || !strings.Contains(body, "simple-streamable-http-server") {
		t.Errorf("%d %s", status, body)
	}
	session, said := ask(t, s.Command("mcp", "connect", "example"))
	tools, err := session.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) == 0 {
		t.Fatalf("%v, %v\n%s", tools, err, said)
	}
	result, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "greet", Arguments: map[string]any{"name": "Ada"}})
	if err != nil || result.IsError || !strings.Contains(result.Content[0].(*sdk.TextContent).Text, "Ada") {
		t.Errorf("%v, %v\n%s", result, err, said)
	}
}

// oidc-provider as the authorization server of a remote MCP server: it registers
// clients, wants the resource in each request, rotates refresh tokens and revokes the
// login when one comes twice.
func TestRemoteServerOfOIDC(t *testing.T) {
	t.Parallel()
	p := oidc.Start(t, "MCP=1")
	resource := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.well-known/") {
			_ = json.NewEncoder(w).Encode(map[string]any{"resource": resource, "authorization_servers": []string{p.URL}, "scopes_supported": []string{"call", "offline_access"}})
			return
		}
		bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		if bearer == "" || r.URL.Path != "/mcp" || p.Audience(bearer) != resource {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var asked struct {
			ID     json.RawMessage
			Method string
		}
		_ = json.NewDecoder(r.Body).Decode(&asked)
		if len(asked.ID) == 0 { // a notification, or no message
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{"protocolVersion":"2025-11-25"}}`, asked.ID)
	}))
	defer server.Close()
	resource = server.URL + "/mcp"

	s := newScene(t, brokertest.Config{})
	s.Must("", "login", resource, "--name", "docs")
	for round := range 3 {
		if status, body := call(t, s, "docs", resource); status != http.StatusOK {
			t.Fatalf("round %d: %d %s", round, status, body)
		}
		s.Must("", "refresh", "docs-1")
	}
	s.Must("", "login", "docs", "--renew", "docs-1")
	if status, body := call(t, s, "docs", resource); status != http.StatusOK {
		t.Errorf("after a new login: %d %s", status, body)
	}
	if c := p.Counters(t); c.Refreshes != 3 || c.Codes != 2 || c.Refused != 0 {
		t.Errorf("%+v", c)
	}
	entry, err := os.ReadFile(filepath.Join(s.Dir, "providers.toml"))
	testenv.Must(t, err)
	_, rest, _ := strings.Cut(string(entry), "client_id = '")
	id, _, ok := strings.Cut(rest, "'")
	if !ok || !knownClient(t, p.URL, id) {
		t.Fatalf("client %q is not registered", id)
	}

	// In the middle of a session: a refresh, and a revocation, with which this server ends
	// the login. A new one lets the session go on.
	b := openBridge(t, s)
	s.Must("", "refresh", "docs-1")
	b.ask(6)
	if got := b.hear(); !strings.Contains(got, `"id":6,"result"`) {
		t.Errorf("after a refresh: %s", got)
	}
	token := strings.TrimSpace(s.Must("", "token", "docs").Out)
	res, err := http.PostForm(p.URL+"/token/revocation", url.Values{"token": {token}, "client_id": {id}})
	testenv.Must(t, err)
	_ = res.Body.Close()
	if p.Audience(token) != "" {
		t.Fatalf("the token is still good: %s", res.Status)
	}
	b.ask(7)
	if got := b.hear(); !strings.Contains(got, `"code":"login_needed","hint":"authferry login docs --renew docs-1"`) {
		t.Errorf("after a revocation: %s", got)
	}
	s.Must("", "login", "docs", "--renew", "docs-1")
	b.ask(8)
	if got := b.hear(); !strings.Contains(got, `"id":8,"result"`) {
		t.Errorf("after a new login: %s", got)
	}
	b.end()
	if c := p.Counters(t); c.Refreshes != 4 || c.Codes != 3 || c.Refused != 1 {
		t.Errorf("%+v", c)
	}
	s.Must("", "remove", "docs-1", "--yes")
	if knownClient(t, p.URL, id) {
		t.Error("the registration is still there after the last login was removed")
	}
}

// knownClient reports whether the authorization page has heard of a client.
func knownClient(t *testing.T, issuer, id string) bool {
	t.Helper()
	here := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := here.Get(issuer + "/auth?" + url.Values{"client_id": {id}}.Encode())
	testenv.Must(t, err)
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	testenv.Must(t, err)
	return !strings.Contains(string(text), "invalid_client")
}
