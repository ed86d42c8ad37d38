package broker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/authferry/authferry/broker/fault"
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
		err = fault.Errorf(fault.ProviderRefused, "the client secret is not meant for %s", g.Endpoint.RevocationEndpoint)
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
		return e, fault.Errorf(fault.ProviderRefused, "the keystore has no client secret for %s, client %s", e.TokenEndpoint, quote(e.ClientID)).
			WithHint("authferry provider add %s --client-secret-stdin …", g.Provider)
	}
	e.ClientSecret = keystore.NewSecret(cs.Secret)
	return e, nil
}

// setClientSecret keeps the secret of e's client, and records the keystore that has
// it, as no migration can go on in between.
func (b *Broker) setClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint, secret keystore.Secret) error {
	v, err := encodeRecord(clientSecret{V: recordVersion, TokenEndpoint: e.TokenEndpoint, ClientID: e.ClientID,
		RevocationEndpoint: e.RevocationEndpoint, Secret: secret.Reveal()})
	if err != nil {
		return storeError(err)
	}
	return storeError(b.withManifest(ctx, idx, func(now *index.Index) error {
		if err := b.rewriteManifest(ctx, now, func(m *manifest) { m.addClient(clientKey(e)) }); err != nil {
			return err
		}
		if err := b.set(ctx, clientItem(idx, e), v); err != nil {
			return err
		}
		return b.update(ctx, index.Durable, func(i *index.Index) error {
			if err := b.unmoved(i, idx); err != nil {
				return err
			}
			i.Keystore = idx.Keystore
			return nil
		})
	}))
}

// dropClientSecret deletes the secret of e's client, unless a stored login needs it.
func (b *Broker) dropClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) error {
	return storeError(b.withManifest(ctx, idx, func(now *index.Index) error {
		m, err := b.readManifest(ctx, now)
		if err != nil {
			return err
		}
		for _, id := range accountIDs(now) {
			m.add(id)
		}
		needed, err := b.grantClients(ctx, now, m.Accounts)
		if err != nil || slices.Contains(needed, clientKey(e)) {
			return err
		}
		if err := b.del(ctx, clientItem(idx, e)); err != nil {
			return err
		}
		return b.rewriteManifest(ctx, now, func(m *manifest) { m.dropClient(clientKey(e)) })
	}))
}

// clientKeys finds the client secrets that are stored by the providers and grants
// that there are: a manifest may have been lost.
func (b *Broker) clientKeys(ctx context.Context, idx *index.Index) ([]string, error) {
	keys, err := b.grantClients(ctx, idx, accountIDs(idx))
	if err != nil {
		return nil, err
	}
	ps, err := b.Providers()
	if err != nil {
		return nil, err
	}
	for _, p := range ps.All() {
		key := clientKey(p.Endpoint())
		if p.ClientID == "" || slices.Contains(keys, key) {
			continue
		}
		has, err := b.hasClientSecret(ctx, idx, p.Endpoint())
		if err != nil {
			return nil, err
		}
		if has {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// grantClients are the clients whose secret the stored logins of these accounts need.
func (b *Broker) grantClients(ctx context.Context, idx *index.Index, ids []string) (keys []string, err error) {
	for _, id := range ids {
		if !index.ValidID(id) {
			continue
		}
		stored, err := b.readGrants(ctx, idx, id)
		if err != nil {
			return nil, err
		}
		if g := stored.best; g != nil && g.ClientSecret && !slices.Contains(keys, clientKey(g.Endpoint)) {
			keys = append(keys, clientKey(g.Endpoint))
		}
	}
	return keys, nil
}
