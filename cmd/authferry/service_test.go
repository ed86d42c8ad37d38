package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/brokertest/oidc"
	"github.com/authferry/authferry/cmd/authferry/authferrytest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// serviceKey makes a key pair: the private one in PEM, the public one as the server gets
// it (RFC 7517).
func serviceKey(t *testing.T, kind string) (private, public string) {
	t.Helper()
	number := func(n *big.Int, size int) string {
		return base64.RawURLEncoding.EncodeToString(n.FillBytes(make([]byte, size)))
	}
	jwk := map[string]string{"kid": "k1", "use": "sig"}
	var key any
	if kind == "EC" {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		testenv.Must(t, err)
		point, err := k.PublicKey.Bytes() // SEC 1: 4, x, y
		testenv.Must(t, err)
		jwk["kty"], jwk["crv"], jwk["alg"] = "EC", "P-256", "ES256"
		jwk["x"], jwk["y"] = base64.RawURLEncoding.EncodeToString(point[1:33]), base64.RawURLEncoding.EncodeToString(point[33:])
		key = k
	} else {
		k, err := rsa.GenerateKey(rand.Reader, 2048)
		testenv.Must(t, err)
		jwk["kty"], jwk["alg"] = "RSA", kind
		jwk["n"], jwk["e"] = number(k.N, 256), number(big.NewInt(int64(k.E)), 3)
		key = k
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	testenv.Must(t, err)
	doc, err := json.Marshal(jwk)
	testenv.Must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), string(doc)
}

// A service logs in at a server that nobody here wrote, by a secret and by each kind of
// key, and what the login found out about the server serves every refresh.
func TestServiceLogin(t *testing.T) {
	t.Parallel()
	kinds := []string{"secret", "EC", "RS256", "PS256"}
	for _, kind := range kinds[:proofs.Size(2, len(kinds))] {
		t.Run(kind, func(t *testing.T) {
			private, public := serviceKey(t, kind)
			p := oidc.Start(t, "SERVICE_JWK="+public)
			s := newScene(t, brokertest.Config{})
			client, flag, proof := "signing-service", "--client-key-stdin", private
			if kind == "secret" {
				client, flag, proof = "service", "--client-secret-stdin", "secret-of-the-service\n"
			}
			s.Must("", "provider", "add", "acme", "--issuer", p.URL, "--client-id", client)
			s.Must(proof, "login", "acme", "--flow", "client", flag, "--label", "bot")
			tries := p.Counters(t).Refused
			first := s.Must("", "token", "acme").Out
			s.Must("", "refresh", "bot")
			if s.Must("", "token", "acme").Out == first {
				t.Error("it is the old token")
			}
			if c := p.Counters(t); c.Services != 2 || c.Refused != tries || c.TokenRequests != 2+tries {
				t.Errorf("%+v: want two tokens, and no try after the login", c)
			}
			testenv.Check(t, authferrytest.Leaked([]string{"secret-of-the-service", strings.Split(private, "\n")[1]}, s.Root))
		})
	}
}

// Processes that find a service's token at its end cost one request, whoever of them is
// killed.
func TestServiceHerd(t *testing.T) {
	t.Parallel()
	const secret = "secret-of-the-service"
	s := newScene(t, brokertest.Config{ClientSecret: secret, AccessTTL: time.Second})
	s.Must("", "provider", "add", "acme", "--issuer", s.Server.URL, "--client-id", "authferry-sim")
	s.Must(secret+"\n", "login", "acme", "--flow", "client", "--client-secret-stdin", "--label", "bot")
	before := s.Server.Ledger().TokenRequests
	time.Sleep(2 * time.Second) // the token's end
	testenv.Must(t, s.Server.Configure(func(c *brokertest.Config) { c.AccessTTL = time.Hour }))
	var wg sync.WaitGroup
	tokens := make([]string, proofs.Size(16, 64))
	for i := range tokens {
		wg.Go(func() {
			cmd := s.Command("token", "acme")
			cmd.Stdout, cmd.Stderr = new(bytes.Buffer), new(bytes.Buffer)
			if err := cmd.Start(); err != nil {
				t.Error(err)
				return
			}
			if i%8 == 7 {
				_ = cmd.Process.Kill()
				_ = cmd.Wait() // it is killed, or was quick
				return
			}
			if got := s.Finish(cmd); got.Code == 0 {
				tokens[i] = got.Out
			} else {
				t.Errorf("exit code %d\n%s", got.Code, got.Err)
			}
		})
	}
	wg.Wait()
	for i, token := range tokens {
		if i%8 != 7 && token != tokens[0] {
			t.Errorf("process %d got another token", i)
		}
	}
	if n := s.Server.Ledger().TokenRequests - before; n != 1 {
		t.Errorf("%d requests, want one for the herd", n)
	}
}
