// Package oidc runs a certified OpenID Connect provider (oidc-provider, a
// Node.js program) on loopback for tests: what authferry does is held against a
// server that nobody here wrote. It rotates its refresh tokens and revokes the
// whole grant when a rotated one comes back.
package oidc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/testenv"
)

// ClientID is the one client: public, native (any port of a loopback redirect
// URI with the path /callback), PKCE required, device flow allowed.
const ClientID = "authferry-test"

// Scope is everything that the client may ask for.
const Scope = "openid offline_access email"

// Provider is a running provider. Its endpoints stand in its discovery document
// at URL + "/.well-known/openid-configuration".
type Provider struct {
	URL string // the issuer, without a trailing slash
}

// Start runs a provider until the test ends, with env ("AT_TTL=5") added to its
// environment: AT_TTL, RT_TTL and DEVICE_TTL are the lifetimes of access
// tokens, refresh tokens and device codes in seconds, MCP=1 makes it one that
// registers clients and wants resource indicators, PAR=1 one that wants each
// authorization request pushed, and SERVICE_JWK is the public key of a client on its own
// account, "signing-service"; then there is also "service" with a secret. It skips the test where
// Node.js or the server's packages are absent.
func Start(t testing.TB, env ...string) *Provider {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("needs node: install Node.js 20 or later")
	}
	dir := folder(t)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "oidc-provider")); err != nil {
		t.Skip("needs oidc-provider: run npm ci in broker/brokertest/oidc")
	}

	server := exec.Command(node, filepath.Join(dir, "server.mjs"))
	server.Env = append(os.Environ(), env...)
	var complaints bytes.Buffer
	server.Stderr = &complaints
	stdin, err := server.StdinPipe()
	testenv.Must(t, err)
	stdout, err := server.StdoutPipe()
	testenv.Must(t, err)
	testenv.Must(t, server.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	t.Cleanup(func() {
		_ = stdin.Close() // the server ends with its standard input
		if err := server.Wait(); err != nil {
			t.Errorf("oidc-provider: %v\n%s", err, complaints.String())
		}
	})
	if err != nil {
		t.Fatalf("oidc-provider printed no URL: %v", err)
	}
	return &Provider{URL: strings.TrimSpace(line)}
}

// folder finds this package's folder from the folder of the package under test.
func folder(t testing.TB) string {
	t.Helper()
	dir, err := os.Getwd()
	testenv.Must(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return filepath.Join(dir, "broker", "brokertest", "oidc")
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			t.Fatal("no go.mod in any parent folder")
		}
		dir = parent
	}
}

// Counters say what has happened at the provider since it started.
type Counters struct {
	Choices       int `json:"choices"`        // of an account, that were asked for
	TokenRequests int `json:"token_requests"` // that reached the token endpoint, faults included
	Codes         int `json:"codes"`          // authorization codes exchanged
	Devices       int `json:"devices"`        // device codes exchanged
	Refreshes     int `json:"refreshes"`      // refresh tokens rotated
	Services      int `json:"services"`       // tokens given to clients on their own account
	Refused       int `json:"refused"`        // token requests refused, a device's "not yet" included
	Revoked       int `json:"revoked"`        // grants revoked, by request or for reuse
}

// Counters asks the provider.
func (p *Provider) Counters(t testing.TB) Counters {
	t.Helper()
	var c Counters
	get(t, p.URL+"/control/counters", "", &c)
	return c
}

// Audience is the resource that an access token is for (RFC 8707), as a resource
// server would learn it; empty: the token is no good, or for none.
func (p *Provider) Audience(token string) string {
	resp, err := http.Post(p.URL+"/control/audience", "text/plain", strings.NewReader(token))
	if err != nil {
		return ""
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return ""
	}
	return string(text)
}

// Fault is how the token endpoint treats its next Times requests. The zero
// Fault ends all faults.
type Fault struct {
	Times      int
	Delay      time.Duration // before anything else happens
	Status     int           // answer this, with a page of HTML, and do nothing
	RetryAfter string        // header of that answer
	Drop       Drop          // close the connection instead of answering
}

// Drop is when a connection is closed without an answer.
type Drop string

// A request dropped Before is unspent. One dropped After was carried out: the
// refresh token is rotated and nobody hears of the new one.
const (
	Before Drop = "before"
	After  Drop = "after"
)

// Fail replaces the current fault.
func (p *Provider) Fail(t testing.TB, f Fault) {
	t.Helper()
	body, err := json.Marshal(map[string]any{
		"times":       f.Times,
		"delay_ms":    f.Delay.Milliseconds(),
		"status":      f.Status,
		"retry_after": f.RetryAfter,
		"drop":        f.Drop,
	})
	testenv.Must(t, err)
	resp, err := http.Post(p.URL+"/control/fault", "application/json", bytes.NewReader(body))
	testenv.Must(t, err)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusNoContent {
		t.Fatalf("setting a fault: %s", resp.Status)
	}
}

// get reads a JSON document, with a bearer token where one is given.
func get(t testing.TB, url, token string, document any) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	testenv.Must(t, err)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	testenv.Must(t, err)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s", url, resp.Status)
	}
	if err := json.NewDecoder(resp.Body).Decode(document); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
}
