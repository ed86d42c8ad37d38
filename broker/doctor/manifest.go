package doctor

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// manifest looks for accounts that the keystore has and the index has not: a login was
// interrupted, or the index is older than the keystore. It reports whether the keystore
// belongs to this folder at all.
func (d *examination) manifest(ctx context.Context) bool {
	m, err := d.o.Store.Manifest(ctx)
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	if m.Moved != nil && m.Moved.Keystore != d.o.Store.Kind() {
		if !d.moved(ctx, m) {
			return false
		}
		if m, err = d.o.Store.Manifest(ctx); err != nil {
			d.fail("manifest", err)
			return false
		}
	}
	if len(m.Accounts) == 0 && len(d.idx.Accounts) > 0 && d.foreign(ctx) {
		if !d.elsewhere(ctx) {
			return false
		}
		return d.manifest(ctx)
	}
	var vault []string
	if d.o.Store.Kind() == keystore.File {
		if vault, err = keystore.FileItems(d.f.Vault(), d.f.KeyFileOf(d.idx)); err != nil {
			d.fail("vault", record.Fault(err))
		}
		m.AddItems(vault)
	}
	strays := 0
	for _, id := range m.Accounts {
		if !index.ValidID(id) || d.idx.Account(id) != nil {
			continue
		}
		strays++
		d.stray(ctx, id)
	}
	if strays == 0 {
		d.say("manifest", OK, "every login in the keystore is in the index")
	}
	d.listed(ctx, m.Clients)
	if d.o.Store.Kind() == keystore.File {
		d.strangers(ctx, vault, &m)
	}
	return true
}

// listed checks whether the manifest names everything that is stored. A write of it may
// have been interrupted, and what it doesn't name would be lost together with the index.
func (d *examination) listed(ctx context.Context, clients []string) {
	m, err := d.o.Store.Manifest(ctx)
	var needed []string
	if err == nil {
		needed, err = d.o.Clients(ctx)
	}
	now, readErr := d.f.Read()
	if err != nil || readErr != nil {
		if err = cmp.Or(readErr, err); fault.CodeOf(err) != fault.Usage { // the secrets of providers.toml's clients have a check of their own
			d.fail("manifest", err)
		}
		return
	}
	clients = append(clients, needed...)
	lacks := slices.ContainsFunc(clients, func(key string) bool { return !slices.Contains(m.Clients, key) }) ||
		slices.ContainsFunc(now.Accounts, func(a index.Account) bool { return a.GrantSlot != "" && !slices.Contains(m.Accounts, a.ID) }) ||
		slices.ContainsFunc(now.Shares, func(s index.SharedPool) bool { return !slices.Contains(m.Shares, s.ID) })
	switch {
	case !lacks:
	case !d.fix:
		d.try("manifest", Warning, fixing, "the keystore's list of this folder's secrets is missing or incomplete")
	default:
		if err := d.o.ChangeManifest(ctx, func(m *record.Manifest) {
			for _, key := range clients {
				m.AddClient(key)
			}
		}); err != nil {
			d.fail("manifest", err)
			return
		}
		d.say("manifest", OK, "the keystore's list of this folder's secrets is complete again")
	}
}

// foreign reports whether no account has a grant here.
func (d *examination) foreign(ctx context.Context) bool {
	for i := range d.idx.Accounts {
		if a := &d.idx.Accounts[i]; a.GrantSlot != "" {
			if stored, err := d.o.Grants(ctx, a.ID); err != nil || stored.Best != nil {
				return false
			}
		} else {
			return false // of a copied folder
		}
	}
	return true
}

