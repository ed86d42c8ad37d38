package oauth

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/authferry/authferry/keystore"
)

// Proof is what a client proves itself with that gets tokens on its own account, with no
// person behind it (RFC 6749 §4.4): a secret, or a private key (RFC 7523 §2.2).
type Proof struct {
	Secret keystore.Secret
	Key    keystore.Secret // PEM
	// KeyID is what the server knows the key by; may be empty.
	KeyID string
	// Algorithm signs, and Audience is whom the assertion is for; empty: FirstToken finds
	// out.
	Algorithm, Audience string
	// Scopes are asked for each time; none: the server decides.
	Scopes []string
}

// Grant is the secret of p.
func (p Proof) Grant() keystore.Secret {
	if !p.Key.Empty() {
		return p.Key
	}
	return p.Secret
}

// Empty reports that p proves nothing.
func (p Proof) Empty() bool { return p.Grant().Empty() }

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ServiceToken gets a token by p, once. beforeSend is as for Refresh. A refresh token in
// the answer is dropped: the proof is all it takes. The error is an *Error; that the
// client is refused is of class Dead, for it is the proof itself that was.
func (c *Client) ServiceToken(ctx context.Context, e Endpoint, p Proof, beforeSend func() error) (*Token, error) {
	if p.Empty() {
		return nil, &Error{Class: Misconfigured, Err: errors.New("there is neither a secret nor a key")}
	}
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	e.ClientSecret = p.Secret
	conf := clientcredentials.Config{ClientID: e.ClientID, ClientSecret: e.secret(), TokenURL: e.TokenEndpoint, Scopes: p.Scopes, AuthStyle: e.style()}
	secrets := []keystore.Secret{p.Secret}
	if !p.Key.Empty() {
		signed, err := p.assertion(e)
		if err != nil {
			return nil, &Error{Class: Misconfigured, Err: err}
		}
		secrets = []keystore.Secret{signed}
		conf.ClientSecret, conf.AuthStyle = "", oauth2.AuthStyleInParams
		conf.EndpointParams = url.Values{"client_assertion_type": {assertionType}, "client_assertion": {signed.Reveal()}}
	}
	x := &exchange{client: c, endpoint: e, beforeSend: beforeSend, secrets: secrets}
	ctx = context.WithValue(ctx, oauth2.HTTPClient, &http.Client{Transport: x})
	_, err := conf.Token(ctx)
	if err != nil && x.err == nil {
		x.err = &Error{Class: Misconfigured, Err: errNoURL}
	}
	if failed, ok := errors.AsType[*Error](x.err); ok && failed.Code == "invalid_client" && failed.Class == Misconfigured {
		failed.Class = Dead
	}
	if x.token != nil {
		x.token.RefreshToken, x.token.Salvaged = keystore.Secret{}, false
		if x.token.AccessToken.Empty() && x.err == nil {
			return nil, &Error{Class: Unknown, Err: errNoAccess}
		}
		if x.err != nil { // without a refresh token there is nothing to keep
			return nil, x.err
		}
	}
	return x.token, x.err
}

// FirstToken is ServiceToken where nobody has said yet how this server takes the proof: a
// secret in the body or by HTTP Basic; a key for RS256 or PS256, and an assertion that is
// for the issuer or for the token endpoint. It tries each while the client is refused,
// and returns what was accepted.
func (c *Client) FirstToken(ctx context.Context, e Endpoint, p Proof) (*Token, Endpoint, Proof, error) {
	var first error
	for _, way := range ways(e, p) {
		t, err := c.ServiceToken(ctx, way.endpoint, way.proof, nil)
		if err == nil {
			return t, way.endpoint, way.proof, nil
		}
		if first == nil {
			first = err
		}
		if failed, ok := errors.AsType[*Error](err); !ok || failed.Class != Dead && failed.Code != "invalid_request" && failed.Code != "unauthorized_client" {
			break
		}
	}
	return nil, e, p, first
}

type way struct {
	endpoint Endpoint
	proof    Proof
}

func ways(e Endpoint, p Proof) (all []way) {
	if p.Key.Empty() {
		if e.AuthStyle == AuthNone { // of the metadata of a server that also has public clients
			e.AuthStyle = ""
		}
		all = append(all, way{e, p})
		if e.AuthStyle == "" {
			e.AuthStyle = AuthHeader
			all = append(all, way{e, p})
		}
		return all
	}
	algorithms, audiences := []string{p.Algorithm}, []string{p.Audience}
	if p.Algorithm == "" {
		algorithms = p.algorithms()
	}
	if p.Audience == "" {
		audiences = []string{e.TokenEndpoint}
		if e.Issuer != "" && !strings.Contains(e.Issuer, tenant) {
			audiences = []string{e.Issuer, e.TokenEndpoint}
		}
	}
	for _, audience := range audiences {
		for _, algorithm := range algorithms {
			p.Audience, p.Algorithm = audience, algorithm
			all = append(all, way{e, p})
		}
	}
	return all
}
