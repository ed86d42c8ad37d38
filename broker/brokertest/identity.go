package brokertest

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"time"
)

const keyID = "sim-1"

// One key serves every server of a process: making one takes longer than most
// tests.
var signingKey = sync.OnceValues(func() (*rsa.PrivateKey, error) {
	return rsa.GenerateKey(rand.Reader, 2048)
})

// Subject is the "sub" that the server knows user by.
func Subject(user string) string {
	sum := sha256.Sum256([]byte(user))
	return "sub-" + hex.EncodeToString(sum[:8])
}

func claims(user string) map[string]any {
	name, _, _ := strings.Cut(user, "@")
	return map[string]any{"sub": Subject(user), "email": user, "email_verified": true, "name": name}
}

// idToken signs an ID token with RS256 (OpenID Connect Core section 2).
func (r *request) idToken(now time.Time, f *family) (string, error) {
	body := claims(r.subject)
	body["iss"], body["aud"], body["iat"], body["exp"] = r.server.URL, f.client, now.Unix(), now.Add(r.cfg.AccessTTL).Unix()
	if f.nonce != "" {
		body["nonce"] = f.nonce
	}
	payload, err := json.Marshal(body)
	if err != nil {
		return "", err
	}
	key, err := signingKey()
	if err != nil {
		return "", err
	}
	b64 := base64.RawURLEncoding
	signed := b64.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"`+keyID+`"}`)) + "." + b64.EncodeToString(payload)
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return "", err
	}
	return signed + "." + b64.EncodeToString(signature), nil
}

func (r *request) jwks() answer {
	key, err := signingKey()
	if err != nil {
		return reply(http.StatusInternalServerError, "text/plain", err.Error())
	}
	e := binary.BigEndian.AppendUint32(nil, uint32(key.E))[1:]
	return jsonReply(http.StatusOK, map[string]any{"keys": []map[string]string{{
		"kty": "RSA", "use": "sig", "alg": "RS256", "kid": keyID,
		"n": base64.RawURLEncoding.EncodeToString(key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(e),
	}}})
}

// metadata is the document of OpenID Connect Discovery and of RFC 8414.
func (r *request) metadata() answer { return jsonReply(http.StatusOK, r.server.describe(r.cfg)) }

func (s *Server) describe(cfg Config) map[string]any {
	methods := []string{"none"}
	if cfg.MCP.Registrations.Secret {
		methods = []string{"client_secret_basic"}
	}
	if cfg.ClientSecret != "" {
		methods = []string{"client_secret_basic", "client_secret_post"}
	}
	if cfg.ClientAuth != "" {
		methods = []string{cfg.ClientAuth}
	}
	doc := map[string]any{
		"issuer":                                         s.URL,
		"authorization_endpoint":                         s.URL + "/authorize",
		"token_endpoint":                                 s.URL + "/token",
		"device_authorization_endpoint":                  s.URL + "/device_authorization",
		"revocation_endpoint":                            s.URL + "/revoke",
		"introspection_endpoint":                         s.URL + "/introspect",
		"userinfo_endpoint":                              s.URL + "/userinfo",
		"jwks_uri":                                       s.URL + "/.well-known/jwks.json",
		"scopes_supported":                               strings.Fields(defaultScope),
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query"},
		"grant_types_supported":                          []string{"authorization_code", "refresh_token", deviceGrant},
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          methods,
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          []string{"RS256"},
		"authorization_response_iss_parameter_supported": true,
		"registration_endpoint":                          s.URL + "/register",
		"client_id_metadata_document_supported":          cfg.MCP.Registrations.Documents,
	}
	if cfg.Chosen != "" {
		doc["prompt_values_supported"] = []string{"none", "login", "consent", "select_account"}
	}
	if change := cfg.MCP.Server; change != nil {
		change(doc)
	}
	return doc
}

// userinfo follows OpenID Connect Core section 5.3.
func (r *request) userinfo() answer {
	now := r.server.Now()
	var user string
	var ok bool
	r.server.books.change(func() {
		r.server.books.counts.Userinfo++
		if user, _, ok = r.server.books.live(now, r.bearer()); !ok {
			r.server.books.counts.Unauthorized++
		}
	})
	if !ok {
		return unauthorized()
	}
	set(&r.subject, user)
	return jsonReply(http.StatusOK, claims(r.subject))
}

func unauthorized() answer {
	a := jsonReply(http.StatusUnauthorized, map[string]string{"error": "invalid_token"})
	a.header.Set("WWW-Authenticate", `Bearer error="invalid_token"`)
	return a
}

// introspect follows RFC 7662; it asks for no client authentication.
func (r *request) introspect() answer {
	now, value := r.server.Now(), r.params.Get("token")
	out := map[string]any{"active": false}
	r.server.books.mu.Lock()
	defer r.server.books.mu.Unlock()
	if user, f, ok := r.server.books.live(now, value); ok && f != nil {
		out = map[string]any{
			"active": true, "sub": Subject(user), "username": user, "scope": f.scope, "client_id": r.cfg.ClientID,
			"token_type": "Bearer", "exp": r.server.books.access[value].expires.Unix(),
		}
	} else if t := r.server.books.refresh[value]; t != nil && t.usable(now) {
		out = map[string]any{"active": true, "sub": Subject(t.family.user), "username": t.family.user, "scope": t.family.scope}
	}
	return jsonReply(http.StatusOK, out)
}

// revocation follows RFC 7009: a refresh token takes its whole login with it,
// an unknown token is no error.
func (r *request) revocation() answer {
	if refused := r.authenticate(); refused != nil {
		return refused.answer(r.cfg.Errors)
	}
	now, value := r.server.Now(), r.params.Get("token")
	r.server.books.change(func() {
		r.server.books.counts.Revocations++
		if t := r.server.books.refresh[value]; t != nil {
			r.server.books.revoke(now, t.family, "revoked by the client")
		} else if a := r.server.books.access[value]; a != nil {
			a.dead = true
		}
	})
	return reply(http.StatusOK, "", "")
}
