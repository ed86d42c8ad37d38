package share

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Leave takes this machine out of a pool: it publishes what only this machine has, gives up
// its claims, and deletes its copies. The last holder keeps the accounts, as they were
// before the pool was shared, and the engine forgets the pool. A machine that was removed
// keeps a login that nobody else has. A machine that has no refresh tokens can always leave.
// Errors: NotAMember, Fenced (a refresh with an unknown outcome, or the last holder while
// consumers are left), and those of engine, keystore and index.
func Leave(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.LeaveResult, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	o, err := opened(ctx, f)
	if err != nil {
		return nil, err
	}
	m, err := find(ctx, o, req.Pool)
	if err != nil {
		return nil, err
	}
	p, err := connect(ctx, o, m, dial)
	if err != nil {
		return nil, err
	}
	defer p.close()
	done := &pipe.LeaveResult{Pool: m.Local, ID: m.Pool, Machine: m.Name, Removed: []string{}, Kept: []string{}}
	if user := m.user(); user != "" && !m.Reusable { // which others may use, too
		done.Revoke = []string{revoke(user)}
	}
	if err = p.members.look(ctx); err == nil {
		err = p.depart(ctx, done)
	}
	member := err == nil && p.Role == seal.Holder
	switch code := fault.CodeOf(err); {
	case err == nil:
	case p.Role == seal.Consumer && code != fault.Cancelled && ctx.Err() == nil:
		done.Warning, done.Listed = "the pool's list still has this machine: "+err.Error(), !p.Reusable
	case code == fault.NotAMember:
		if err := p.keptByOthers(ctx, err, done); err != nil {
			return nil, err
		}
		done.Warning, done.Listed = "this machine was removed from the pool before", false
		if errors.Is(err, engine.ErrRefused) {
			done.Warning, done.Listed = "the engine refuses this machine, and the pool's list may still have it", true
		}
	case code == fault.EngineRestored && len(shared(p.o.Index, p.Pool)) == 0:
		// Leaving was interrupted after the pool was dissolved.
	default:
		return nil, err
	}
	folder.Reached("S30")
	for _, a := range slices.Clone(p.o.Index.Accounts) { // also one whose deletion was interrupted
		if a.Share == nil || a.Share.Pool != p.Pool {
			continue
		}
		ours, err := p.accounts.has(ctx, &a)
		if err != nil {
			return nil, err
		}
		if !ours { // that was interrupted when it was made this machine's own
			if err := p.accounts.keepOwn(ctx, a.ID); err != nil {
				return nil, err
			}
			done.Kept = append(done.Kept, a.Label)
			continue
		}
		if err := p.accounts.forget(ctx, a.ID, member && !a.Removing); err != nil {
			return nil, err
		}
		done.Removed = append(done.Removed, a.Label)
	}
	strays, err := p.accounts.strays(ctx) // of a join that was interrupted
	if err != nil {
		return nil, err
	}
	for _, id := range strays {
		p.o.Discard(ctx, id)
	}
	if err := p.o.Folder.Update(ctx, index.Durable, func(i *index.Index) error {
		i.Shares = slices.DeleteFunc(i.Shares, func(s index.SharedPool) bool { return s.ID == p.Pool })
		return nil
	}); err != nil {
		return nil, err
	}
	if err := p.reread(); err != nil {
		return nil, err
	}
	return done, p.o.DropShare(ctx, p.Pool)
}

// keptByOthers makes sure that nothing is lost when this machine leaves a pool that doesn't
// let it in, for the reason why. A login that the others were never seen to have stays as
// this machine's own, if a person made it here, or the roster says that the machine was
// removed. Otherwise why is returned: the machine may be shut out by mistake (a certificate
// that has ended), and what it refreshed last may be waited for, or it may be the last one
// that holds the logins.
func (p *party) keptByOthers(ctx context.Context, why error, done *pipe.LeaveResult) error {
	if p.Role == seal.Consumer {
		return nil
	}
	refused := errors.Is(why, engine.ErrRefused) // else the roster says so
	for _, a := range shared(p.o.Index, p.Pool) {
		stored, err := p.o.Grants(ctx, a.ID)
		if err != nil {
			return err
		}
		switch {
		case stored.Best == nil || stored.Best.Share != p.Pool || stored.Best.PoolGeneration <= a.Share.Generation:
		case refused && !stored.Best.Login:
			return fault.Errorf(fault.NotAMember, "account %s: only this machine has its newest login, and the engine refuses it; nothing was deleted", fault.Quote(a.Label)).
				Because(why).Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
		default:
			if err := p.accounts.keepOwn(ctx, a.ID); err != nil {
				return err
			}
			done.Kept = append(done.Kept, a.Label)
		}
	}
	if !refused {
		return nil
	}
	last, err := seal.OpenMeta(p.Keys, p.Pool, p.Meta)
	if err == nil && slices.ContainsFunc(last.Roster.Machines, func(m seal.Machine) bool { return m.ID != p.Machine && m.Role == seal.Holder }) {
		return nil
	}
	return fault.Errorf(fault.NotAMember, "the engine refuses this machine, which may be the last one that holds the logins of pool %s; nothing was deleted", fault.Quote(p.Local)).
		Because(why).Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
}

