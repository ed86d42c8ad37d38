package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// clientSecret is the keystore item of a confidential client's secret. It names
// the token endpoint and the client that it is for, and goes to no other.
type clientSecret struct {
	V             int    `json:"v"`
	TokenEndpoint string `json:"token_endpoint"`
	ClientID      string `json:"client_id"`
	Secret        string `json:"secret"`
}

func clientKey(e oauth.Endpoint) string {
	sum := sha256.Sum256([]byte(e.TokenEndpoint + "\x00" + e.ClientID))
	return hex.EncodeToString(sum[:8])
}

// readClientSecret returns the secret of e's client, empty where there is none.
func (b *Broker) readClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (keystore.Secret, error) {
	s, err := b.get(ctx, clientItem(idx, e))
	if unwritten(err) {
		return keystore.Secret{}, nil
	}
	if err != nil {
		return keystore.Secret{}, storeError(err)
	}
	var cs clientSecret
	if decodeRecord(s, &cs) == nil && cs.TokenEndpoint == e.TokenEndpoint && cs.ClientID == e.ClientID {
		return keystore.NewSecret(cs.Secret), nil
	}
	return keystore.Secret{}, nil
}

func (b *Broker) hasClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (bool, error) {
	s, err := b.readClientSecret(ctx, idx, e)
	return !s.Empty(), err
}

// endpoint completes what the grant pins with the client's secret.
func (b *Broker) endpoint(ctx context.Context, idx *index.Index, g *grant) (oauth.Endpoint, error) {
	e := g.Endpoint
	if !g.ClientSecret {
		return e, nil
	}
	s, err := b.readClientSecret(ctx, idx, e)
	if err != nil {
		return e, err
	}
	if s.Empty() {
		return e, failf(ProviderRefused, "the keystore has no client secret for %s, client %s", e.TokenEndpoint, quote(e.ClientID)).
			hint("authferry provider add %s --client-secret-stdin …", g.Provider)
	}
	e.ClientSecret = s
	return e, nil
}

// setClientSecret keeps the secret of e's client.
func (b *Broker) setClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint, secret keystore.Secret) error {
	if err := b.changeManifest(ctx, idx, func(m *manifest) { m.addClient(clientKey(e)) }); err != nil {
		return storeError(err)
	}
	v, err := encodeRecord(clientSecret{V: recordVersion, TokenEndpoint: e.TokenEndpoint, ClientID: e.ClientID, Secret: secret.Reveal()})
	if err != nil {
		return storeError(err)
	}
	return storeError(b.set(ctx, clientItem(idx, e), v))
}
