package share

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// spread is the most that a machine waits before it tells the others of a limit, unless it
// or the engine is slow: of a thousand that met it at once, one tells it and the others see
// that it did.
var spread = 2 * time.Second

// Exchange tells the machines of a shared pool which limits this one has met, and learns
// what they have. It also withdraws tickets that are over. It is for a process that nobody
// waits for; if one is at it, it returns at once, for that one sees to it. Errors: NotAMember,
// EngineRestored, and those of engine, keystore and index.
func Exchange(ctx context.Context, f *folder.Folder, dial Dialer, id string) error {
	for {
		l, err := f.TryLock(lock.Exchange(id))
		if errors.Is(err, lock.ErrBusy) {
			return nil
		}
		if err != nil {
			return f.Fault(err)
		}
		l.SetHolder("exchanging limits")
		err = exchange(ctx, f, dial, id, spread)
		l.Release()
		if err != nil {
			return err
		}
		// A hold that came when it had looked already is by a caller that found the lock taken.
		idx, err := f.Read()
		if err != nil || !anyUntold(idx, id) {
			return err
		}
	}
}

// anyUntold reports whether the machines of a pool have yet to be told of a hold.
func anyUntold(idx *index.Index, id string) bool {
	now := time.Now()
	return slices.ContainsFunc(shared(idx, id), func(a *index.Account) bool { return pool.AnyUntold(a, now) })
}

func exchange(ctx context.Context, f *folder.Folder, dial Dialer, id string, wait time.Duration) error {
	p, err := joined(ctx, f, dial, id)
	if err != nil {
		return err
	}
	defer p.close()
	if err := p.limits.exchange(ctx, wait); err != nil {
		return err
	}
	return p.members.expire(ctx)
}

