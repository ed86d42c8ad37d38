package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/broker/rotation"
)

// wanted resolves a caller's selection against an index, and returns which generation of
// sel.Prefer the API refused (0: none). It is called again after every wait.
type wanted func(idx *index.Index) (sel pool.Selected, rejected int, err error)

// wanted is what req asks for. If no pool is named, because it follows from a lease or is
// the only one, it stays the pool of the first look: an account that leaves it meanwhile
// doesn't change the pool.
func (b *Broker) wanted(ctx context.Context, req TokenRequest) wanted {
	poolName := ""
	return func(idx *index.Index) (sel pool.Selected, rejected int, err error) {
		req := req
		if req.User != "" {
			if req.Selection, err = b.asUser(ctx, idx, req.Selection, req.User, req.Origin); err != nil {
				return pool.Selected{}, 0, err
			}
		}
		if req.Origin != "" {
			if req.Selection, err = b.towards(ctx, idx, req.Selection, req.Origin); err != nil {
				return pool.Selected{}, 0, err
			}
		}
		if req.Server != "" {
			if req.Selection, err = towardsServer(idx, req.Selection, req.Server); err != nil {
				return pool.Selected{}, 0, err
			}
		}
		sel, rejected, err = b.asked(idx, req)
		if poolName != "" {
			sel, rejected, err = b.keepPool(idx, req.Selection, poolName, sel, rejected, err)
		} else if err == nil && cmp.Or(req.Account, req.EnvAccount) == "" {
			poolName = sel.Pool
		}
		sel.Server = req.Server
		if sel.Origin, sel.Except = req.Origin, req.Except; sel.Origin != "" && !sel.Pinned && err == nil {
			sel.Keys = req.KeysOnly || b.rules().KeysServe(idx, sel)
		}
		if req.Stay != "" && sel.Prefer == "" && idx.Pools[sel.Pool].Current == req.StayBy {
			sel.Prefer = req.Stay
		}
		return sel, rejected, err
	}
}

// keepPool is the selection of a caller that was in pool before it waited; without it, the
// selection would now be sel or err.
func (b *Broker) keepPool(idx *index.Index, s pool.Selection, poolName string, sel pool.Selected, rejected int, err error) (pool.Selected, int, error) {
	if err == nil && sel.Pool == poolName {
		return sel, rejected, nil
	}
	bound, unknown := b.rules().Bound(idx, s, s.Provider)
	if unknown != nil {
		return pool.Selected{}, 0, unknown
	}
	free := s.Pool == "" && s.EnvPool == "" && bound == nil
	if free && len(idx.Members(poolName)) > 0 && (err == nil || fault.CodeOf(err) == fault.Ambiguous || fault.CodeOf(err) == fault.Fenced) {
		return b.rules().Everyday(idx, pool.Selected{Pool: poolName, Scope: s.Scope, Keys: s.KeysOnly}), 0, nil
	}
	if err == nil {
		err = fault.Errorf(fault.Fenced, "the selection no longer means pool %s, as it did when this command began; nothing was handed out", fault.Quote(poolName)).Try(fault.Remedy{Do: fault.Status})
	}
	return pool.Selected{}, 0, err
}

// handOut is Token for the selection of want. It tries the accounts that pool.Choose gives,
// one after the other, and takes the first whose token can be had.
func (b *Broker) handOut(ctx context.Context, want wanted, minTTL time.Duration) (*Token, error) {
	idx, err := b.Folder.Read()
	if err != nil {
		return nil, err
	}
	sel, rejected, err := want(idx)
	if err != nil {
		return nil, err
	}
	var passed pool.Passings
	looked := false
	for {
		c := pool.Choose(idx, sel, passed, time.Now())
		if fault.CodeOf(c.Err) == fault.LoginNeeded && !looked {
			if looked = true; rotation.Revive(ctx, b.Folder, idx, sel) {
				if idx, err = b.Folder.Read(); err != nil {
					return nil, err
				}
				if sel, rejected, err = want(idx); err != nil {
					return nil, err
				}
				continue
			}
		}
		probe := false
		if fault.CodeOf(c.Err) == fault.AllHeld {
			if a := b.letThrough(ctx, idx, sel); a != nil {
				c.Account, c.Err, probe = a, nil, true
			}
		}
		if c.Err != nil {
			return nil, b.unlessElsewhere(ctx, idx, sel, c.Err)
		}
		a, asked := c.Account, time.Now()
		if !sel.Pinned && !c.Last && passed.Of(a.ID) == nil && b.stuck(a, asked) {
			// If another account can serve, the caller doesn't wait for this one.
			other := append(slices.Clone(passed), pool.Passing{ID: a.ID, Err: rotation.TooSlow(b.Folder, a.ID)})
			if next := pool.Choose(idx, sel, other, asked); next.Account != nil && !next.Last {
				passed = other
				continue
			}
		}
		waited := false
		s := serving{minTTL: minTTL, alone: sel.Pinned || c.Last, origin: sel.Origin, server: sel.Server, asIs: c.AsIs, quiet: c.AsIs && passed.Outage(idx, asked),
			failed: passed.Of(a.ID), waits: func() { waited = true }}
		if rejected > 0 && a.ID == sel.Prefer {
			s.floor = rejected
		}
		if s.floor > 0 && s.failed != nil {
			return nil, s.failed
		}
		tok, err := b.serve(ctx, idx, a, s)
		if err == nil && !waited && time.Since(asked) < noWait {
			b.passedOver(ctx, idx, passed, sel.Prefer, rejected, tok)
			tok.Current = idx.Pools[sel.Pool].Current
			rotation.Limits(b.Folder, idx, a, false)
			return tok, nil
		}
		failure := err
		if failure != nil && !pool.Passable(failure) {
			if sel.Pinned || !b.inMemory(idx, sel.Pool, a, failure, &passed) {
				return nil, failure
			}
		}
		// What this caller may have can have changed while it waited.
		if idx, err = b.Folder.Read(); err != nil {
			return nil, err
		}
		refusedNow := s.floor
		if sel, rejected, err = want(idx); err != nil {
			return nil, err
		}
		now := idx.Account(a.ID)
		switch {
		case failure == nil && sel.Admits(now, probe, time.Now()):
			b.passedOver(ctx, idx, passed, sel.Prefer, rejected, tok)
			tok.Current = idx.Pools[sel.Pool].Current
			return tok, nil
		case failure == nil:
			continue
		case now != nil && now.Generation == refusedNow && !pool.Refused(now) && !pool.Fixed(now):
			if idx, err = b.markRefused(ctx, now.ID, refusedNow); err != nil {
				return nil, err
			}
		}
		if sel.Pinned && now != nil && sel.Admits(now, true, time.Now()) || c.Last {
			return nil, failure
		}
		gone := now == nil || now.Removing
		if passed.Of(a.ID) == nil && !gone {
			passed = append(passed, pool.Passing{ID: a.ID, Err: failure})
		}
	}
}

