package record

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/authferry/authferry/broker/oauth"
)

// ClientSecret is the keystore item of a confidential client's secret. It names
// the token endpoint and the client that it is for, and goes to no other.
type ClientSecret struct {
	V             int    `json:"v"`
	TokenEndpoint string `json:"token_endpoint"`
	ClientID      string `json:"client_id"`
	// RevocationEndpoint is the other place that it may go to; may be empty.
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`
	Secret             string `json:"secret"`
}

// ClientKey names e's client at its token endpoint.
func ClientKey(e oauth.Endpoint) string {
	sum := sha256.Sum256([]byte(e.TokenEndpoint + "\x00" + e.ClientID))
	return hex.EncodeToString(sum[:8])
}