// stray examines an account that is in the manifest and not in the index. A command that
// makes an account holds its lock until the index has it.
func (d *examination) stray(ctx context.Context, id string) {
	l, err := d.f.TryLock(lock.Rotation(id))
	if errors.Is(err, lock.ErrBusy) {
		d.say("manifest", OK, "a login is being stored right now: %s", id)
		return
	}
	if err != nil {
		d.fail("manifest", folder.Fault(err))
		return
	}
	defer l.Release()
	if now, err := d.f.Read(); err == nil && now.Account(id) != nil {
		d.say("manifest", OK, "a login was finished just now: %s", id)
		return
	}
	stored, err := d.o.Grants(ctx, id)
	switch {
	case err != nil:
		d.fail("manifest", err)
	case stored.Best == nil && d.fix:
		d.o.Discard(ctx, id)
		d.say("manifest", OK, "removed %s, a login that was never finished", id)
	case stored.Best == nil:
		d.try("manifest", Warning, fixing, "a login was not finished: %s", id)
	case stored.Best.Share != "":
		// Its machines know what is newest; package share brings it back.
		d.try("manifest", Warning, fault.Remedy{Do: fault.ShareStatus}, "the keystore has a shared account that is not in the index: %s", id)
	case stored.Best.KnownIn(d.idx) != nil:
		d.again(ctx, id, stored.Best.Secret(), stored.Best.KnownIn(d.idx))
	case d.fix:
		d.restore(ctx, &folder.Rotation{Lock: l, Account: id}, stored, false)
	default:
		d.try("manifest", Fail, fixing, "the keystore has a login of %s that is not in the index: %s", stored.Best.Provider, id)
	}
}

// again is for a stray login that an account has as well: an import was interrupted and
// then repeated. It is deleted if the keystore confirms that.
func (d *examination) again(ctx context.Context, id string, secret keystore.Secret, holder *index.Account) {
	held, err := d.o.Grants(ctx, holder.ID)
	switch {
	case err != nil:
		d.fail("manifest", err)
	case held.Best == nil || !held.Best.Secret().Equal(secret):
		d.say("manifest", Warning, "the keystore has an earlier state of account %s's login: %s", fault.Quote(holder.Label), id)
	case d.fix:
		d.o.Discard(ctx, id)
		d.say("manifest", OK, "removed %s, an earlier attempt of account %s", id, fault.Quote(holder.Label))
	default:
		d.try("manifest", Warning, fixing, "a login was not finished, and then repeated as account %s: %s", fault.Quote(holder.Label), id)
	}
}

// restore makes an account of a stray login again, under a made-up label.
func (d *examination) restore(ctx context.Context, l *folder.Rotation, stored record.Grants, disabled bool) {
	g, id := stored.Best, l.Account
	acc, accessSlot, err := d.o.Store.AccessOf(ctx, id, g.Generation)
	if err != nil {
		d.fail("manifest", err)
		return
	}
	a := index.Account{ID: id, Provider: g.Provider, Pool: g.Provider, Kind: g.Kind(), Issuer: g.Endpoint.Issuer, AddedAt: time.Now().UTC().Truncate(time.Second), Disabled: disabled}
	_, err = d.o.Commit(ctx, l, folder.Login{
		Slot: stored.Slot, Grant: g, Stored: true, Access: acc, AccessSlot: accessSlot, New: &a, // there is only that, if the provider gave no refresh token
		Check: func(i *index.Index) error {
			a.Label = account.FreeLabel(i, g.Provider, "")
			if _, err := pool.For(i, a.Pool, a.Provider); err != nil {
				a.Pool = a.Label
			}
			d.idx, d.o.Index = i, i
			return nil
		},
	})
	if err != nil {
		d.fail("manifest", err)
		return
	}
	name := pool.Reference(d.idx, &a)
	if disabled {
		d.advise("manifest", OK, []fault.Remedy{{Do: fault.Enable, Account: name}, {Do: fault.Remove, Account: name}}, "%s of %s was only in the other keystore; it is account %s here, disabled", id, a.Provider, fault.Quote(a.Label))
		return
	}
	d.try("manifest", OK, fault.Remedy{Do: fault.ShowAccount, Account: name}, "%s of %s is an account again: %s", id, a.Provider, fault.Quote(a.Label))
}
