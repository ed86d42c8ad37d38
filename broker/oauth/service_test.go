package oauth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/testenv"
)

// pemKey is a private key in PEM, of PKCS #8 unless kind is that of an older form.
func pemKey(t testing.TB, key any, kind string) keystore.Secret {
	t.Helper()
	var der []byte
	var err error
	switch k := key.(type) {
	case *rsa.PrivateKey:
		der = x509.MarshalPKCS1PrivateKey(k)
	case *ecdsa.PrivateKey:
		der, err = x509.MarshalECPrivateKey(k)
	}
	if kind == "PRIVATE KEY" {
		der, err = x509.MarshalPKCS8PrivateKey(key)
	}
	testenv.Must(t, err)
	return keystore.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})))
}

func keys(t testing.TB) (*rsa.PrivateKey, *ecdsa.PrivateKey) {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	testenv.Must(t, err)
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	testenv.Must(t, err)
	return r, e
}

type claims struct {
	Iss, Sub, Aud, JTI string
	Iat, Exp           int64
}

// read takes an assertion apart and verifies it.
func read(t *testing.T, assertion string, public any) (alg, kid string, c claims) {
	t.Helper()
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		t.Fatalf("%d parts", len(parts))
	}
	decode := func(part string) []byte {
		data, err := base64.RawURLEncoding.DecodeString(part)
		testenv.Must(t, err)
		return data
	}
	var head struct{ Alg, Kid, Typ string }
	testenv.Must(t, json.Unmarshal(decode(parts[0]), &head))
	testenv.Must(t, json.Unmarshal(decode(parts[1]), &c))
	signature, sum := decode(parts[2]), sha256.Sum256([]byte(parts[0]+"."+parts[1]))
	good := false
	switch k := public.(type) {
	case *rsa.PublicKey:
		switch head.Alg {
		case RS256:
			good = rsa.VerifyPKCS1v15(k, crypto.SHA256, sum[:], signature) == nil
		case PS256:
			good = rsa.VerifyPSS(k, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: 32}) == nil
		}
	case *ecdsa.PublicKey:
		good = len(signature) == 64 && ecdsa.Verify(k, sum[:], new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:]))
	}
	if !good || head.Typ != "JWT" {
		t.Errorf("the signature of %+v is wrong", head)
	}
	return head.Alg, head.Kid, c
}

// A key signs what RFC 7523 wants, whatever form of PEM it is in; each assertion is
// another one.
func TestAssertion(t *testing.T) {
	r, e := keys(t)
	seen := map[string]bool{}
	for _, row := range []struct {
		key, public any
		kind, alg   string
	}{
		{r, &r.PublicKey, "PRIVATE KEY", RS256}, {r, &r.PublicKey, "RSA PRIVATE KEY", PS256},
		{e, &e.PublicKey, "PRIVATE KEY", ES256}, {e, &e.PublicKey, "EC PRIVATE KEY", ES256},
	} {
		p := Proof{Key: pemKey(t, row.key, row.kind), KeyID: "k1", Algorithm: row.alg, Audience: "https://as.example"}
		signed, err := p.assertion(Endpoint{ClientID: "svc"})
		testenv.Must(t, err)
		alg, kid, c := read(t, signed.Reveal(), row.public)
		if alg != row.alg || kid != "k1" || c.Iss != "svc" || c.Sub != "svc" || c.Aud != "https://as.example" || c.Exp-c.Iat != 120 || seen[c.JTI] || len(c.JTI) < 20 {
			t.Errorf("%s: %s, %s, %+v", row.kind, alg, kid, c)
		}
		if now := time.Now().Unix(); c.Iat > now || now-c.Iat > 60 {
			t.Errorf("issued at %d, now %d", c.Iat, now)
		}
		seen[c.JTI] = true
	}
}