// joined connects to a pool without asking the engine anything yet. Trying it is noted, so
// that an engine that is away isn't asked by every caller.
func joined(ctx context.Context, f *folder.Folder, dial Dialer, id string) (*party, error) {
	o, err := opened(ctx, f)
	if err != nil {
		return nil, err
	}
	m, err := membership(ctx, o, id)
	switch {
	case err != nil:
		return nil, err
	case m == nil:
		return nil, fault.Errorf(fault.NotAMember, "this machine is not a member of the shared pool %s", id).Try(fault.Remedy{Do: fault.ShareJoin})
	}
	if err := m.finished(); err != nil {
		return nil, err
	}
	if err := f.Update(ctx, index.Fast, func(idx *index.Index) error {
		if s := idx.SharedPool(id); s != nil {
			s.LookedAt = time.Now().UTC()
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return connect(ctx, o, m, dial)
}

// limits are what the machines of a pool tell each other of its accounts' limits: holds, how
// full quota windows are, and probes.
type limits struct {
	*link
	members *members
	records *records
}

// document is what the engine has of one account's limits.
type document struct {
	version engine.Version
	doc     *seal.Holds // nil: nothing, or no machine's
}

// exchange takes what the machines have told of limits, and tells what they don't know: a
// limit when it may by a lot for wait. After a write whose outcome is unknown, or that another
// machine's was before, it looks and draws anew.
func (p *limits) exchange(ctx context.Context, wait time.Duration) error {
	for range changeTries {
		docs, next, err := p.untold(ctx, wait)
		if err != nil {
			return err
		}
		if err := p.newSettings(ctx, docs); err != nil {
			return err
		}
		lost := false
		for id, n := range next {
			won, err := p.write(ctx, id, docs[id].version, n)
			if err != nil {
				return err
			}
			lost = lost || !won
		}
		if !lost {
			return nil
		}
	}
	return p.engineFault(ctx, engine.ErrUnreachable)
}

// untold takes what the machines have told of limits, and returns that with what they don't
// know. If that is a limit, it waits until this machine may tell it, and looks again.
func (p *limits) untold(ctx context.Context, wait time.Duration) (docs map[string]document, next map[string]*seal.Holds, err error) {
	for l := drawLot(wait); ; {
		began := time.Now()
		if docs, err = p.learn(ctx); err != nil {
			return nil, nil, err
		}
		now := time.Now()
		limit := false
		next = map[string]*seal.Holds{}
		for _, a := range shared(p.o.Index, p.Pool) {
			if n := news(a, docs[a.ID].doc, now); n != nil {
				next[a.ID] = n
				limit = limit || pool.AnyUntold(a, now)
			}
		}
		if !limit {
			return docs, next, nil
		}
		pause := l.pause(now.Sub(began))
		if pause == 0 {
			return docs, next, nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, nil, p.engineFault(ctx, ctx.Err())
		}
	}
}

// learn reads what the machines have told of all accounts' limits, and does here what
// that says.
func (p *limits) learn(ctx context.Context) (map[string]document, error) {
	for range changeTries {
		docs, err := p.read(ctx)
		if err != nil {
			return nil, err
		}
		rules := pool.RulesOf(p.o.Folder)
		late := false
		if err := p.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
			p.o.Index = idx
			now := time.Now()
			s := idx.SharedPool(p.Pool)
			if s != nil && s.Revision > p.id.Revision {
				late = true // another process here has seen what is newer
				return nil
			}
			for _, a := range shared(idx, p.Pool) {
				take(rules, idx, a, docs[a.ID].version, docs[a.ID].doc, now)
			}
			if s != nil {
				s.SeenAt, s.LookedAt, s.Engine, s.Revision = now.UTC(), now.UTC(), index.EngineOK, p.id.Revision
			}
			return nil
		}); err != nil {
			return nil, err
		}
		if !late {
			return docs, nil
		}
	}
	return nil, p.engineFault(ctx, engine.ErrUnreachable)
}

func (p *limits) read(ctx context.Context) (map[string]document, error) {
	entries, err := p.all(ctx, "hold")
	if err != nil {
		return nil, err
	}
	if err := p.unrestored(); err != nil {
		return nil, err
	}
	docs := map[string]document{}
	revision := p.id.Revision
	for id, e := range entries {
		doc, err := p.open(ctx, id, e.Value)
		if err != nil {
			return nil, err
		}
		docs[id] = document{e.Version, doc}
	}
	p.id.Revision = revision // as of the read; later keys were of a later one
	return docs, nil
}

// open opens what the engine has of an account's limits. Nil: nothing that a machine
// of the pool has stored there.
func (p *limits) open(ctx context.Context, id string, value []byte) (*seal.Holds, error) {
	if value == nil {
		return nil, nil
	}
	doc, err := seal.OpenHolds(p.Keys, p.Pool, id, value)
	if errors.Is(err, seal.ErrKeys) { // perhaps those of a later epoch
		if err := p.members.look(ctx); err != nil {
			return nil, err
		}
		doc, err = seal.OpenHolds(p.Keys, p.Pool, id, value)
	}
	switch {
	case errors.Is(err, seal.ErrNewer):
		return nil, p.unbelievable("what is known of limits", err)
	case err != nil:
		return nil, nil //nolint:nilerr // as good as none, and replaced by the next machine that has news
	}
	return &doc, nil
}

// write writes what the machines should know of an account's limits, if the engine
// still has that version of it.
func (p *limits) write(ctx context.Context, id string, version engine.Version, next *seal.Holds) (won bool, err error) {
	value, err := next.Seal(p.Keys, p.Pool, id)
	if err != nil {
		return false, p.unbelievable("what is known of limits", err)
	}
	e, won, err := p.swap(ctx, p.key("hold", id), version, value)
	if err != nil || !won {
		return false, err // lost: it is read again
	}
	rules := pool.RulesOf(p.o.Folder)
	return true, p.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		if a := idx.Account(id); a != nil && a.Share != nil && a.Share.Pool == p.Pool {
			tell(rules, idx, a, e.Version, next, time.Now())
		}
		if s := idx.SharedPool(p.Pool); s != nil {
			s.Revision = max(s.Revision, int64(e.Version))
		}
		p.o.Index = idx
		return nil
	})
}

