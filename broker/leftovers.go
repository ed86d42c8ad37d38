package broker

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

// leftovers looks for what a migration that was cut off left in the other keystore.
// With fix that is deleted, but for a login that is there alone: it was removed
// since, or the index is from before it was kept. So it comes here first, as an
// account that nothing uses until a person says so.
func (d *doctor) leftovers(ctx context.Context) {
	o, m := d.other(ctx)
	if o == nil {
		return
	}
	m.Accounts = slices.DeleteFunc(m.Accounts, func(id string) bool { return !index.ValidID(id) })
	// What is here may have been put here, with an index that names it.
	err := sealsTo(m.KeyFile, d.b.opt.KeyFile, d.b.keyFile(d.idx), d.b.store.Kind())
	var alone []string
	if err == nil {
		alone, err = d.b.compare(ctx, d.idx, o, m)
	}
	switch {
	case err != nil:
		d.fail("leftovers", err)
	case !d.fix:
		d.say("leftovers", CheckWarning, fixHint, "the %s keystore has secrets of this folder too, as a migration that was cut off leaves them", o.store.Kind())
	default:
		err = d.fetch(ctx, o, m, alone)
		if err == nil {
			err = d.clear(ctx, o, m)
		}
		if err != nil {
			d.fail("leftovers", storeError(err))
			return
		}
		d.say("leftovers", CheckOK, "", "removed the secrets of this folder that a migration left in the %s keystore", o.store.Kind())
	}
}

// compare returns the logins of m, the manifest of o, that o has alone and b has not.
// Where o has a newer state of one, it is o that was used last, and nothing there is a
// leftover. That a login was removed, or is an account's here, has to stand in a
// keystore: index.json is no witness.
func (b *Broker) compare(ctx context.Context, idx *index.Index, o *Broker, m record.Manifest) (alone []string, err error) {
	mine, err := b.readManifest(ctx, idx)
	if err != nil {
		return nil, storeError(err)
	}
	for _, id := range m.Accounts {
		there, err := o.readGrants(ctx, idx, id)
		if err != nil {
			return nil, err
		}
		here, err := b.readGrants(ctx, idx, id)
		if err != nil {
			return nil, err
		}
		a := idx.Account(id)
		switch {
		case there.Best == nil:
		case here.Best == nil:
			removed := a != nil && a.Removing && (slices.Contains(m.Removing, id) || slices.Contains(mine.Removing, id))
			known, err := b.heldByAnother(ctx, idx, there.Best, id)
			if err != nil {
				return nil, err
			}
			if !removed && !known {
				alone = append(alone, id)
			}
		case there.Best.Generation > here.Best.Generation,
			there.Best.Generation == here.Best.Generation && !there.Best.Secret().Equal(here.Best.Secret()):
			return nil, fault.Errorf(fault.KeystoreMismatch, "the %s keystore has a newer login than the %s keystore, which index.json names; nothing was changed", o.store.Kind(), b.store.Kind()).
				WithHint("put back the index.json that was there last, if you have it; then %s", fixHint)
		}
	}
	return alone, nil
}

// heldByAnother reports that another account than id has the login g, or had it.
func (b *Broker) heldByAnother(ctx context.Context, idx *index.Index, g *record.Grant, id string) (bool, error) {
	a := ownerOfGrant(idx, g)
	if a == nil || a.ID == id {
		return false, nil
	}
	held, err := b.readGrants(ctx, idx, a.ID)
	if err != nil || held.Best == nil {
		return false, err
	}
	return held.Best.Secret().Equal(g.Secret()) || slices.Contains(held.Best.Spent, record.Fingerprint(g.Secret())), nil
}

// fetch copies from o the logins that it has alone, and the client secrets that are
// needed and not here.
func (d *doctor) fetch(ctx context.Context, o *Broker, m record.Manifest, alone []string) error {
	needed, err := d.b.grantClients(ctx, d.idx, accountIDs(d.idx))
	if err != nil {
		return err
	}
	ps, err := d.b.Providers()
	if err != nil {
		return err
	}
	for _, p := range ps.All() {
		needed = append(needed, record.ClientKey(p.Endpoint()))
	}
	for _, id := range alone {
		stored, err := o.readGrants(ctx, d.idx, id)
		if err != nil {
			return err
		}
		if stored.Best == nil {
			continue
		}
		if stored.Best.ClientSecret {
			needed = append(needed, record.ClientKey(stored.Best.Endpoint))
		}
		if err := d.fetchLogin(ctx, o, id, stored); err != nil {
			return err
		}
	}
	for _, key := range m.Clients {
		if !slices.Contains(needed, key) {
			continue
		}
		if _, err := d.b.get(ctx, d.idx.Store+"/client/"+key); err == nil {
			continue
		} else if !unwritten(err) {
			return err
		}
		if err := d.b.changeManifest(ctx, d.idx, func(m *record.Manifest) { m.AddClient(key) }); err != nil {
			return err
		}
		if err := d.copyItem(ctx, o, d.idx.Store+"/client/"+key); err != nil {
			return err
		}
	}
	return nil
}

// fetchLogin copies the state of a login that counts. The older ones have spent
// refresh tokens: one that came alone would be sent again.
func (d *doctor) fetchLogin(ctx context.Context, o *Broker, id string, there record.Grants) error {
	lock, err := d.b.lockAccount(ctx, id)
	if err != nil {
		return err
	}
	defer lock.Release()
	acc, accessSlot, err := o.accessOf(ctx, d.idx, id, there.Best.Generation)
	if err != nil {
		return err
	}
	if err := d.b.changeManifest(ctx, d.idx, func(m *record.Manifest) { m.Add(id) }); err != nil {
		return err
	}
	if err := d.copyItem(ctx, o, record.GrantItem(d.idx, id, there.Slot)); err != nil {
		return err
	}
	if acc != nil {
		if err := d.copyItem(ctx, o, record.AccessItem(d.idx, id, accessSlot)); err != nil {
			return err
		}
	}
	if d.idx.Account(id) == nil {
		d.restore(ctx, id, there, true)
	}
	return nil
}

func (d *doctor) copyItem(ctx context.Context, o *Broker, name string) error {
	v, err := o.get(ctx, name)
	if unwritten(err) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.b.set(ctx, name, v)
}

// clear deletes from o what is of these accounts and clients, under the locks of a
// migration: no login goes anywhere meanwhile. The manifest is last, so that what
// remains of it is found again.
func (d *doctor) clear(ctx context.Context, o *Broker, m record.Manifest) error {
	ids := append(accountIDs(d.idx), m.Accounts...)
	slices.Sort(ids)
	release, err := d.b.lockAll(ctx, slices.Compact(ids))
	if err != nil {
		return err
	}
	defer release()
	return d.b.withManifest(ctx, d.idx, func(now *index.Index) error {
		d.idx = now
		alone, err := d.b.compare(ctx, d.idx, o, m)
		if err != nil {
			return err
		}
		if len(alone) > 0 {
			return fault.Errorf(fault.LockTimeout, "an account was changed meanwhile; nothing was deleted").WithHint("%s", fixHint)
		}
		names := []string{record.TrialItem(now)}
		for _, key := range m.Clients {
			names = append(names, now.Store+"/client/"+key)
		}
		for _, id := range m.Accounts {
			names = append(names, record.Items(now, id)...)
		}
		for _, name := range append(names, record.ManifestItem(now)) {
			if err := o.del(ctx, name); err != nil {
				return err
			}
		}
		return nil
	})
}
