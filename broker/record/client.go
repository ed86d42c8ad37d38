package record

import (
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// ClientSecret is the keystore item with a confidential client's secret. It names the token
// endpoint and the client; the secret is sent to no other token endpoint.
type ClientSecret struct {
	V             int    `json:"v"`
	TokenEndpoint string `json:"token_endpoint"`
	ClientID      string `json:"client_id"`
	// RevocationEndpoint is the only other place that the secret may be sent to; may be
	// empty.
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`
	Secret             string `json:"secret"`
	// Registered is set for a client that authferry registered itself.
	Registered *Registered `json:"registered,omitempty"`
}

// Registered is what authferry needs to know of a client that it registered. It belongs to
// that issuer and that resource, whatever providers.toml says.
type Registered struct {
	Issuer          string    `json:"issuer"`
	Resource        string    `json:"resource"`
	RedirectURI     string    `json:"redirect_uri"`
	AuthStyle       string    `json:"auth_style,omitempty"`
	SecretExpiresAt time.Time `json:"secret_expires_at,omitzero"`
	At              time.Time `json:"at"`
	URI             string    `json:"uri,omitempty"` // where it can be deleted, using Token (RFC 7592)
	Token           string    `json:"token,omitempty"`
	Reach           string    `json:"reach,omitempty"` // as in a grant
}

// NewClient makes the record of a client that authferry registered.
func NewClient(reg *oauth.Registration) ClientSecret {
	return ClientSecret{Secret: reg.Secret.Reveal(), Registered: &Registered{
		Issuer: reg.Issuer, Resource: reg.Resource, RedirectURI: reg.RedirectURI, AuthStyle: reg.AuthStyle,
		SecretExpiresAt: reg.SecretExpiresAt, At: reg.At.UTC(), URI: reg.URI, Token: reg.Token.Reveal(), Reach: reg.Reach,
	}}
}

// Registration returns the registration in the record; nil: authferry did not register this
// client.
func (cs ClientSecret) Registration() *oauth.Registration {
	r := cs.Registered
	if r == nil {
		return nil
	}
	return &oauth.Registration{
		Issuer: r.Issuer, Resource: r.Resource, ClientID: cs.ClientID, RedirectURI: r.RedirectURI, AuthStyle: r.AuthStyle,
		Secret: keystore.NewSecret(cs.Secret), SecretExpiresAt: r.SecretExpiresAt, At: r.At, URI: r.URI, Token: keystore.NewSecret(r.Token), Reach: r.Reach,
	}
}

// ClientKey names the client of e at its token endpoint.
func ClientKey(e oauth.Endpoint) string {
	sum := sha256.Sum256([]byte(e.TokenEndpoint + "\x00" + e.ClientID))
	return hex.EncodeToString(sum[:8])
}
