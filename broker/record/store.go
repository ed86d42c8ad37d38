package record

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Store has the records of one folder in one keystore. Its errors are *fault.Error.
type Store struct {
	id   string // the folder's
	keys keystore.Store
}

// At returns the Store of the folder with that store id in keys. It accesses nothing yet.
func At(id string, keys keystore.Store) *Store { return &Store{id, keys} }

// Kind is the keystore's.
func (s *Store) Kind() keystore.Kind { return s.keys.Kind() }

// Backend is the keystore's.
func (s *Store) Backend() string { return s.keys.Backend() }

// read returns an item. One that is missing or incomplete is not found: a write that was
// cut off counts as not done.
func (s *Store) read(ctx context.Context, name string) (v keystore.Secret, found bool, err error) {
	v, err = s.keys.Get(ctx, name)
	if errors.Is(err, keystore.ErrNotFound) || errors.Is(err, keystore.ErrDamaged) {
		return v, false, nil
	}
	return v, err == nil, Fault(err)
}

// write stores a record as an item.
func (s *Store) write(ctx context.Context, name string, encode func() (keystore.Secret, error)) error {
	v, err := encode()
	if err == nil {
		err = s.keys.Set(ctx, name, v)
	}
	return Fault(err)
}

// Delete deletes items by their names. A missing item is no error.
func (s *Store) Delete(ctx context.Context, names ...string) error {
	for _, name := range names {
		if err := s.keys.Delete(ctx, name); err != nil {
			return Fault(err)
		}
	}
	return nil
}

// Copy copies an item from from, under the same name, and reports whether it exists.
func (s *Store) Copy(ctx context.Context, from *Store, name string) (found bool, err error) {
	v, found, err := from.read(ctx, name)
	if !found || err != nil {
		return false, err
	}
	return true, Fault(s.keys.Set(ctx, name, v))
}

// Has reports whether the item exists and is complete.
func (s *Store) Has(ctx context.Context, name string) (bool, error) {
	_, found, err := s.read(ctx, name)
	return found, err
}

// Grants reads all four slots and returns the newest record; of two with the same
// generation, the one in the slot that the index names. A record that is damaged or of
// another account is skipped. One that can't be read now is an error, because it could be
// the newest.
func (s *Store) Grants(ctx context.Context, account, pointed string) (Grants, error) {
	var found Grants
	for _, slot := range Slots {
		g, err := s.Grant(ctx, account, slot)
		if err != nil {
			return Grants{}, err
		}
		if g == nil {
			continue
		}
		if found.Best == nil || g.Generation > found.Best.Generation || g.Generation == found.Best.Generation && slot == pointed {
			found = Grants{g, slot}
		}
	}
	return found, nil
}

// Grant reads one slot. Nil: there is no record of this account.
func (s *Store) Grant(ctx context.Context, account, slot string) (*Grant, error) {
	v, found, err := s.read(ctx, GrantItem(s.id, account, slot))
	if !found || err != nil {
		return nil, err
	}
	g, err := DecodeGrant(v)
	switch {
	case errors.Is(err, errNewerRecord):
		return nil, fault.Errorf(fault.IndexTooNew, "this account's login was stored by a newer authferry; nothing was changed").Try(fault.Remedy{Do: fault.ShowVersion})
	case err == nil && g.Account == account:
		return g, nil
	}
	return nil, nil
}

// SetGrant writes g to a slot of its account.
func (s *Store) SetGrant(ctx context.Context, slot string, g *Grant) error {
	return s.write(ctx, GrantItem(s.id, g.Account, slot), g.Encode)
}

// Access reads one slot. Nil: there is no record of this account.
func (s *Store) Access(ctx context.Context, account, slot string) (*Access, error) {
	v, found, err := s.read(ctx, AccessItem(s.id, account, slot))
	if !found || err != nil {
		return nil, err
	}
	if acc, err := DecodeAccess(v); err == nil && acc.Account == account {
		return acc, nil
	}
	return nil, nil
}

// AccessOf finds the access record of a generation; nil: there is none.
func (s *Store) AccessOf(ctx context.Context, account string, generation int) (acc *Access, slot string, err error) {
	for _, in := range Slots {
		r, err := s.Access(ctx, account, in)
		if err != nil {
			return nil, "", err
		}
		if r != nil && r.Generation == generation {
			acc, slot = r, in
		}
	}
	return acc, slot, nil
}

// LatestAccess finds the newest access record up to a generation. There may be none for the
// newest grant: a rotation can bring a new refresh token without a usable access token.
func (s *Store) LatestAccess(ctx context.Context, account string, generation int) (best *Access, err error) {
	for _, slot := range Slots {
		r, err := s.Access(ctx, account, slot)
		if err != nil {
			return nil, err
		}
		if r != nil && r.Generation <= generation && (best == nil || r.Generation > best.Generation) {
			best = r
		}
	}
	return best, nil
}

// SetAccess writes acc to a slot of its account.
func (s *Store) SetAccess(ctx context.Context, slot string, acc *Access) error {
	return s.write(ctx, AccessItem(s.id, acc.Account, slot), acc.Encode)
}

