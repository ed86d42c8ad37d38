package main

import (
	"net/url"
	"strings"
	"testing"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/oidc"
)

// A server that wants each request pushed (RFC 9126) gets it that way, and the address
// that the browser opens says no more than where it is; what else a login does is as
// always. At such a server the long address would be an error.
func TestPushedAuthorization(t *testing.T) {
	t.Parallel()
	p := oidc.Start(t, "PAR=1")
	s := newScene(t, brokertest.Config{})
	s.Must("", "provider", "add", "acme", "--issuer", p.URL, "--client-id", oidc.ClientID)
	got := s.Must("", "login", "acme")
	_, rest, _ := strings.Cut(got.Err, p.URL+"/auth?")
	line, _, _ := strings.Cut(rest, "\n")
	query, err := url.ParseQuery(line)
	if err != nil || len(query) != 2 || query.Get("client_id") != oidc.ClientID || !strings.HasPrefix(query.Get("request_uri"), "urn:ietf:params:oauth:request_uri:") {
		t.Errorf("the address has %v, %v\n%s", query, err, got.Err)
	}
	token := strings.TrimSpace(s.Must("", "token", "acme").Out)
	if who := p.Subject(t, token); who != "ada" {
		t.Errorf("the token is of %q", who)
	}
	s.Must("", "refresh", "--all")
}
