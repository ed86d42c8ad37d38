package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Registration is a client that authferry registered for itself at an authorization server
// (RFC 7591 §3.2.1). It belongs to that issuer and to one resource.
type Registration struct {
	Issuer, Resource string
	ClientID         string
	RedirectURI      string
	AuthStyle        string          // an Auth… constant; empty: as a login finds out
	Secret           keystore.Secret // may be empty
	SecretExpiresAt  time.Time       // zero: never
	At               time.Time       // by this machine's clock

	// URI and Token allow changing and deleting it (RFC 7592); empty: that isn't possible.
	URI   string
	Token keystore.Secret
	// Reach is how near the MCP server was: see Service.
	Reach string
}

// RegistrationError says that an authorization server refused a registration, or answered
// with something that can't be used.
type RegistrationError struct {
	Status int
	Code   string // RFC 7591 §3.2.2; may be empty
	Err    error  // may be nil
}

func (e *RegistrationError) Error() string {
	s := "the authorization server refused to register authferry as a client"
	switch {
	case e.Code != "":
		s += fmt.Sprintf(" (HTTP %d, %s)", e.Status, e.Code)
	case e.Err == nil:
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *RegistrationError) Unwrap() error { return e.Err }

const (
	maxRegistration = 64 << 10
	maxClientID     = 2 << 10
)

// clientMetadata is what authferry says about itself (RFC 7591 §2). It names no scopes: a
// client that is registered for some scopes can't ask for others later.
type clientMetadata struct {
	Name            string   `json:"client_name"`
	URI             string   `json:"client_uri"`
	RedirectURIs    []string `json:"redirect_uris"`
	GrantTypes      []string `json:"grant_types"`
	ResponseTypes   []string `json:"response_types"`
	AuthMethod      string   `json:"token_endpoint_auth_method"`
	ApplicationType string   `json:"application_type"` // otherwise a server assumes "web", which has no loopback
}

const clientURI = "https://github.com/authferry/authferry"

// authMethods are the names of the Auth… constants in metadata, in order of preference.
var authMethods = []struct{ name, style string }{
	{"none", AuthNone}, {"client_secret_basic", AuthHeader}, {"client_secret_post", AuthParams},
}

// Register registers a client with that redirect URI. The request contains no secret. The
// error is an *Error (no answer, or it has to wait) or a *RegistrationError.
func (r *Remote) Register(ctx context.Context, redirect string) (*Registration, error) {
	meta := clientMetadata{
		Name: "authferry", URI: clientURI, RedirectURIs: []string{redirect}, GrantTypes: []string{"authorization_code", "refresh_token"},
		ResponseTypes: []string{"code"}, AuthMethod: authMethods[0].name, ApplicationType: "native",
	}
	if r.device {
		meta.GrantTypes = append(meta.GrantTypes, deviceGrantType)
	}
	for _, m := range authMethods {
		if slices.Contains(r.authMethods, m.name) {
			meta.AuthMethod = m.name
			break
		}
	}
	body, err := json.Marshal(meta)
	if err != nil {
		return nil, &Error{Class: Misconfigured, Err: err}
	}
	a, err := r.client.send(ctx, http.MethodPost, r.registration, keystore.Secret{}, body)
	if err != nil {
		return nil, err
	}
	return a.registration(r, redirect, meta.AuthMethod)
}

// send sends one request to a registration or client configuration endpoint, and follows no
// redirect.
func (c *Client) send(ctx context.Context, method, endpoint string, token keystore.Secret, body []byte) (*answer, error) {
	ctx, cancel := context.WithTimeout(ctx, documentTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, endpoint, http.NoBody)
	if err != nil {
		return nil, &Error{Class: Misconfigured, Err: errNoURL}
	}
	if body != nil {
		req.Header.Set("Content-Type", jsonType)
	}
	if !token.Empty() {
		req.Header.Set("Authorization", bearerType+" "+token.Reveal())
	}
	return c.post(req, body, nil)
}

func (a *answer) registration(r *Remote, redirect, asked string) (*Registration, error) {
	refuse := func(err error) (*Registration, error) {
		code := looseMembers(a).text("error")
		if !presentable(code, nil) {
			code = ""
		}
		return nil, &RegistrationError{Status: a.status, Code: code, Err: err}
	}
	switch {
	case a.status == http.StatusTooManyRequests || a.status >= 500:
		return nil, a.fail(Throttled, nil)
	case a.status >= 300 && a.status <= 399:
		return refuse(errors.New("it redirects elsewhere"))
	case a.status != http.StatusCreated && a.status != http.StatusOK:
		return refuse(nil)
	case a.cut != nil:
		return refuse(a.cut)
	case len(a.body) > maxRegistration:
		return refuse(errTooBig)
	}
	reg, err := parseRegistration(a.body, redirect, asked, a.arrived)
	if err != nil {
		return refuse(err)
	}
	reg.Issuer, reg.Resource, reg.Reach = r.Provider.Issuer, r.Resource, r.Reach()
	if !sameOrigin(reg.URI, r.registration) && !sameOrigin(reg.URI, r.Provider.Issuer) {
		reg.URI, reg.Token = "", keystore.Secret{}
	}
	return reg, nil
}

// parseRegistration parses the answer to a registration with that redirect URI and
// authentication method. Missing values are as they were asked for.
func parseRegistration(body []byte, redirect, asked string, now time.Time) (*Registration, error) {
	var m members
	if decodeJSON(body, &m.fields) != nil {
		return nil, errFormat
	}
	reg := &Registration{
		ClientID: m.text("client_id"), RedirectURI: redirect, Secret: keystore.NewSecret(m.text("client_secret")), At: now,
		URI: m.text("registration_client_uri"), Token: keystore.NewSecret(m.text("registration_access_token")),
	}
	switch {
	case reg.ClientID == "":
		return nil, errors.New("there is no client id in the answer")
	case len(reg.ClientID) > maxClientID, printable(reg.ClientID) != nil:
		return nil, errors.New("the client id is too long, or has odd characters")
	case strings.ContainsFunc(reg.Secret.Reveal(), func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, errors.New("the client secret has odd characters")
	}
	if raw, ok := m.fields["redirect_uris"]; ok {
		var registered []string
		if json.Unmarshal(raw, &registered) != nil || !slices.Contains(registered, redirect) {
			return nil, errors.New("it registered another redirect URI than was asked for")
		}
	}
	if reg.SecretExpiresAt = moment(m.fields["client_secret_expires_at"]); reg.Secret.Empty() {
		reg.SecretExpiresAt = time.Time{}
	}
	if !reg.SecretExpiresAt.IsZero() && !reg.SecretExpiresAt.After(now) {
		return nil, errors.New("the client secret that it issued has already expired")
	}
	method := asked
	if said := m.text("token_endpoint_auth_method"); said != "" {
		method = said
	}
	if i := slices.IndexFunc(authMethods, func(a struct{ name, style string }) bool { return a.name == method }); i >= 0 {
		reg.AuthStyle = authMethods[i].style
	} else {
		return nil, errors.New("it requires a kind of client authentication that authferry doesn't support")
	}
	if reg.AuthStyle != AuthNone && reg.Secret.Empty() {
		return nil, errors.New("it issued no client secret, but requires one")
	}
	if CheckURL(reg.URI) != nil || reg.Token.Empty() || CheckAccessToken(reg.Token.Reveal()) != nil {
		reg.URI, reg.Token = "", keystore.Secret{}
	}
	return reg, nil
}

// moment reads seconds since 1970; zero: none, or more than a clock can show.
func moment(raw json.RawMessage) time.Time {
	f, err := strconv.ParseFloat(strings.Trim(string(raw), `"`), 64)
	if err != nil || !(f > 0) || f > 1e11 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

// Unregister deletes a client at its authorization server (RFC 7592 §2.3). One that no
// longer exists counts as deleted. Like a login at the same server, it connects to nothing
// that is nearer to this machine than that was (For). The error is an *Error.
func (c *Client) Unregister(ctx context.Context, reg *Registration) error {
	if reg.URI == "" {
		return nil
	}
	if u, err := url.Parse(reg.URI); err != nil || checkParsedURL(u) != nil {
		return &Error{Class: Misconfigured, Err: errNoURL}
	}
	a, err := c.For(Service{Reach: reg.Reach}).send(ctx, http.MethodDelete, reg.URI, reg.Token, nil)
	switch {
	case err != nil:
		return err
	case a.status == http.StatusNoContent, a.status == http.StatusOK, a.status == http.StatusNotFound, a.status == http.StatusGone,
		a.status == http.StatusUnauthorized: // RFC 7592 §2.3: the token of a deleted client is invalid
		return nil
	}
	return a.refusal(Endpoint{}, reg.Token)
}
