package share

import (
	"context"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/seal"
)

// accounts are a pool's accounts as this machine's folder has them.
type accounts struct {
	*link
	records *records
	dial    Dialer
}

// locked is mine, under the account's rotation lock, which the caller releases.
func (p *accounts) locked(ctx context.Context, id string) (*folder.Rotation, *index.Account, *record.Grant, error) {
	l, err := p.o.Folder.LockAccount(ctx, id, 0)
	if err != nil {
		return nil, nil, nil, err
	}
	a, best, err := p.mine(ctx, id)
	if err != nil {
		l.Release()
		return nil, nil, nil, err
	}
	return l, a, best, nil
}

// mine is an account of this folder with its newest grant.
func (p *accounts) mine(ctx context.Context, id string) (*index.Account, *record.Grant, error) {
	if err := p.reread(); err != nil {
		return nil, nil, err
	}
	a, err := folder.Living(p.o.Index, id)
	if err != nil {
		return nil, nil, err
	}
	stored, err := p.o.Grants(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if stored.Best == nil {
		return nil, nil, pool.Lost(a)
	}
	a, err = p.o.RollForward(ctx, a, stored)
	return a, stored.Best, err
}

// keep stores a grant and an access token here.
func (p *accounts) keep(ctx context.Context, l *folder.Rotation, a *index.Account, g *record.Grant, acc *record.Access, enter func(i *index.Index, now, before *index.Account)) error {
	_, err := p.o.Commit(ctx, l, folder.Login{Slot: index.FreeSlot(*a, index.GrantRecord), Grant: g, Access: acc, Peers: true, Enter: enter})
	if err != nil {
		return err
	}
	return p.reread()
}

// show sets what people are shown of an account.
func show(a *index.Account, pool string, role seal.Role, state seal.State, gen int) {
	now := time.Now().UTC()
	s := index.Share{}
	if a.Share != nil {
		s = *a.Share
	}
	if s.State != string(state) || s.Generation != gen || s.Since.IsZero() {
		s.Since, s.Machine = now, ""
	}
	s.Pool, s.Role, s.State, s.Generation, s.SeenAt = pool, string(role), string(state), gen, now
	a.Share = &s
}

// reconcile makes folder and engine agree on the newest generation of an account. It sends
// nothing to the provider.
func (p *accounts) reconcile(ctx context.Context, id string) error {
	t, done, err := p.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	return t.reconcile(ctx)
}

// turn takes an account's rotation lock for a command, until done is called.
func (p *accounts) turn(ctx context.Context, id string) (t *turn, done func(), err error) {
	l, err := p.o.Folder.LockAccount(ctx, id, 0)
	if err != nil {
		return nil, nil, err
	}
	here := &local{o: p.o, l: l}
	if err = here.reread(ctx); err == nil {
		t, err = NewPeers(p.dial).turn(ctx, here, rotation.Wish{})
	}
	if err != nil {
		l.Release()
		return nil, nil, err
	}
	return t, func() {
		t.seat.close()
		l.Release()
	}, nil
}

// welcome makes an account of this folder of a record: one that another machine has put
// into the pool, and that this machine may use.
func (p *accounts) welcome(ctx context.Context, r *seal.Record) error {
	g := r.LocalGrant()
	if g == nil || r.Public.Removing {
		return nil
	}
	l, err := p.o.LockNew(ctx, r.Account)
	if err != nil {
		return err
	}
	defer l.Release()
	if err := p.reread(); err != nil || p.o.Index.Account(r.Account) != nil {
		return err
	}
	// The index may have been lost, and the keystore still have the account.
	stored, err := p.o.Grants(ctx, r.Account)
	if err != nil {
		return err
	}
	if stored.Best != nil && stored.Best.Share != p.Pool {
		return fault.Errorf(fault.LabelTaken, "the pool's account %s has the id of another one of this machine, which the index has lost; nothing was changed", fault.Quote(r.Public.Label)).
			Try(fault.Remedy{Do: fault.Doctor})
	}
	mine := stored.Best != nil && stored.Best.PoolGeneration >= r.Gen
	g.Generation = record.NextGeneration(&index.Account{}, stored.Best)
	var acc *record.Access
	accessSlot := ""
	if mine {
		g = stored.Best
		if acc, accessSlot, err = p.o.Store.AccessOf(ctx, r.Account, g.Generation); err != nil {
			return err
		}
	} else if r.Access != nil {
		next := *r.Access
		next.Generation, next.Boot, acc = g.Generation, record.Boot{}, &next
	}
	slot := stored.Slot
	if !mine {
		slot = index.FreeSlot(index.Account{GrantSlot: stored.Slot}, index.GrantRecord)
	}
	if r.Client != nil {
		if err := p.o.SetClient(ctx, g.Endpoint, *r.Client); err != nil {
			return err
		}
	}
	if err := p.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Add(r.Account) }); err != nil {
		return err
	}
	pub := r.Public
	a := index.Account{
		ID: r.Account, Provider: pub.Provider, Pool: p.Local, Kind: pub.Kind, Disabled: pub.Disabled,
		Identity: pub.Identity, Issuer: pub.Issuer, Subject: pub.Subject, Organization: pub.Organization, AddedAt: time.Now().UTC().Truncate(time.Second),
	}
	show(&a, p.Pool, p.Role, r.State, r.Gen)
	a.Share.Known, a.Share.Settings = isNew(r.Access, time.Now()), settingsOf(pub)
	if _, err := p.o.Commit(ctx, l, folder.Login{
		Slot: slot, Grant: g, Access: acc, Stored: mine, AccessSlot: accessSlot, New: &a, Peers: true,
		Check: func(i *index.Index) error {
			if err := clash(i, r); err != nil {
				return err
			}
			a.Label = account.FreeLabel(i, pub.Provider, pub.Label)
			return nil
		},
		Enter: func(_ *index.Index, now, _ *index.Account) {
			if r.State == seal.Dead {
				now.Dead = now.Fingerprint
			}
		},
	}); err != nil {
		if !mine {
			p.o.Discard(ctx, r.Account)
		}
		return err
	}
	if a.Label != pub.Label {
		p.o.Folder.Warn(fmt.Sprintf("account %s of pool %s is called %s here, where another one has its label", fault.Quote(pub.Label), fault.Quote(p.Local), fault.Quote(a.Label)))
	}
	return p.reread()
}

