package main

import (
	"encoding/json"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest/oidc"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// The whole life of a login between counterparts that nobody here wrote: a
// certified OpenID provider that revokes a login when a refresh token is used
// twice, and a keyring of a desktop.
func TestRealLife(t *testing.T) {
	proofs.Only(t, "a real provider's tokens come to their end")
	t.Parallel()
	p := oidc.Start(t, "AT_TTL=4")
	s := newSession(t)
	s.discover(p)
	s.imports(p.Login(t, "ada"), "ada")
	s.imports(p.Login(t, "bob"), "bob")

	for _, who := range []string{"ada", "bob"} {
		if got := p.Subject(t, s.token(who)); got != who {
			t.Errorf("the token of %s is of %q", who, got)
		}
	}
	before := s.token("ada")
	expire(t, p, before)
	after := s.token("ada")
	if after == before || p.Subject(t, after) != "ada" {
		t.Error("no new token after the old one ended")
	}
	s.must("", "refresh", "ada")
	if got := p.Counters(t); got.Codes != 2 || got.Refused != 0 || got.Revoked != 0 || got.TokenRequests != got.Codes+got.Refreshes {
		t.Errorf("counters %+v: want two logins and refreshes, nothing refused, nothing revoked", got)
	}

	ada, bob := s.refreshToken("ada"), s.refreshToken("bob")
	for _, refreshToken := range []string{ada, bob} {
		if !p.Active(t, refreshToken) {
			t.Fatal("a refresh token in the keyring is dead")
		}
	}
	s.noSecretInFiles()

	for i, who := range []string{"ada", "bob"} {
		s.must("", "remove", who, "--yes")
		if got := p.Counters(t).Revoked; got != i+1 {
			t.Errorf("%d logins revoked, want %d", got, i+1)
		}
		if a, b := p.Active(t, ada), p.Active(t, bob); a || b != (i == 0) {
			t.Errorf("after removing %s: ada's refresh token alive %t, bob's %t", who, a, b)
		}
	}
	if _, err := p.Refresh(ada); err == nil {
		t.Error("a revoked refresh token works")
	}
	if left := s.keyring(); left != "" {
		t.Error("something is left in the keyring")
	}
	s.noSecretInFiles()
}

// expire returns when the provider has ended the token.
func expire(t *testing.T, p *oidc.Provider, token string) {
	t.Helper()
	for range 600 {
		if !p.Active(t, token) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatal("the token does not end")
}

// What goes wrong at the token endpoint: the exit code is the documented one,
// nothing is sent more often than it says, and the login is kept whenever it can
// be.
func TestRealFaults(t *testing.T) {
	proofs.Only(t, "a real provider fails, and back-offs pass")
	t.Parallel()
	p := oidc.Start(t)
	s := newSession(t)
	s.discover(p)
	s.imports(p.Login(t, "neighbour"), "neighbour")

	for _, row := range []struct {
		label     string
		fault     oidc.Fault
		env       []string
		code      int
		error     string // code in the document
		requests  int
		refreshes int
		later     int // exit code when there is no fault any more
	}{
		{label: "dropped before", fault: oidc.Fault{Times: 1, Drop: oidc.Before}, requests: 2, refreshes: 1},
		{label: "dropped before, twice", fault: oidc.Fault{Times: 2, Drop: oidc.Before},
			code: exitProvider, error: "provider_unreachable", requests: 2},
		{label: "dropped after", fault: oidc.Fault{Times: 1, Drop: oidc.After},
			code: exitLogin, error: "login_needed", requests: 2, refreshes: 1, later: exitLogin},
		{label: "throttled", fault: oidc.Fault{Times: 1, Status: 429},
			code: exitProvider, error: "provider_refused", requests: 1},
		// Not the server's own words: a gateway's, for all one knows, with one recovery.
		{label: "down", fault: oidc.Fault{Times: 1, Status: 503}, requests: 2, refreshes: 1},
		{label: "down, twice", fault: oidc.Fault{Times: 2, Status: 503},
			code: exitProvider, error: "provider_unreachable", requests: 2},
		{label: "broken, twice", fault: oidc.Fault{Times: 2, Status: 500},
			code: exitProvider, error: "provider_unreachable", requests: 2},
		{label: "slow", fault: oidc.Fault{Times: 1, Delay: 3 * time.Second}, env: []string{"AUTHFERRY_HTTP_TIMEOUT=1s"},
			code: exitProvider, error: "provider_unreachable", requests: 1, refreshes: 1},
	} {
		t.Run(row.label, func(t *testing.T) {
			s := s.within(t)
			s.imports(p.Login(t, row.label), row.label)
			began := p.Counters(t)
			p.Fail(t, row.fault)
			got := s.run("", row.env, "token", "--account", row.label, "--json")
			if got.Code != row.code {
				t.Errorf("exit code %d, want %d\n%s", got.Code, row.code, got.Err)
			}
			if row.code == 0 {
				s.holdsTokenOf(p, row.label)
			} else if code, retryAt := complaint(t, got); code != row.error {
				t.Errorf("error %s, want %s", code, row.error)
			} else if row.env == nil && row.code == exitProvider && retryAt.IsZero() {
				t.Error("the error doesn't say when to try again")
			}
			s.eventually(row.later, "token", "--account", row.label)
			if row.later == 0 {
				s.holdsTokenOf(p, row.label)
			}
			ended := p.Counters(t)
			requests, refreshes := row.requests, max(row.refreshes, 1)
			if row.refreshes == 0 {
				requests++ // the one that went well
			}
			if ended.TokenRequests-began.TokenRequests != requests || ended.Refreshes-began.Refreshes != refreshes {
				t.Errorf("%d token requests, %d refreshes; want %d, %d", ended.TokenRequests-began.TokenRequests,
					ended.Refreshes-began.Refreshes, requests, refreshes)
			}
			s.noSecretInFiles()
		})
	}

	t.Run("asked to wait", func(t *testing.T) {
		s := s.within(t)
		s.imports(p.Login(t, "waiting"), "waiting")
		p.Fail(t, oidc.Fault{Times: 1, Status: 429, RetryAfter: "600"})
		began := p.Counters(t).TokenRequests
		for range 3 {
			got := s.run("", nil, "token", "--account", "waiting", "--json")
			code, retryAt := complaint(t, got)
			if got.Code != exitProvider || code != "provider_refused" || time.Until(retryAt) < time.Minute {
				t.Errorf("exit code %d, %s until %v", got.Code, code, retryAt)
			}
		}
		if got := p.Counters(t).TokenRequests - began; got != 1 {
			t.Errorf("%d requests, want 1: the provider asked for ten minutes", got)
		}
	})

	s.holdsTokenOf(p, "neighbour") // whatever befell the others
	var list struct {
		Accounts []struct{ Label, State string }
	}
	testenv.Must(t, json.Unmarshal([]byte(s.must("", "list", "--json")), &list))
	for _, a := range list.Accounts {
		if lost := a.Label == "dropped after"; lost != (a.State == "login_needed") {
			t.Errorf("%s is %s", a.Label, a.State)
		}
	}
}

// A login whose answer was lost on the way, at a provider that revokes at the
// first reuse, is gone. It is the only one, and nobody has to wait for it.
func TestRealLoss(t *testing.T) {
	proofs.Only(t, "a real provider loses an answer")
	t.Parallel()
	p := oidc.Start(t)
	s := newSession(t)
	s.discover(p)
	s.imports(p.Login(t, "ada"), "ada")
	s.imports(p.Login(t, "bob"), "bob")
	p.Fail(t, oidc.Fault{Times: 1, Drop: oidc.After})

	got := s.run("", nil, "token", "acme")
	if got.Code != 0 || p.Subject(t, strings.TrimSpace(got.Out)) != "bob" {
		t.Fatalf("exit code %d; want bob's token\n%s", got.Code, got.Err)
	}
	if !strings.Contains(got.Err, "ada") {
		t.Errorf("nobody is told that ada needs a login: %q", got.Err)
	}
	began := p.Counters(t).TokenRequests
	if got := s.run("", nil, "token", "--account", "ada"); got.Code != exitLogin {
		t.Errorf("exit code %d, want %d", got.Code, exitLogin)
	}
	if got := p.Counters(t).TokenRequests - began; got != 0 {
		t.Errorf("a refresh token known to be dead was sent %d times", got)
	}
	s.holdsTokenOf(p, "bob")
}

// Where nobody can answer the keyring's prompt, the command of the hint unlocks it.
func TestHintUnlocksTheKeyring(t *testing.T) {
	t.Parallel()
	s := newSession(t)
	s.must("canary-key\n", "login", "anthropic", "--api-key-stdin", "--label", "Key")
	s.bus.Lock(t)
	got := s.run("", nil, "token")
	_, hint, _ := strings.Cut(got.Err, "authferry: hint: ")
	hint, _, ok := strings.Cut(hint, " # ")
	if got.Code != exitKeystore || !ok {
		t.Fatalf("%d %s", got.Code, got.Err)
	}
	unlock := exec.CommandContext(t.Context(), "sh", "-c", "exec "+hint+" --foreground") // else it outlasts the test
	unlock.Env, unlock.Stdin = s.env, strings.NewReader(keystoretest.KeyringPassword)
	testenv.Must(t, unlock.Start())
	t.Cleanup(func() { _ = unlock.Process.Kill(); _ = unlock.Wait() })
	for try := 0; got.Code != 0 && try < 50; try++ { // the old daemon ends, the new one takes its name
		time.Sleep(100 * time.Millisecond)
		got = s.run("", nil, "token")
	}
	if got.Out != "canary-key\n" {
		t.Errorf("after %s: %d %s", hint, got.Code, got.Err)
	}
}
