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
	// RevocationEndpoint is the other place that it may go to; may be empty.
	RevocationEndpoint string `json:"revocation_endpoint,omitempty"`
	Secret             string `json:"secret"`
}

func clientKey(e oauth.Endpoint) string {
	sum := sha256.Sum256([]byte(e.TokenEndpoint + "\x00" + e.ClientID))
	return hex.EncodeToString(sum[:8])
}

// readClientSecret returns the item of e's client, its zero value where there
// is none.
func (b *Broker) readClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (clientSecret, error) {
	s, err := b.get(ctx, clientItem(idx, e))
	if unwritten(err) {
		return clientSecret{}, nil
	}
	if err != nil {
		return clientSecret{}, storeError(err)
	}
	var cs clientSecret
	if decodeRecord(s, &cs) == nil && cs.TokenEndpoint == e.TokenEndpoint && cs.ClientID == e.ClientID {
		return cs, nil
	}
	return clientSecret{}, nil
}

func (b *Broker) hasClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (bool, error) {
	cs, err := b.readClientSecret(ctx, idx, e)
	return cs.Secret != "", err
}

// checkRevocation refuses to send a client secret to a revocation endpoint that
// it was not given for.
func (b *Broker) checkRevocation(ctx context.Context, idx *index.Index, g *grant) error {
	if !g.ClientSecret {
		return nil
	}
	cs, err := b.readClientSecret(ctx, idx, g.Endpoint)
	if err == nil && cs.RevocationEndpoint != g.Endpoint.RevocationEndpoint {
		err = failf(ProviderRefused, "the client secret is not meant for %s", g.Endpoint.RevocationEndpoint)
	}
	return err
}

// endpoint completes what the grant pins with the client's secret.
func (b *Broker) endpoint(ctx context.Context, idx *index.Index, g *grant) (oauth.Endpoint, error) {
	e := g.Endpoint
	if !g.ClientSecret {
		return e, nil
	}
	cs, err := b.readClientSecret(ctx, idx, e)
	if err != nil {
		return e, err
	}
	if cs.Secret == "" {
		return e, failf(ProviderRefused, "the keystore has no client secret for %s, client %s", e.TokenEndpoint, quote(e.ClientID)).
			hint("authferry provider add %s --client-secret-stdin …", g.Provider)
	}
	e.ClientSecret = keystore.NewSecret(cs.Secret)
	return e, nil
}

// setClientSecret keeps the secret of e's client.
func (b *Broker) setClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint, secret keystore.Secret) error {
	if err := b.changeManifest(ctx, idx, func(m *manifest) { m.addClient(clientKey(e)) }); err != nil {
		return storeError(err)
	}
	v, err := encodeRecord(clientSecret{V: recordVersion, TokenEndpoint: e.TokenEndpoint, ClientID: e.ClientID,
		RevocationEndpoint: e.RevocationEndpoint, Secret: secret.Reveal()})
	if err != nil {
		return storeError(err)
	}
	return storeError(b.set(ctx, clientItem(idx, e), v))
}