// Preflight writes an item as big as the two records to come together, to see that the
// keystore takes them. The size is judged by g and by the access record in a slot, if there
// is one.
func (s *Store) Preflight(ctx context.Context, g *Grant, accessSlot string) error {
	v, err := g.Encode()
	if err != nil {
		return Fault(err)
	}
	size := 2 * len(v.Reveal())
	if accessSlot != "" {
		acc, _, err := s.read(ctx, AccessItem(s.id, g.Account, accessSlot))
		if err != nil {
			return err
		}
		size = len(v.Reveal()) + max(len(acc.Reveal()), len(v.Reveal()))
	}
	return Fault(s.keys.Set(ctx, probeItem(s.id, g.Account), keystore.NewSecret(strings.Repeat("x", min(size, keystore.MaxSize)))))
}

// ProbePrefix names the probes of folders that have no store yet.
const ProbePrefix = "probe/"

// Probe writes, reads back and deletes an item that belongs to no account. With the probe's
// lock held it always has the same name, so that the next probe removes what a killed one
// left behind; without it, a new name.
func (s *Store) Probe(ctx context.Context, locked bool) error {
	name := ProbePrefix + index.NewStoreID()
	if locked {
		name = TrialItem(s.id)
	}
	if err := s.keys.Set(ctx, name, keystore.NewSecret("probe")); err != nil {
		return Fault(err)
	}
	return s.Delete(context.WithoutCancel(ctx), name) // an interrupt must not leave the item behind
}

// Manifest returns the manifest; a missing or damaged one counts as empty.
func (s *Store) Manifest(ctx context.Context) (Manifest, error) {
	v, found, err := s.read(ctx, ManifestItem(s.id))
	if err != nil || !found {
		return Manifest{V: RecordVersion, Store: s.id}, err
	}
	return parseManifest(v, s.id), nil
}

// SetManifest replaces the manifest; an empty one is deleted.
func (s *Store) SetManifest(ctx context.Context, m Manifest) error {
	if m.Empty() {
		return s.Delete(ctx, ManifestItem(s.id))
	}
	return s.write(ctx, ManifestItem(s.id), func() (keystore.Secret, error) {
		v, err := json.Marshal(m)
		return keystore.NewSecret(string(v)), err
	})
}

// Share returns the membership in a shared pool, as package share encodes it; empty if there
// is none.
func (s *Store) Share(ctx context.Context, pool string) (keystore.Secret, error) {
	v, _, err := s.read(ctx, ShareItem(s.id, pool))
	return v, err
}

// SetShare stores the membership in a shared pool.
func (s *Store) SetShare(ctx context.Context, pool string, membership keystore.Secret) error {
	return s.write(ctx, ShareItem(s.id, pool), func() (keystore.Secret, error) { return membership, nil })
}

// ClientSecret returns the item of e's client; the zero value if there is none.
func (s *Store) ClientSecret(ctx context.Context, e oauth.Endpoint) (ClientSecret, error) {
	v, found, err := s.read(ctx, ClientItem(s.id, ClientKey(e)))
	if !found || err != nil {
		return ClientSecret{}, err
	}
	var cs ClientSecret
	if decodeRecord(v, &cs) == nil && cs.TokenEndpoint == e.TokenEndpoint && cs.ClientID == e.ClientID {
		return cs, nil
	}
	return ClientSecret{}, nil
}

// SetClient stores what is known about e's client.
func (s *Store) SetClient(ctx context.Context, e oauth.Endpoint, cs ClientSecret) error {
	cs.V, cs.TokenEndpoint, cs.ClientID, cs.RevocationEndpoint = RecordVersion, e.TokenEndpoint, e.ClientID, e.RevocationEndpoint
	return s.write(ctx, ClientItem(s.id, ClientKey(e)), func() (keystore.Secret, error) { return encodeRecord(cs) })
}

// HasClientSecret reports whether e's client has a secret in the keystore.
func (s *Store) HasClientSecret(ctx context.Context, e oauth.Endpoint) (bool, error) {
	cs, err := s.ClientSecret(ctx, e)
	return cs.Secret != "", err
}

// Endpoint returns the endpoint of g, complete with the client's secret.
func (s *Store) Endpoint(ctx context.Context, g *Grant) (oauth.Endpoint, error) {
	e := g.Endpoint
	if !g.ClientSecret {
		return e, nil
	}
	cs, err := s.ClientSecret(ctx, e)
	if err != nil {
		return e, err
	}
	if cs.Secret == "" {
		return e, fault.Errorf(fault.ProviderRefused, "the keystore has no client secret for %s, client %q", e.TokenEndpoint, e.ClientID).
			Try(fault.Remedy{Do: fault.StoreSecret, Provider: g.Provider})
	}
	e.ClientSecret = keystore.NewSecret(cs.Secret)
	return e, nil
}

// CheckRevocation refuses to send a client secret to a revocation endpoint that it is not
// meant for.
func (s *Store) CheckRevocation(ctx context.Context, g *Grant) error {
	if !g.ClientSecret {
		return nil
	}
	cs, err := s.ClientSecret(ctx, g.Endpoint)
	if err == nil && cs.RevocationEndpoint != g.Endpoint.RevocationEndpoint {
		err = fault.Errorf(fault.ProviderRefused, "the client secret is not meant for %s", g.Endpoint.RevocationEndpoint)
	}
	return err
}