// Limits is Exchange for a person, who waits for it: at once, and after another one that
// goes on.
func Limits(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.LimitsResult, error) {
	l, err := f.Lock(ctx, lock.Exchange(req.Pool))
	if err != nil {
		return nil, err
	}
	defer l.Release()
	return &pipe.LimitsResult{}, exchange(ctx, f, dial, req.Pool, 0)
}

// ClearHolds ends the holds of an account on all machines; those on one scope, if one is
// named. Here they were ended before. Errors: NoAccount, NotAMember, EngineRestored, and
// those of engine, keystore and index.
func ClearHolds(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.ClearRequest) (*pipe.LimitsResult, error) {
	p, a, err := ofAccount(ctx, f, dial, req.Account)
	if err != nil {
		return nil, err
	}
	defer p.close()
	for range changeTries {
		docs, err := p.limits.learn(ctx)
		if err != nil {
			return nil, err
		}
		there := docs[a.ID]
		if there.doc == nil {
			return &pipe.LimitsResult{}, nil
		}
		next := *there.doc
		next.Holds = slices.DeleteFunc(slices.Clone(next.Holds), func(e seal.Hold) bool { return req.Scope == "" || e.Scope == req.Scope })
		if len(next.Holds) == len(there.doc.Holds) {
			return &pipe.LimitsResult{}, nil
		}
		if won, err := p.limits.write(ctx, a.ID, there.version, &next); won || err != nil {
			return &pipe.LimitsResult{}, err
		}
	}
	return nil, p.engineFault(ctx, engine.ErrUnreachable)
}

// Probe reports whether this machine is the one whose caller is let through although the
// account is held: of all machines that want to be, one is, and the others learn of it.
// Errors: as of ClearHolds.
func Probe(ctx context.Context, f *folder.Folder, dial Dialer, account string) (mine bool, err error) {
	p, a, err := ofAccount(ctx, f, dial, account)
	if err != nil {
		return false, err
	}
	defer p.close()
	before := probes(p.o.Index, a.Pool)
	name := newEntry()
	for range changeTries {
		docs, err := p.limits.learn(ctx)
		if err != nil {
			return false, err
		}
		there := docs[a.ID]
		if there.doc != nil && there.doc.Probe == name {
			return true, nil // written, and never answered
		}
		if !slices.Equal(probes(p.o.Index, a.Pool), before) {
			return false, nil // another machine was first
		}
		now := p.o.Index.Account(a.ID)
		if now == nil {
			return false, folder.Removed()
		}
		next := news(now, there.doc, time.Now())
		if next == nil {
			next = &seal.Holds{}
			if there.doc != nil {
				*next = *there.doc
			}
		}
		next.Probe = name
		if won, err := p.limits.write(ctx, a.ID, there.version, next); won || err != nil {
			return won, err
		}
	}
	return false, p.engineFault(ctx, engine.ErrUnreachable)
}

// probes name the newest probes of the accounts of a pool.
func probes(idx *index.Index, name string) []string {
	var all []string
	for _, a := range idx.Members(name) {
		if a.Share != nil && a.Share.Told != nil {
			all = append(all, a.ID+" "+a.Share.Told.Probe)
		} else {
			all = append(all, a.ID+" ")
		}
	}
	slices.Sort(all)
	return all
}

// ofAccount connects to the pool of an account.
func ofAccount(ctx context.Context, f *folder.Folder, dial Dialer, account string) (*party, *index.Account, error) {
	idx, err := f.Read()
	if err != nil {
		return nil, nil, err
	}
	a, err := folder.Living(idx, account)
	switch {
	case err != nil:
		return nil, nil, err
	case a.Share == nil:
		return nil, nil, fault.Errorf(fault.NotAMember, "account %s is not shared with other machines", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.ShareStatus})
	}
	p, err := joined(ctx, f, dial, a.Share.Pool)
	return p, a, err
}