// noWait is how long a hand-out may take, including a keystore's prompt, before its
// selection has to be checked again.
const noWait = 50 * time.Millisecond

// stuck reports whether a needs a refresh, and one has been running for longer than a
// caller waits.
func (b *Broker) stuck(a *index.Account, now time.Time) bool {
	if len(a.Intents) == 0 || pool.Ready(a, now) {
		return false
	}
	in := a.UnderWay()
	return in != nil && now.Sub(in.StartedAt) > b.Folder.HTTPTimeout
}

// passedOver warns about the accounts in whose place tok is handed out. An API key that was
// refused is held for a moment, as after a report.
func (b *Broker) passedOver(ctx context.Context, idx *index.Index, passed pool.Passings, prefer string, rejected int, tok *Token) {
	for _, x := range passed {
		a := idx.Account(x.ID)
		if a == nil || a.ID == tok.Account.ID {
			continue
		}
		why := x.Err.Error()
		if fault.CodeOf(x.Err) == fault.LoginNeeded {
			why = "account " + fault.Quote(a.Label) + " needs a new login"
		}
		b.Folder.Warn(why + "; using " + fault.Quote(tok.Account.Label))
		if a.Kind == index.KindAPIKey && a.ID == prefer && rejected >= a.Generation {
			now := time.Now()
			v := ratelimit.Verdict{Kind: ratelimit.Auth, Until: now.Add(ratelimit.FirstGuess), Scope: ratelimit.AllScopes, Source: pool.RejectedSource}
			_, _, _ = b.record(ctx, a.ID, v, "", rejected, now, &ReportResult{}) // if this fails, it costs one more refused request
		}
	}
}

// markRefused records that the API refused the access token of that generation.
func (b *Broker) markRefused(ctx context.Context, id string, generation int) (*index.Index, error) {
	var idx *index.Index
	err := b.Folder.Update(ctx, index.Fast, func(i *index.Index) error {
		if a := i.Account(id); a != nil && a.Generation == generation {
			a.RefusedGeneration = generation
		}
		idx = i
		return nil
	})
	return idx, err
}

// waitStep is how often a waiting caller checks whether an account became free early.
const waitStep = 2 * time.Second

// WaitToken is Token, but waits while every account is held or the others can't serve now:
// until one can, at most for longest (zero: without limit). waiting is called once, with
// why none can; its RetryAt is when one will probably be free.
func (b *Broker) WaitToken(ctx context.Context, req TokenRequest, longest time.Duration, waiting func(why *fault.Error)) (*Token, error) {
	var deadline time.Time
	if longest > 0 {
		deadline = time.Now().Add(longest)
	}
	want := b.wanted(ctx, req)
	for told := false; ; told = true {
		tok, err := b.handOut(ctx, want, req.MinTTL)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Code != fault.AllHeld && !e.SomeHeld {
			return tok, err
		}
		now, until := time.Now(), e.RetryAt
		if !told {
			waiting(e)
		}
		if !deadline.IsZero() && !now.Before(deadline) {
			return nil, err
		}
		pause := max(min(until.Sub(now), waitStep), 10*time.Millisecond)
		if !deadline.IsZero() {
			pause = min(pause, deadline.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil, fault.Errorf(fault.Cancelled, "interrupted; no account is free yet").Because(ctx.Err())
		case <-time.After(pause):
		}
	}
}

// letThrough lets one caller use a held account if all are held and a long hold may have
// ended early; nil: not this caller. The claim is written under the index's lock, so only
// one caller gets it. If other machines share the account, only one of all gets it.
func (b *Broker) letThrough(ctx context.Context, idx *index.Index, sel pool.Selected) *index.Account {
	if pool.ProbeCandidate(idx, sel, time.Now()) == nil {
		return nil
	}
	var let *index.Account
	err := b.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		now := time.Now()
		if let = pool.ProbeCandidate(idx, sel, now); let == nil {
			return nil
		}
		for i := range let.Holds {
			if let.Holds[i].Until.After(now) {
				let.Holds[i].ProbedAt = now.UTC()
			}
		}
		return nil
	})
	if err != nil || let == nil || !rotation.MayProbe(ctx, b.Folder, let) {
		return nil // a failed probe is no error: the caller is told that all are held
	}
	return let
}