// depart does what Leave has to do at the engine.
func (p *party) depart(ctx context.Context, done *pipe.LeaveResult) error {
	if err := p.unrestored(); err != nil {
		return err
	}
	if p.Role == seal.Consumer {
		if !p.Reusable {
			done.Warning, done.Listed = "the pool's list still has this machine", true
		}
		return nil
	}
	if err := p.members.settle(ctx); err != nil {
		return err
	}
	var holders, consumers []string
	var remove []fault.Remedy
	for _, m := range p.members.meta.Roster.Machines {
		switch {
		case m.ID == p.Machine:
		case m.Role == seal.Holder:
			holders = append(holders, m.Name)
		default:
			consumers = append(consumers, fault.Quote(m.Name))
			remove = append(remove, fault.Remedy{Do: fault.ShareRemove, Pool: p.Local, Name: m.Name})
		}
	}
	last := len(holders) == 0
	if last && len(consumers) > 0 {
		return fault.Errorf(fault.Fenced, "this is the last machine that holds the logins of pool %s, and others still get access tokens from it: %s; nothing was changed", fault.Quote(p.Local), strings.Join(consumers, ", ")).
			Try(remove...)
	}
	for _, a := range shared(p.o.Index, p.Pool) {
		ours, err := p.accounts.has(ctx, a)
		if err == nil && ours {
			err = p.accounts.handBack(ctx, a.ID, last)
		}
		if err != nil {
			return err
		}
		if ours && last {
			done.Kept = append(done.Kept, a.Label)
		}
	}
	if last {
		return p.dissolve(ctx)
	}
	if err := p.members.changeMeta(ctx, func(m *seal.Meta) (changed bool, err error) {
		if len(m.Roster.Machines) > 0 && !slices.ContainsFunc(m.Roster.Machines, func(o seal.Machine) bool { return o.ID != p.Machine && o.Role == seal.Holder }) {
			return false, fault.Errorf(fault.Fenced, "the other machines that held the logins have left meanwhile").Try(fault.Remedy{Do: fault.Again})
		}
		m.Roster.Machines = slices.DeleteFunc(slices.Clone(m.Roster.Machines), func(o seal.Machine) bool {
			changed = changed || o.ID == p.Machine
			return o.ID == p.Machine
		})
		return changed, nil
	}); err != nil {
		return err
	}
	members, err := p.all(ctx, "member")
	if err != nil {
		return err
	}
	return p.members.drop(ctx, p.key("member", p.Machine), members[p.Machine])
}

// handBack makes sure that nothing of an account is on this machine alone. last: the account
// is this machine's own again.
func (p *accounts) handBack(ctx context.Context, id string, last bool) error {
	t, done, err := p.turn(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	if err := t.giveUp(ctx, last); err != nil {
		return err
	}
	if !last || t.mine == nil {
		return p.reread()
	}
	return p.unshare(ctx, t.l, t.account, t.mine)
}

// giveUp publishes what only this machine has of the account, and ends its claim. last:
// anybody's claim.
func (t *turn) giveUp(ctx context.Context, last bool) error {
	if err := t.reconcile(ctx); err != nil {
		return err
	}
	if t.rec.Claim != nil && (last || t.rec.Claim.Machine == t.seat.Machine) {
		if t.rec.State == seal.Sending {
			return fault.Errorf(fault.Fenced, "account %s: a refresh may have been sent, and its outcome is unknown", t.label()).
				Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(t.o.Index, t.account)}, fault.Remedy{Do: fault.Again})
		}
		next := *t.rec
		next.State, next.Claim = seal.Idle, nil
		won, err := t.swap(ctx, &next)
		if err != nil || !won {
			return t.explain(ctx, errOr(err))
		}
	}
	return nil
}

// dissolve deletes everything of the pool at the engine, the meta last.
func (p *party) dissolve(ctx context.Context) error {
	for _, kind := range []string{"want", "hold", "invite", "acc", "member"} {
		entries, err := p.all(ctx, kind)
		if err != nil {
			return err
		}
		for id := range entries {
			if err := p.change(ctx, p.key(kind, id), func([]byte) ([]byte, error) { return nil, nil }); err != nil {
				return err
			}
		}
	}
	return p.change(ctx, p.key("meta", ""), func([]byte) ([]byte, error) { return nil, nil })
}
