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
	Account     string
	Generation  int
	AccessToken keystore.Secret
	TokenType   string
	ExpiresAt   time.Time // zero: unknown, served until it is rejected
	ObtainedAt  time.Time
	Imported    bool // authferry did not see its issue, so its lifetime is unknown
	Boot        Boot // when it was obtained, by a clock that can't be set
	Headers     []string
	Origins     []string
	API         oauth.API // missing in records from before the proxy existed
	// Resource and Address: the remote MCP server that it is for. It is sent to no other.
	Resource string
	Address  string
	// PoolGeneration is that of the grant it was made with, in a pool that machines share;
	// 0: the account isn't shared.
	PoolGeneration int
}

type accessWire struct {
	V           int       `json:"v"`
	Account     string    `json:"account"`
	Generation  int       `json:"generation"`
	AccessToken string    `json:"access_token"`
	TokenType   string    `json:"token_type"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	ObtainedAt  time.Time `json:"obtained_at"`
	Imported    bool      `json:"imported,omitempty"`
	Boot        Boot      `json:"boot,omitzero"`
	Headers     []string  `json:"headers"`
	Origins     []string  `json:"origins"`
	API         oauth.API `json:"api,omitzero"`
	Resource    string    `json:"resource,omitempty"`
	Address     string    `json:"address,omitempty"`

	PoolGeneration int `json:"pool_generation,omitempty"`
}

// Encode returns the record as it is stored.
func (acc *Access) Encode() (keystore.Secret, error) {
	return encodeRecord(accessWire{
		V: RecordVersion, Account: acc.Account, Generation: acc.Generation,
		AccessToken: acc.AccessToken.Reveal(), TokenType: acc.TokenType,
		ExpiresAt: acc.ExpiresAt, ObtainedAt: acc.ObtainedAt, Imported: acc.Imported, Boot: acc.Boot,
		Headers: acc.Headers, Origins: acc.Origins, API: acc.API, Resource: acc.Resource, Address: acc.Address,
		PoolGeneration: acc.PoolGeneration,
	})
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
	return &Access{
		Account: w.Account, Generation: w.Generation,
		AccessToken: keystore.NewSecret(w.AccessToken), TokenType: w.TokenType,
		ExpiresAt: w.ExpiresAt, ObtainedAt: w.ObtainedAt, Imported: w.Imported, Boot: w.Boot,
		Headers: w.Headers, Origins: w.Origins, API: w.API, Resource: w.Resource, Address: w.Address,
		PoolGeneration: w.PoolGeneration,
	}, nil
}
