package share

import (
	"context"
	"errors"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Enter tells the other machines what was done here with the accounts of a shared pool: one
// that was added to it is shared from now on, and one with a new login gets it everywhere.
// Errors: NotAMember (this machine isn't a holder), Fenced (an account that can't be
// shared), and those of engine, keystore and index.
func Enter(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.EnterResult, error) {
	p, err := openAsHolder(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.reread(); err != nil {
		return nil, err
	}
	done := &pipe.EnterResult{Pool: p.Local, Entered: []pipe.Account{}}
	var added, known []index.Account
	for _, a := range p.o.Index.Members(p.Local) {
		if a.Share == nil || a.Share.State == "" {
			added = append(added, *a)
		} else {
			known = append(known, *a)
		}
	}
	for _, a := range added {
		if err := p.enter(ctx, a.ID); err != nil {
			return done, err
		}
		done.Entered = append(done.Entered, pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider})
	}
	for _, a := range known {
		if err := p.reconcile(ctx, a.ID); err != nil {
			return done, err
		}
	}
	return done, p.note(ctx)
}

// enter puts an account of this folder into the pool. First it is marked here, under its
// rotation lock, so that from then on it isn't refreshed without the others; then it is
// published. After a crash in between, it is refreshed by nobody until enter is called
// again.
func (p *party) enter(ctx context.Context, id string) error {
	l, a, best, err := p.locked(ctx, id)
	if err != nil {
		return err
	}
	defer l.Release()
	if best.Share != p.Pool {
		if err := shareable(p.o.Index, a, best); err != nil {
			return err
		}
		gen, err := p.firstGeneration(ctx, id)
		if err != nil {
			return err
		}
		g := *best
		g.Generation, g.Share, g.PoolGeneration = record.NextGeneration(a, best), p.Pool, gen
		acc, _, err := p.o.Store.AccessOf(ctx, id, best.Generation)
		if err != nil {
			return err
		}
		if acc != nil {
			next := *acc
			next.Generation, next.PoolGeneration, acc = g.Generation, gen, &next
		}
		if err := p.keep(ctx, l, a, &g, acc, func(_ *index.Index, now, before *index.Account) {
			now.Share = &index.Share{Pool: p.Pool, Role: string(p.Role), Known: true}
			now.Failure = before.Failure
		}); err != nil {
			return err
		}
		folder.Reached("S10")
		if a, best, err = p.mine(ctx, id); err != nil {
			return err
		}
	}
	return p.publish(ctx, a, best)
}

// firstGeneration is the pool's generation for an account that comes into it: 1, or above the
// last one of the same account, if it was in it before.
func (p *party) firstGeneration(ctx context.Context, id string) (int, error) {
	e, err := p.get(ctx, p.key("acc", id))
	if err != nil || e.Version == 0 {
		return 1, err
	}
	r, err := p.record(id, e)
	if err != nil {
		return 0, err
	}
	return r.Gen + 1, nil
}

// shareable says why an account can't be shared now.
func shareable(idx *index.Index, a *index.Account, g *record.Grant) error {
	switch {
	case g.Share != "":
		return fault.Errorf(fault.Fenced, "account %s is in another shared pool", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.ShareStatus})
	case len(a.Intents) > 0:
		return fault.Errorf(fault.Fenced, "account %s: a refresh was interrupted and its outcome is unknown; it can be shared once that is settled", fault.Quote(a.Label)).
			Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(idx, a)}, fault.Remedy{Do: fault.Again})
	case a.Shared != "":
		return fault.Errorf(fault.Fenced, "account %s: another program has this login too, in %s; whichever refreshes first logs out all the others", fault.Quote(a.Label), a.Shared).
			Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, Account: pool.Reference(idx, a)}, fault.Remedy{Do: fault.Again})
	}
	return nil
}

// publish makes the engine's record of an account that it doesn't have.
func (p *party) publish(ctx context.Context, a *index.Account, g *record.Grant) error {
	for {
		r, err := p.firstRecord(ctx, a, g)
		if err != nil {
			return err
		}
		if err := p.change(ctx, p.key("acc", a.ID), func(now []byte) ([]byte, error) { return p.unlessThere(ctx, r, now) }); err != nil {
			return err
		}
		// If the pool has got new keys meanwhile, nobody believes what was stored with the old.
		if err := p.look(ctx); err != nil {
			return err
		}
		if r.Epoch < p.meta.Epoch {
			continue
		}
		return p.o.Change(ctx, index.Fast, a.ID, func(_ *index.Index, a *index.Account) {
			show(a, p, r.State, r.Gen)
		})
	}
}

// firstRecord is the record of an account of this folder, as if it were the first.
func (p *party) firstRecord(ctx context.Context, a *index.Account, g *record.Grant) (*seal.Record, error) {
	acc, _, err := p.o.Store.AccessOf(ctx, a.ID, g.Generation)
	if err != nil {
		return nil, err
	}
	c := seal.Contents{Pool: p.Pool, Account: a.ID, Gen: g.PoolGeneration, Grant: g, Access: acc, Public: publicOf(a)}
	if g.NeedsClient() {
		cs, err := p.o.Store.ClientSecret(ctx, g.Endpoint)
		if err != nil {
			return nil, err
		}
		c.Client = &cs
	}
	r, err := seal.Seal(p.Keys, c)
	if err != nil {
		return nil, p.unbelievable("the login of account "+fault.Quote(a.Label), err)
	}
	if a.Dead != "" && a.Dead == a.Fingerprint {
		r.State = seal.Dead
	}
	return r, nil
}

// unlessThere is r, or what the engine has in its place already: stored by this machine
// before a crash, or by another that has seen more.
func (p *party) unlessThere(ctx context.Context, r *seal.Record, now []byte) ([]byte, error) {
	if now != nil {
		switch there, err := seal.Open(p.Keys, p.Pool, r.Account, now); {
		case errors.Is(err, seal.ErrOver):
		case err != nil:
			return nil, p.unbelievable("account "+fault.Quote(r.Public.Label), err)
		case there.Public.Removing && there.Gen < r.Gen:
		case there.Epoch < r.Epoch:
			return p.resealed(ctx, there)
		default:
			return now, nil
		}
	}
	value, err := r.Encode(p.Keys)
	if err != nil {
		return nil, p.unbelievable("the login of account "+fault.Quote(r.Public.Label), err)
	}
	return value, nil
}

// publicOf is what all machines may know of an account.
func publicOf(a *index.Account) seal.Public {
	return seal.Public{
		Label: a.Label, Provider: a.Provider, Kind: a.Kind, Rank: a.Rank, Disabled: a.Disabled,
		Identity: a.Identity, Issuer: a.Issuer, Subject: a.Subject, Organization: a.Organization,
	}
}
