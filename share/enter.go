package share

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/pipe"
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
		if err := p.accounts.enter(ctx, a.ID); err != nil {
			return done, err
		}
		done.Entered = append(done.Entered, pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider})
	}
	for _, a := range known {
		if err := p.accounts.reconcile(ctx, a.ID); err != nil {
			return done, err
		}
	}
	return done, p.note(ctx)
}

// enter puts an account of this folder into the pool. First it is marked here, under its
// rotation lock, so that from then on it isn't refreshed without the others; then it is
// published. After a crash in between, it is refreshed by nobody until enter is called
// again.
func (p *accounts) enter(ctx context.Context, id string) error {
	l, a, best, err := p.locked(ctx, id)
	if err != nil {
		return err
	}
	defer l.Release()
	if best.Share != p.Pool {
		if err := shareable(p.o.Index, a, best); err != nil {
			return err
		}
		gen, err := p.records.firstGeneration(ctx, id)
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
	return p.records.publish(ctx, a, best)
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