func TestKeysThatCannotSign(t *testing.T) {
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	testenv.Must(t, err)
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	testenv.Must(t, err)
	public, err := x509.MarshalPKIXPublicKey(&other.PublicKey)
	testenv.Must(t, err)
	for name, key := range map[string]keystore.Secret{
		"short": pemKey(t, short, "PRIVATE KEY"), "another curve": pemKey(t, other, "EC PRIVATE KEY"),
		"public":    keystore.NewSecret(string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}))),
		"encrypted": keystore.NewSecret("-----BEGIN ENCRYPTED PRIVATE KEY-----\nY2FuYXJ5\n-----END ENCRYPTED PRIVATE KEY-----\n"),
		"damaged":   keystore.NewSecret("-----BEGIN PRIVATE KEY-----\nY2FuYXJ5\n-----END PRIVATE KEY-----\n"),
		"text":      keystore.NewSecret("canary"), "nothing": {},
	} {
		if err := (Proof{Key: key}).CheckKey(); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzKey: whatever is given as a key, it signs or is refused, and isn't quoted.
func FuzzKey(f *testing.F) {
	r, e := keys(f)
	f.Add(pemKey(f, r, "RSA PRIVATE KEY").Reveal())
	f.Add("text before\n" + pemKey(f, e, "PRIVATE KEY").Reveal())
	f.Add("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----")
	f.Fuzz(func(t *testing.T, text string) {
		p := Proof{Key: keystore.NewSecret(text), Audience: "a"}
		if err := p.CheckKey(); err != nil {
			if err != errKey {
				t.Errorf("%v", err)
			}
			return
		}
		for _, p.Algorithm = range p.algorithms() {
			if _, err := p.assertion(Endpoint{}); err != nil {
				t.Errorf("%s: %v", p.Algorithm, err)
			}
		}
	})
}

// The first request of a login finds out how a server takes the proof; what is pinned
// then is used, once a token, and the answer's refresh token isn't kept.
func TestFirstToken(t *testing.T) {
	r, e := keys(t)
	const refused = `{"error":"invalid_client"}`
	const granted = `{"access_token":"t","token_type":"Bearer","expires_in":60,"refresh_token":"r"}`
	var asked []string
	var accepts func(r *http.Request) (string, bool)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		_ = req.ParseForm()
		if req.Form.Get("grant_type") != "client_credentials" || req.Form.Get("resource") != "https://mcp.example/mcp" || req.Form.Get("scope") != "a b" {
			t.Errorf("asked with %v", req.Form)
		}
		how, ok := accepts(req)
		asked = append(asked, how)
		if !ok {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = io.WriteString(w, refused)
			return
		}
		_, _ = io.WriteString(w, granted)
	}))
	defer server.Close()
	basicOnly := func(r *http.Request) (string, bool) {
		_, secret, basic := r.BasicAuth()
		if basic {
			return "basic", secret == "hush"
		}
		return "post", false
	}
	assertion := func(public any, alg, aud string) func(r *http.Request) (string, bool) {
		return func(req *http.Request) (string, bool) {
			if req.Form.Get("client_assertion_type") != assertionType || req.Form.Has("client_secret") {
				t.Errorf("asked with %v", req.Form)
			}
			gotAlg, _, c := read(t, req.Form.Get("client_assertion"), public)
			return gotAlg + " " + strings.ReplaceAll(c.Aud, server.URL, ""), gotAlg == alg && c.Aud == aud
		}
	}
	endpoint := Endpoint{Issuer: server.URL, TokenEndpoint: server.URL + "/token", ClientID: "svc", Resource: "https://mcp.example/mcp"}
	for _, row := range []struct {
		name    string
		proof   Proof
		style   string
		accepts func(r *http.Request) (string, bool)
		asked   []string
	}{
		{"secret, basic", Proof{Secret: keystore.NewSecret("hush")}, "", basicOnly, []string{"post", "basic"}},
		{"secret, of a server with public clients", Proof{Secret: keystore.NewSecret("hush")}, AuthNone, basicOnly, []string{"post", "basic"}},
		{"secret, told", Proof{Secret: keystore.NewSecret("hush")}, AuthHeader, basicOnly, []string{"basic"}},
		{"wrong secret", Proof{Secret: keystore.NewSecret("wrong")}, "", basicOnly, []string{"post", "basic"}},
		{"EC", Proof{Key: pemKey(t, e, "PRIVATE KEY")}, "", assertion(&e.PublicKey, ES256, server.URL), []string{"ES256 "}},
		{"RSA, PSS for the token endpoint", Proof{Key: pemKey(t, r, "PRIVATE KEY")}, "", assertion(&r.PublicKey, PS256, server.URL+"/token"),
			[]string{"RS256 ", "PS256 ", "RS256 /token", "PS256 /token"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			asked, accepts = nil, row.accepts
			at := endpoint
			at.AuthStyle = row.style
			row.proof.Scopes = []string{"a", "b"}
			tok, found, proof, err := (&Client{}).FirstToken(t.Context(), at, row.proof)
			if !slices.Equal(asked, row.asked) {
				t.Errorf("asked %q, want %q", asked, row.asked)
			}
			if strings.HasPrefix(row.name, "wrong") {
				if failed, ok := err.(*Error); !ok || failed.Class != Dead || tok != nil {
					t.Errorf("%v, %v", tok, err)
				}
				return
			}
			testenv.Must(t, err)
			if !tok.RefreshToken.Empty() || tok.AccessToken.Reveal() != "t" {
				t.Errorf("%+v", tok)
			}
			asked = nil
			sent := 0
			if _, err := (&Client{}).ServiceToken(t.Context(), found, proof, func() error { sent++; return nil }); err != nil || len(asked) != 1 || sent != 1 {
				t.Errorf("%v, asked %q, %d times announced", err, asked, sent)
			}
		})
	}
}