// strays are the accounts of the pool that the keystore has and the index doesn't.
func (p *accounts) strays(ctx context.Context) ([]string, error) {
	listed, err := p.o.Store.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	var ids []string
	for _, id := range listed.Accounts {
		if !index.ValidID(id) || p.o.Index.Account(id) != nil {
			continue
		}
		stored, err := p.o.Grants(ctx, id)
		if err != nil {
			return nil, err
		}
		if stored.Best != nil && stored.Best.Share == p.Pool {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// has reports whether an account of this folder is one of the pool, and not just one with the
// same id. The keystore decides: what others store at the engine can't make it theirs.
func (p *accounts) has(ctx context.Context, a *index.Account) (bool, error) {
	if a == nil {
		return false, nil
	}
	stored, err := p.o.Grants(ctx, a.ID)
	switch {
	case err != nil:
		return false, err
	case stored.Best != nil:
		return stored.Best.Share == p.Pool, nil
	}
	return a.Share != nil && a.Share.Pool == p.Pool, nil
}

// clash is the error where an account of this folder is the same login as r's.
func clash(idx *index.Index, r *seal.Record) error {
	pub := r.Public
	same := account.OwnerOf(idx, pub.Provider, pub.Kind, oauth.Identity{Issuer: pub.Issuer, Subject: pub.Subject, Organization: pub.Organization})
	if same == nil && r.Grant != nil {
		same = r.Grant.KnownIn(idx)
	}
	if same == nil || same.ID == r.Account {
		return nil
	}
	return fault.Errorf(fault.LabelTaken, "the pool's account %s is here already as %s, with a login of its own; that has to go first", fault.Quote(pub.Label), fault.Quote(same.Label)).
		Try(fault.Remedy{Do: fault.Remove, Account: pool.Reference(idx, same)}, fault.Remedy{Do: fault.Again})
}

// sync makes accounts of this folder of those that others have put into the pool, removes
// here what was taken out of it, and takes over what they have set.
func (p *accounts) sync(ctx context.Context) (good map[string]*seal.Record, bad map[string]error, err error) {
	if good, bad, err = p.records.read(ctx); err != nil || p.restored {
		return good, bad, err
	}
	for _, r := range byRank(good) {
		a := p.o.Index.Account(r.Account)
		switch {
		case a == nil:
			err = p.welcome(ctx, r)
		case r.Public.Removing:
			err = p.taken(ctx, a, r)
		}
		if err != nil {
			return good, bad, err
		}
	}
	return good, bad, p.records.heed(ctx, good, nil)
}

// taken does here what it means that an account was taken out of the pool.
func (p *accounts) taken(ctx context.Context, a *index.Account, r *seal.Record) error {
	switch {
	case a.Share == nil || a.Share.Pool != p.Pool || a.Share.Generation >= r.Gen:
		return nil
	case r.Public.Keeper == p.Machine:
		return p.keepOwn(ctx, a.ID)
	}
	return p.forget(ctx, a.ID, false)
}

// keepOwn is unshare, under the account's rotation lock.
func (p *accounts) keepOwn(ctx context.Context, id string) error {
	l, a, best, err := p.locked(ctx, id)
	if err != nil {
		return err
	}
	defer l.Release()
	return p.unshare(ctx, l, a, best)
}

// unshare makes an account this machine's own again.
func (p *accounts) unshare(ctx context.Context, l *folder.Rotation, a *index.Account, best *record.Grant) error {
	g := *best
	g.Generation, g.Share, g.PoolGeneration, g.Login = record.NextGeneration(a, best), "", 0, false
	acc, _, err := p.o.Store.AccessOf(ctx, a.ID, best.Generation)
	if err != nil {
		return err
	}
	if acc != nil {
		next := *acc
		next.Generation, next.PoolGeneration, acc = g.Generation, 0, &next
	}
	return p.keep(ctx, l, a, &g, acc, func(_ *index.Index, now, _ *index.Account) { now.Share = nil })
}

// forget deletes an account of the pool here, and nowhere else. publish: first the engine
// gets what has come since that only this machine has.
func (p *accounts) forget(ctx context.Context, id string, publish bool) error {
	if publish {
		t, done, err := p.turn(ctx, id)
		if err != nil {
			return err
		}
		defer done()
		if err := t.giveUp(ctx, false); err != nil {
			return err
		}
	} else {
		l, err := p.o.Folder.LockAccount(ctx, id, 0)
		if err != nil {
			return err
		}
		defer l.Release()
	}
	if err := p.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Bury(id) }); err != nil {
		return err
	}
	if err := p.o.Folder.Change(ctx, index.Durable, id, func(_ *index.Index, a *index.Account) { a.Removing = true }); err != nil {
		return err
	}
	folder.Reached("S11")
	if err := p.o.DeleteItems(ctx, id); err != nil {
		return err
	}
	if err := p.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Remove(id) }); err != nil {
		return err
	}
	if err := p.o.Folder.Update(ctx, index.Durable, func(i *index.Index) error {
		i.Drop(id)
		return nil
	}); err != nil {
		return err
	}
	return p.reread()
}

// shared are the accounts of a folder that are in a pool.
func shared(idx *index.Index, pool string) []*index.Account {
	var all []*index.Account
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; a.Share != nil && a.Share.Pool == pool && !a.Removing {
			all = append(all, a)
		}
	}
	return all
}
