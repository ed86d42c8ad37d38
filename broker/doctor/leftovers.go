package doctor

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

// leftovers looks for what an interrupted migration left in the other keystore. With fix it
// is deleted, except for a login that is only there: it was removed here since, or the
// index is from before it was stored. Such a login first becomes a disabled account here.
func (d *examination) leftovers(ctx context.Context) {
	o, m := d.other(ctx)
	if o == nil {
		return
	}
	m.Accounts = slices.DeleteFunc(m.Accounts, func(id string) bool { return !index.ValidID(id) })
	// The vault may have been put here, with an index that names it.
	err := folder.SealsTo(d.f, m.KeyFile, d.f.KeyFileOf(d.idx), d.o.Store.Kind())
	var alone []string
	if err == nil {
		alone, err = d.o.Alone(ctx, o, m)
	}
	switch {
	case err != nil:
		d.fail("leftovers", err)
	case !d.fix:
		d.try("leftovers", Warning, fixing, "the %s keystore has secrets of this folder too, which an interrupted migration left", o.Store.Kind())
	default:
		err = d.fetch(ctx, o, m, alone)
		if err == nil {
			err = d.o.ClearFrom(ctx, o, m)
			d.idx = d.o.Index
		}
		if err != nil {
			d.fail("leftovers", err)
			return
		}
		d.say("leftovers", OK, "removed the secrets of this folder that a migration left in the %s keystore", o.Store.Kind())
	}
}

// fetch copies from o the logins that only it has, and the client secrets that they need.
func (d *examination) fetch(ctx context.Context, o *folder.Opened, m record.Manifest, alone []string) error {
	needed, err := d.o.NeededClients(ctx, folder.AccountIDs(d.idx))
	if err != nil {
		return err
	}
	ps, err := d.f.Providers()
	if err != nil {
		return err
	}
	for _, p := range ps.All() {
		needed = append(needed, record.ClientKey(p.Endpoint()))
	}
	for _, id := range alone {
		stored, err := o.Grants(ctx, id)
		if err != nil {
			return err
		}
		if stored.Best == nil {
			continue
		}
		if stored.Best.NeedsClient() {
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
		if err := fetchItem(ctx, d.o, o, record.ClientItem(d.idx.Store, key), func(m *record.Manifest) { m.AddClient(key) }); err != nil {
			return err
		}
	}
	for _, pool := range m.Shares {
		if !index.ValidSharedPoolID(pool) {
			continue
		}
		if err := fetchItem(ctx, d.o, o, record.ShareItem(d.idx.Store, pool), func(m *record.Manifest) { m.AddShare(pool) }); err != nil {
			return err
		}
	}
	return nil
}

// fetchItem copies an item that is missing in to, and lists it there.
func fetchItem(ctx context.Context, to, from *folder.Opened, item string, list func(*record.Manifest)) error {
	if has, err := to.Store.Has(ctx, item); has || err != nil {
		return err
	}
	if err := to.ChangeManifest(ctx, list); err != nil {
		return err
	}
	_, err := to.Store.Copy(ctx, from.Store, item)
	return err
}

// fetchLogin copies the newest state of a login only. Older states have spent refresh
// tokens, which would be sent again if they came alone.
func (d *examination) fetchLogin(ctx context.Context, o *folder.Opened, id string, there record.Grants) error {
	lock, err := d.f.LockAccount(ctx, id, 0)
	if err != nil {
		return err
	}
	defer lock.Release()
	acc, accessSlot, err := o.Store.AccessOf(ctx, id, there.Best.Generation)
	if err != nil {
		return err
	}
	if err := d.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Add(id) }); err != nil {
		return err
	}
	if _, err := d.o.Store.Copy(ctx, o.Store, record.GrantItem(d.idx.Store, id, there.Slot)); err != nil {
		return err
	}
	if acc != nil {
		if _, err := d.o.Store.Copy(ctx, o.Store, record.AccessItem(d.idx.Store, id, accessSlot)); err != nil {
			return err
		}
	}
	if d.idx.Account(id) == nil {
		d.restore(ctx, lock, there, true)
	}
	return nil
}
