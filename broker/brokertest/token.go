package brokertest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"time"
)

const defaultScope = "openid profile email offline_access"

// token is the token endpoint (RFC 6749 section 3.2).
func (r *request) token() answer {
	if refused := r.wrongEncoding(); refused != nil {
		return refused.answer(r.cfg.Errors)
	}
	if refused := r.authenticate(); refused != nil {
		a := refused.answer(r.cfg.Errors)
		if r.Header.Get("Authorization") != "" {
			a.header.Set("WWW-Authenticate", `Basic realm="authferry-sim"`)
		}
		return a
	}
	now := r.server.Now()
	var p pair
	var f *family
	var refused *refusal
	r.server.books.change(func() {
		switch r.params.Get("grant_type") {
		case "authorization_code":
			f, p, refused = r.server.books.redeem(now, r)
		case "refresh_token":
			if r.send == nil {
				refused = invalidGrant("refresh token not found or invalid")
				return
			}
			if refused = r.target(r.server.books.refresh[r.params.Get("refresh_token")].family.resource); refused != nil {
				return
			}
			if p, refused = r.server.books.renew(now, r.cfg, r.params.Get("refresh_token"), r.send); refused == nil {
				f = p.access.family
			}
		case deviceGrant:
			f, p, refused = r.server.books.poll(now, r)
		case "client_credentials":
			f, p, refused = r.service(now)
		default:
			refused = &refusal{status: http.StatusBadRequest, code: "unsupported_grant_type", text: "this grant type is not supported"}
		}
	})
	if refused != nil {
		return refused.answer(r.cfg.Errors)
	}
	return r.tokenAnswer(now, f, p)
}

func (r *request) tokenAnswer(now time.Time, f *family, p pair) answer {
	r.issued = p
	out := map[string]any{
		"access_token":  p.access.value,
		"token_type":    "Bearer",
		"expires_in":    max(0, int(p.access.expires.Sub(now)/time.Second)),
		"refresh_token": p.refresh.value,
		"scope":         f.scope,
	}
	if r.on == OnRefresh {
		switch rules[r.cfg.Rotation].names {
		case omitsRefresh:
			delete(out, "refresh_token")
		case blanksRefresh:
			out["refresh_token"] = ""
		}
	}
	if until := p.refresh.expires; !until.IsZero() {
		out["refresh_token_expires_in"] = max(0, int(until.Sub(now)/time.Second))
	}
	set(&r.subject, f.user)
	if hasScope(f.scope, "openid") {
		id, err := r.idToken(now, f)
		if err != nil {
			return reply(http.StatusInternalServerError, "text/plain", err.Error())
		}
		out["id_token"] = id
	}
	if r.cfg.TokenFields != nil {
		maps.Copy(out, r.cfg.TokenFields(r.subject))
	}
	return jsonReply(http.StatusOK, out)
}

// service gives a client a token of its own (RFC 6749 §4.4), and a refresh token, which
// some servers add against §4.4.3.
func (r *request) service(now time.Time) (*family, pair, *refusal) {
	if r.client == nil || r.client.secret == "" {
		return nil, pair{}, &refusal{status: http.StatusBadRequest, code: "unauthorized_client", text: "a public client has no account of its own"}
	}
	f, p := r.server.books.open(now, r.cfg, r.client.id, r.params.Get("scope"), "")
	f.client, f.resource = r.client.id, r.params.Get("resource")
	return f, p, nil
}

func (r *request) wrongEncoding() *refusal {
	if want := r.cfg.TokenRequest; want == "json" && !r.json || want == "form" && r.json {
		return invalidRequest("the request must be encoded as " + want)
	}
	return nil
}

// authenticate follows RFC 6749 section 2.3.
func (r *request) authenticate() *refusal {
	id, secret, method := r.params.Get("client_id"), r.params.Get("client_secret"), "none"
	if secret != "" {
		method = "client_secret_post"
	}
	if user, pass, ok := r.BasicAuth(); ok {
		method = "client_secret_basic"
		var err error
		if id, err = url.QueryUnescape(user); err != nil {
			return invalidClient("the client id is not encoded")
		}
		if secret, err = url.QueryUnescape(pass); err != nil {
			return invalidClient("the client secret is not encoded")
		}
	}
	known := r.server.clientOf(r.cfg, id)
	switch {
	case known == nil:
		return invalidClient("unknown client")
	case known.method != "" && method != known.method:
		return invalidClient("the client must authenticate by " + known.method)
	case subtle.ConstantTimeCompare([]byte(secret), []byte(known.secret)) != 1:
		return invalidClient("wrong client secret")
	}
	r.client = known
	return nil
}

func invalidClient(text string) *refusal {
	return &refusal{status: http.StatusUnauthorized, code: "invalid_client", text: text}
}

// code is an authorization code, with what must come back with it.
type code struct {
	value     string
	user      string
	scope     string
	nonce     string
	client    string
	resource  string
	redirect  string
	challenge string
	expires   time.Time
	family    *family // what it was redeemed for
}

// redeem follows RFC 6749 section 4.1.3 and RFC 7636 section 4.6. A code that
// comes again ends the login that it made (RFC 6749 section 4.1.2).
func (b *books) redeem(now time.Time, r *request) (*family, pair, *refusal) {
	c := b.codes[r.params.Get("code")]
	switch {
	case c == nil:
		return nil, pair{}, invalidGrant("unknown authorization code")
	case c.family != nil:
		b.revoke(now, c.family, "an authorization code was used again")
		return nil, pair{}, invalidGrant("authorization code already used, the login was revoked")
	case !now.Before(c.expires):
		return nil, pair{}, invalidGrant("authorization code expired")
	case r.params.Has("client_id") && c.client != r.params.Get("client_id"):
		return nil, pair{}, invalidGrant("the code is another client's")
	case c.redirect != r.params.Get("redirect_uri"):
		return nil, pair{}, invalidGrant("another redirect_uri than in the authorization request")
	case c.challenge != challenge(r.params.Get("code_verifier")):
		return nil, pair{}, invalidGrant("the code_verifier does not fit")
	}
	if refused := r.target(c.resource); refused != nil {
		return nil, pair{}, refused
	}
	f, p := b.open(now, r.cfg, c.user, c.scope, c.nonce)
	f.client, f.resource = c.client, c.resource
	c.family = f
	return f, p, nil
}

func challenge(verifier string) string {
	sum := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
