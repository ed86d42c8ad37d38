package share

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Status says how a shared pool is, or all of them, by asking their engines. An engine that
// can't be reached is no error. Accounts that other machines have put into a pool appear
// here, and those that were taken out of it go. Errors: NotAMember (no such pool, or none of
// them lets this machine in any more), and those of keystore and index.
func Status(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.StatusResult, error) {
	done := &pipe.StatusResult{Pools: []pipe.Pool{}}
	var refused error // the first
	in := 0
	err := each(ctx, f, req.Pool, func(name string) error {
		p, err := open(ctx, f, dial, name)
		if p == nil {
			return err
		}
		defer p.close()
		var d pipe.Pool
		if err == nil {
			d, err = p.status(ctx)
		}
		if why := err; why != nil {
			if d, err = p.alone(ctx, why); d.Engine == index.EngineRefused && refused == nil {
				refused = why
			}
		}
		if d.Engine != index.EngineRefused {
			in++
		}
		done.Pools = append(done.Pools, d)
		return err
	})
	if err == nil && in == 0 && refused != nil {
		return nil, refused
	}
	return done, err
}

// each calls do with the ids of the pool that a person names, or of all.
func each(ctx context.Context, f *folder.Folder, name string, do func(id string) error) error {
	idx, err := f.ReadOrEmpty()
	if err != nil || name == "" && idx.Store == "" { // a new folder has none
		return err
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return err
	}
	if name != "" {
		m, err := find(ctx, o, name)
		if err != nil {
			return err
		}
		return do(m.Pool)
	}
	all, err := memberships(ctx, o)
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := do(m.Pool); err != nil {
			return err
		}
	}
	return nil
}

// statusOrAlone is status, or what this machine last saw if the engine can't be asked.
func (p *party) statusOrAlone(ctx context.Context) (pipe.Pool, error) {
	d, err := p.status(ctx)
	if err != nil {
		return p.alone(ctx, err)
	}
	return d, nil
}

// status is the pool as the engine has it.
func (p *party) status(ctx context.Context) (pipe.Pool, error) {
	if p.Role == seal.Holder && !p.restored {
		if err := p.members.settle(ctx); err != nil {
			return pipe.Pool{}, err
		}
	}
	good, bad, err := p.accounts.sync(ctx)
	if err != nil {
		return pipe.Pool{}, err
	}
	if !p.restored {
		if _, err := p.limits.learn(ctx); err != nil {
			return pipe.Pool{}, err
		}
	}
	if err := p.note(ctx); err != nil {
		return pipe.Pool{}, err
	}
	d := p.describe()
	if p.restored {
		d.Reason = "it has forgotten something, as after restoring a backup; accounts are not refreshed until that is confirmed"
	}
	for _, r := range byRank(good) {
		if r.Public.Removing {
			continue
		}
		a := p.o.Index.Account(r.Account)
		s := pipe.State{Account: pipe.Account{ID: r.Account, Label: r.Public.Label, Provider: r.Public.Provider}, State: string(r.State), Generation: r.Gen}
		ours, err := p.accounts.has(ctx, a)
		switch {
		case err != nil:
			return d, err
		case a == nil:
			s.Reason = "this machine may not use it"
		case !ours:
			a, s.Reason = nil, "this machine has another account with its id"
		default:
			s.Label = a.Label
			if err := p.o.Folder.Change(ctx, index.Fast, a.ID, func(_ *index.Index, a *index.Account) { show(a, p.Pool, p.Role, r.State, r.Gen) }); err != nil {
				return d, err
			}
			if err := p.reread(); err != nil {
				return d, err
			}
			s.Since = pool.Seconds(p.o.Index.Account(a.ID).Share.Since)
		}
		if r.Claim != nil {
			s.Machine = p.members.nameOf(r.Claim.Machine)
			if r.State == seal.Sending && r.Claim.Machine != p.Machine && a != nil && time.Since(s.Since) > stalled {
				s.State = stateWaiting
			}
		}
		d.Accounts = append(d.Accounts, s)
	}
	for id, err := range bad {
		d.Accounts = append(d.Accounts, pipe.State{Account: pipe.Account{ID: id, Reason: err.Error()}, State: stateAlone})
	}
	return d, nil
}

// The states that an account has for this machine alone.
const (
	stateWaiting = "waiting" // for a machine that announced and hasn't come back
	stateAlone   = "alone"   // the engine can't say
)

// alone is the pool as this machine last saw it, where err keeps it from asking.
func (p *party) alone(ctx context.Context, cause error) (pipe.Pool, error) {
	d := p.describe()
	d.Reason, d.SeenAt = cause.Error(), time.Time{}
	switch fault.CodeOf(cause) {
	case fault.EngineUnreachable:
		d.Engine = index.EngineUnreachable
	case fault.NotAMember:
		d.Engine = index.EngineRefused
	case fault.EngineRestored:
		d.Engine = index.EngineRestored
	case fault.Fenced:
	default:
		return d, cause
	}
	if err := p.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		if s := idx.SharedPool(p.Pool); s != nil {
			d.SeenAt = pool.Seconds(s.SeenAt)
			if s.Engine != index.EngineRestored {
				s.Engine = d.Engine
			}
		}
		return nil
	}); err != nil {
		return d, err
	}
	for _, a := range shared(p.o.Index, p.Pool) {
		d.Accounts = append(d.Accounts, pipe.State{
			Account: pipe.Account{ID: a.ID, Label: a.Label, Provider: a.Provider}, State: stateAlone, Machine: a.Share.Machine, Since: pool.Seconds(a.Share.SeenAt), Generation: a.Share.Generation,
		})
	}
	return d, nil
}
