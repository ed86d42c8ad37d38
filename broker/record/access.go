package record

import (
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// NewAccess makes the access record of a token that just came in. The token ends at its
// arrival plus its lifetime, in this machine's time, so it doesn't matter if this machine's
// clock or the server's is wrong.
func NewAccess(g *Grant, tok *oauth.Token) *Access {
	a := &Access{
		Account: g.Account, Generation: g.Generation,
		AccessToken: tok.AccessToken, TokenType: tok.TokenType,
		ObtainedAt: tok.ArrivedAt.UTC(), Boot: BootNow(),
		Headers: g.Headers, Origins: g.Origins, API: g.API, Resource: g.Endpoint.Resource, Address: g.Service.Address,
		PoolGeneration: g.PoolGeneration,
	}
	if tok.ExpiresIn > 0 {
		a.ExpiresAt = a.ObtainedAt.Add(tok.ExpiresIn)
	}
	return a
}

// Access is the keystore record that the hot path reads: one access token and where it may
// be sent.
type Access struct {
	Account     string          `json:"account"`
	Generation  int             `json:"generation"`
	AccessToken keystore.Secret `json:"-"`
	TokenType   string          `json:"token_type"`
	ExpiresAt   time.Time       `json:"expires_at,omitzero"` // zero: unknown, served until it is rejected
	ObtainedAt  time.Time       `json:"obtained_at"`
	Imported    bool            `json:"imported,omitempty"` // authferry did not see its issue, so its lifetime is unknown
	Boot        Boot            `json:"boot,omitzero"`      // when it was obtained, by a clock that can't be set
	Headers     []string        `json:"headers"`
	Origins     []string        `json:"origins"`
	API         oauth.API       `json:"api,omitzero"` // missing in records from before the proxy existed
	// Resource and Address: the remote MCP server that it is for. It is sent to no other.
	Resource string `json:"resource,omitempty"`
	Address  string `json:"address,omitempty"`
	// PoolGeneration is that of the grant it was made with, in a pool that machines share;
	// 0: the account isn't shared.
	PoolGeneration int `json:"pool_generation,omitempty"`
}

// accessWire is an Access as it is stored.
type accessWire struct {
	V int `json:"v"`
	Access
	AccessToken string `json:"access_token"`
}

// Encode returns the record as it is stored.
func (acc *Access) Encode() (keystore.Secret, error) {
	return encodeRecord(accessWire{RecordVersion, *acc, acc.AccessToken.Reveal()})
}

// DecodeAccess reads what Encode returned. Its errors never quote the input.
func DecodeAccess(s keystore.Secret) (*Access, error) {
	var w accessWire
	if err := decodeRecord(s, &w); err != nil {
		return nil, err
	}
	if w.V != RecordVersion || w.AccessToken == "" {
		return nil, fmt.Errorf("not an access record of version %d", RecordVersion)
	}
	if !index.ValidCount(w.Generation) || !index.ValidCount(w.PoolGeneration) {
		return nil, errGeneration
	}
	w.Access.AccessToken = keystore.NewSecret(w.AccessToken)
	return &w.Access, nil
}
