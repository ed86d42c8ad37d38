package folder

import (
	"context"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// withManifest runs do under the manifest's lock, during which no migration can start, with
// the index as it is then. If a migration ended since o was opened, its store is empty: the
// error is a LockTimeout, and WhileMoving tries again.
func (o *Opened) withManifest(ctx context.Context, do func(now *Opened) error) error {
	l, err := o.Folder.Lock(ctx, lock.Manifest)
	if err != nil {
		return err
	}
	defer l.Release()
	now, err := o.Folder.ReadOrEmpty()
	if err != nil {
		return err
	}
	if err := o.unmoved(now); err != nil {
		return err
	}
	return do(o.at(now))
}

// unmoved refuses to store anything in o's store if now, the current index, names another
// keystore: it would never be found there.
func (o *Opened) unmoved(now *index.Index) error {
	if now.Store != o.Index.Store || now.Keystore != "" && now.Keystore != string(o.Store.Kind()) {
		return errMoved
	}
	return nil
}

var errMoved = fault.Errorf(fault.LockTimeout, "the keystore was changed meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Again})

// WhileMoving tries again if a migration got in the way: do opens the keystore that the
// folder has by then.
func WhileMoving(do func() error) error {
	err := do()
	for range 2 {
		if !errors.Is(err, errMoved) {
			break
		}
		err = do()
	}
	return err
}

// ChangeManifest changes the manifest, under its lock.
func (o *Opened) ChangeManifest(ctx context.Context, change func(*record.Manifest)) error {
	return o.withManifest(ctx, func(now *Opened) error { return now.rewriteManifest(ctx, change) })
}

// rewriteManifest is ChangeManifest for callers that hold the lock. A manifest is
// overwritten in place, so an interrupted write leaves a damaged one. Therefore the index's
// accounts and shared pools are added each time, and client secrets are searched for if none
// are listed.
func (o *Opened) rewriteManifest(ctx context.Context, change func(*record.Manifest)) error {
	m, err := o.Store.Manifest(ctx)
	if err == nil && m.Empty() {
		m.Clients, err = o.Clients(ctx)
	}
	if err != nil {
		return err
	}
	for _, id := range AccountIDs(o.Index) {
		m.Add(id)
	}
	for _, pool := range sharedPools(o.Index) {
		m.AddShare(pool)
	}
	change(&m)
	return o.Store.SetManifest(ctx, m)
}

// Discard deletes every item of an account that was not finished, as far as it can. What it
// can't delete stays in the manifest. If another process has found the records and made an
// entry of them, they stay.
func (o *Opened) Discard(ctx context.Context, id string) {
	ctx = context.WithoutCancel(ctx)
	if now, err := o.Folder.ReadOrEmpty(); err != nil || now.Account(id) != nil {
		return
	}
	if err := o.DeleteItems(ctx, id); err != nil {
		o.Folder.Log.Warn("leftovers in the keystore", "account", id, "error", err)
		return
	}
	_ = o.ChangeManifest(ctx, func(m *record.Manifest) { m.Remove(id) })
}

// DeleteItems deletes every item that an account may have.
func (o *Opened) DeleteItems(ctx context.Context, id string) error {
	return o.Store.Delete(ctx, record.Items(o.Index.Store, id)...)
}

// Missing tells a lost grant (nil) from a keystore that is not the one it was stored in:
// another session's keyring, or a vault that is not mounted.
func (o *Opened) Missing(ctx context.Context) error {
	found, err := o.Store.Has(ctx, record.ManifestItem(o.Index.Store))
	if err == nil && !found {
		return fault.Errorf(fault.KeystoreUnavailable, "this keystore has nothing of this folder; is it another session's, or not mounted?").Try(fault.Remedy{Do: fault.ShowKeystore})
	}
	if err == nil {
		var m record.Manifest
		if m, err = o.Store.Manifest(ctx); err == nil {
			return o.superseded(ctx, m)
		}
	}
	return nil
}

// SetClient stores what is known of e's client, and records in the index which keystore has
// it. No migration can run meanwhile.
func (o *Opened) SetClient(ctx context.Context, e oauth.Endpoint, cs record.ClientSecret) error {
	return o.withManifest(ctx, func(now *Opened) error {
		if err := now.rewriteManifest(ctx, func(m *record.Manifest) { m.AddClient(record.ClientKey(e)) }); err != nil {
			return err
		}
		if err := o.Store.SetClient(ctx, e, cs); err != nil {
			return err
		}
		return o.recordKeystore(ctx)
	})
}

// SetShare stores the membership in a shared pool, and records in the index which keystore
// has it. No migration can run meanwhile.
func (o *Opened) SetShare(ctx context.Context, pool string, membership keystore.Secret) error {
	return o.withManifest(ctx, func(now *Opened) error {
		if err := now.rewriteManifest(ctx, func(m *record.Manifest) { m.AddShare(pool) }); err != nil {
			return err
		}
		if err := o.Store.SetShare(ctx, pool, membership); err != nil {
			return err
		}
		return o.recordKeystore(ctx)
	})
}

// DropShare deletes the membership in a shared pool, which the index doesn't name any more.
func (o *Opened) DropShare(ctx context.Context, pool string) error {
	return o.withManifest(ctx, func(now *Opened) error {
		if err := o.Store.Delete(ctx, record.ShareItem(now.Index.Store, pool)); err != nil {
			return err
		}
		return now.rewriteManifest(ctx, func(m *record.Manifest) { m.DropShare(pool) })
	})
}

// recordKeystore makes the index name o's keystore, which has a secret now.
func (o *Opened) recordKeystore(ctx context.Context) error {
	return o.Folder.Update(ctx, index.Durable, func(i *index.Index) error {
		if err := o.unmoved(i); err != nil {
			return err
		}
		i.Keystore = o.Index.Keystore
		return nil
	})
}

// DropClient deletes what is stored of e's client, unless a stored login needs it. It
// returns the registration, if authferry made it; else nil.
func (o *Opened) DropClient(ctx context.Context, e oauth.Endpoint) (own *oauth.Registration, err error) {
	err = o.withManifest(ctx, func(now *Opened) error {
		m, err := o.Store.Manifest(ctx)
		if err != nil {
			return err
		}
		for _, id := range AccountIDs(now.Index) {
			m.Add(id)
		}
		key := record.ClientKey(e)
		needed, err := now.NeededClients(ctx, m.Accounts)
		if err != nil || slices.Contains(needed, key) {
			return err
		}
		cs, err := o.Store.ClientSecret(ctx, e)
		if err != nil {
			return err
		}
		own = cs.Registration()
		if err := o.Store.Delete(ctx, record.ClientItem(m.Store, key)); err != nil {
			return err
		}
		return now.rewriteManifest(ctx, func(m *record.Manifest) { m.DropClient(key) })
	})
	return own, err
}

// Clients finds the stored client secrets by the existing providers and grants, because a
// manifest may have been lost.
func (o *Opened) Clients(ctx context.Context) ([]string, error) {
	keys, err := o.NeededClients(ctx, AccountIDs(o.Index))
	if err != nil {
		return nil, err
	}
	ps, err := o.Folder.Providers()
	if err != nil {
		return nil, err
	}
	for _, p := range ps.All() {
		key := record.ClientKey(p.Endpoint())
		if p.ClientID == "" || slices.Contains(keys, key) {
			continue
		}
		cs, err := o.Store.ClientSecret(ctx, p.Endpoint())
		if err != nil {
			return nil, err
		}
		if cs.ClientID != "" {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// NeededClients lists the clients whose secrets the stored logins of these accounts need.
func (o *Opened) NeededClients(ctx context.Context, ids []string) (keys []string, err error) {
	for _, id := range ids {
		if !index.ValidID(id) {
			continue
		}
		stored, err := o.Grants(ctx, id)
		if err != nil {
			return nil, err
		}
		if g := stored.Best; g != nil && g.NeedsClient() && !slices.Contains(keys, record.ClientKey(g.Endpoint)) {
			keys = append(keys, record.ClientKey(g.Endpoint))
		}
	}
	return keys, nil
}

// AccountIDs returns the ids of all accounts, sorted.
func AccountIDs(idx *index.Index) []string {
	var ids []string
	for _, a := range idx.Accounts {
		ids = append(ids, a.ID)
	}
	slices.Sort(ids)
	return ids
}

// sharedPools returns the ids of the pools that this machine shares.
func sharedPools(idx *index.Index) []string {
	var ids []string
	for i := range idx.Shares {
		ids = append(ids, idx.Shares[i].ID)
	}
	return ids
}
