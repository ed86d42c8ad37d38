package oauth

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/rawtext"
)

// Identity is whose login it is. Issuer, Subject and Organization together identify a user
// for ever; Name is for display only. Without a Subject nothing is known.
type Identity struct {
	Issuer, Subject, Organization string
	Name                          string
}

// tenant is the placeholder in the issuer of a server that has an issuer for each tenant;
// it is replaced by the token's "tid".
const tenant = "{tenantid}"

// idTokenTolerance is how wrong this machine's clock may be. The nonce proves that an ID
// token is new.
const idTokenTolerance = 10 * time.Minute

// Identify returns whose login t is. The provider's data says where to look: in the ID
// token, at the userinfo endpoint, or in the token answer. If it doesn't say, or nothing is
// there, the Identity has no Subject. An ID token with wrong claims is an error, and so is
// a userinfo endpoint that fails, as an *Error.
func (c *Client) Identify(ctx context.Context, p Provider, e Endpoint, t *Token, nonce string) (Identity, error) {
	switch p.IdentityFrom {
	case IdentityFromIDToken:
		if t.IDToken.Empty() {
			return Identity{}, nil
		}
		if encrypted(t.IDToken.Reveal()) && e.UserinfoEndpoint != "" {
			return c.userinfo(ctx, e, t)
		}
		id, err := identityOf(t.IDToken.Reveal(), p, e, nonce, t.ArrivedAt)
		if err != nil || id.Name != "" || e.UserinfoEndpoint == "" {
			return id, err
		}
		// Only the name is missing, which must not cost the login.
		if who, err := c.userinfo(ctx, e, t); err == nil && who.Subject == id.Subject {
			id.Name = who.Name
		}
		return id, nil
	case IdentityFromUserinfo:
		return c.userinfo(ctx, e, t)
	case IdentityFromResponse:
		if t.Account.ID == "" && e.UserinfoEndpoint != "" {
			return c.userinfo(ctx, e, t)
		}
		return Identity{Issuer: e.Issuer, Subject: t.Account.ID, Organization: t.Organization.ID, Name: t.Account.Name}, nil
	}
	return Identity{}, nil
}

// identityOf parses an ID token and checks its claims (OpenID Connect Core §3.1.3.7). The
// token came from the token endpoint itself over TLS or loopback, which by point 6 makes
// checking the signature unnecessary. Some servers leave the nonce out; then only PKCE ties
// the token to this login. An encrypted one (RFC 7516) identifies nobody.
func identityOf(token string, p Provider, e Endpoint, nonce string, now time.Time) (Identity, error) {
	if encrypted(token) {
		return Identity{}, nil
	}
	m, err := claimsOf(token)
	if err != nil {
		return Identity{}, err
	}
	issuer, audience := p.canonical(m.text("iss")), strings.Fields(m.words("aud"))
	if known := strings.ReplaceAll(e.Issuer, tenant, m.text("tid")); known != "" && strings.TrimSuffix(issuer, "/") == strings.TrimSuffix(known, "/") {
		issuer = known
	}
	subject := m.subject("sub")
	switch {
	case issuer == "" || e.Issuer != "" && issuer != strings.ReplaceAll(e.Issuer, tenant, m.text("tid")):
		return Identity{}, errors.New("the ID token is of another issuer")
	case !slices.Contains(audience, e.ClientID) || m.text("azp") != "" && m.text("azp") != e.ClientID:
		return Identity{}, errors.New("the ID token is for another client")
	case nonce != "" && m.fields["nonce"] != nil && m.text("nonce") != nonce:
		return Identity{}, errors.New("the ID token is of another login: its nonce differs")
	case subject == "":
		return Identity{}, errors.New("the ID token names no user")
	}
	expires, err := strconv.ParseFloat(cmp.Or(m.text("exp"), string(m.fields["exp"])), 64)
	if err != nil || !(expires >= 0) || now.Add(-idTokenTolerance).After(time.Unix(int64(min(expires, 1<<40)), 0)) {
		return Identity{}, errors.New("the ID token has expired, or this machine's clock is wrong")
	}
	id := Identity{Issuer: issuer, Subject: subject, Organization: m.text("org_id"), Name: nameIn(m)}
	if id.Organization == "" {
		id.Organization = m.object("https://api.openai.com/auth").text("chatgpt_account_id")
	}
	return id, nil
}

// encrypted reports whether an ID token is a JWE in RFC 7516's compact form.
func encrypted(token string) bool {
	header, rest, _ := strings.Cut(token, ".")
	decoded, err := base64.RawURLEncoding.DecodeString(header)
	return err == nil && strings.Count(rest, ".") == 3 && json.Valid(decoded)
}

func claimsOf(token string) (members, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return members{}, errors.New("the ID token is not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil || len(body) == 0 || body[0] != '{' {
		return members{}, errors.New("the ID token is not a JWT")
	}
	m := parseObject(body)
	if m.cut != nil {
		return members{}, errors.New("the ID token is not a JWT")
	}
	return m, nil
}

// userinfo asks the userinfo endpoint of OpenID Connect Core (§5.3), or a similar one:
// {"id"}, {"account":{"uuid"}}.
func (c *Client) userinfo(ctx context.Context, e Endpoint, t *Token) (Identity, error) {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.UserinfoEndpoint, http.NoBody)
	if err != nil {
		return Identity{}, &Error{Class: Misconfigured, Err: errNoURL}
	}
	if err := checkParsedURL(req.URL); err != nil {
		return Identity{}, &Error{Class: Misconfigured, Err: err}
	}
	req.Header.Set("Accept", jsonType)
	req.Header.Set("User-Agent", c.userAgent())
	req.Header.Set("Authorization", "Bearer "+t.AccessToken.Reveal())
	res, err := c.transport().RoundTrip(req)
	if err != nil {
		return Identity{}, &Error{Class: Unsent, Err: describe(err)}
	}
	defer res.Body.Close()
	a := readAnswer(res, true)
	m, err := parse(a.body, a.cut)
	switch {
	case a.status < 200 || a.status > 299:
		return Identity{}, a.refusal(e, t.AccessToken)
	case err != nil:
		return Identity{}, a.fail(Unknown, err)
	case m.cut != nil:
		return Identity{}, a.fail(Unknown, m.cut)
	}
	account, organization := m.object("account"), m.object("organization")
	id := Identity{Issuer: e.Issuer, Organization: organization.text("uuid"), Name: nameIn(m)}
	id.Subject = cmp.Or(m.subject("sub"), account.subject("uuid"), m.subject("id"))
	if id.Name == "" {
		id.Name = nameIn(account)
	}
	return id, nil
}

// subject returns the value of a member that identifies a user. Placeholders such as "null"
// don't, or two unknown users would be the same.
func (m members) subject(name string) string {
	s := cmp.Or(m.text(name), wholeNumber(m.fields[name]))
	if rawtext.Nothing(s) {
		return ""
	}
	return s
}

// nameIn is a name by which a person would recognize the account.
func nameIn(m members) string {
	for _, name := range []string{"email", "email_address", "preferred_username", "login", "name"} {
		if s := m.text(name); s != "" && oneLine(s) == nil {
			return shorten(s)
		}
	}
	return ""
}

func wholeNumber(raw json.RawMessage) string {
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil {
		return ""
	}
	return strconv.FormatUint(n, 10)
}
