package broker

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// readClientSecret returns the item of e's client, its zero value where there
// is none.
func (b *Broker) readClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (record.ClientSecret, error) {
	s, err := b.get(ctx, record.ClientItem(idx, e))
	if unwritten(err) {
		return record.ClientSecret{}, nil
	}
	if err != nil {
		return record.ClientSecret{}, storeError(err)
	}
	var cs record.ClientSecret
	if record.DecodeRecord(s, &cs) == nil && cs.TokenEndpoint == e.TokenEndpoint && cs.ClientID == e.ClientID {
		return cs, nil
	}
	return record.ClientSecret{}, nil
}

func (b *Broker) hasClientSecret(ctx context.Context, idx *index.Index, e oauth.Endpoint) (bool, error) {
	cs, err := b.readClientSecret(ctx, idx, e)
	return cs.Secret != "", err
}

// checkRevocation refuses to send a client secret to a revocation endpoint that
// it was not given for.
func (b *Broker) checkRevocation(ctx context.Context, idx *index.Index, g *record.Grant) error {
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
func (b *Broker) endpoint(ctx context.Context, idx *index.Index, g *record.Grant) (oauth.Endpoint, error) {
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
	v, err := record.EncodeRecord(record.ClientSecret{V: record.RecordVersion, TokenEndpoint: e.TokenEndpoint, ClientID: e.ClientID,
		RevocationEndpoint: e.RevocationEndpoint, Secret: secret.Reveal()})
	if err != nil {
		return storeError(err)
	}
	return storeError(b.withManifest(ctx, idx, func(now *index.Index) error {
		if err := b.rewriteManifest(ctx, now, func(m *record.Manifest) { m.AddClient(record.ClientKey(e)) }); err != nil {
			return err
		}
		if err := b.set(ctx, record.ClientItem(idx, e), v); err != nil {
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
			m.Add(id)
		}
		needed, err := b.grantClients(ctx, now, m.Accounts)
		if err != nil || slices.Contains(needed, record.ClientKey(e)) {
			return err
		}
		if err := b.del(ctx, record.ClientItem(idx, e)); err != nil {
			return err
		}
		return b.rewriteManifest(ctx, now, func(m *record.Manifest) { m.DropClient(record.ClientKey(e)) })
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
		key := record.ClientKey(p.Endpoint())
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
		if g := stored.Best; g != nil && g.ClientSecret && !slices.Contains(keys, record.ClientKey(g.Endpoint)) {
			keys = append(keys, record.ClientKey(g.Endpoint))
		}
	}
	return keys, nil
}
