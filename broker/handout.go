package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

// wanted works a caller's selection out against an index, and which generation of
// sel.prefer the API refused (0: none). It is asked again after every wait.
type wanted func(idx *index.Index) (sel selected, rejected int, err error)

// wanted is what req asks for. A pool that nobody named, because it follows from a lease
// or is the only one, stays what it is at the first look: an account that leaves it
// meanwhile does not take the caller along.
func (b *Broker) wanted(ctx context.Context, req TokenRequest) wanted {
	pool := ""
	return func(idx *index.Index) (sel selected, rejected int, err error) {
		req := req
		if req.User != "" {
			if req.Selection, err = b.asUser(ctx, idx, req.Selection, req.User, req.Origin); err != nil {
				return selected{}, 0, err
			}
		}
		if req.Origin != "" {
			if req.Selection, err = b.towards(ctx, idx, req.Selection, req.Origin); err != nil {
				return selected{}, 0, err
			}
		}
		if req.Server != "" {
			if req.Selection, err = towardsServer(idx, req.Selection, req.Server); err != nil {
				return selected{}, 0, err
			}
		}
		sel, rejected, err = b.asked(idx, req)
		if pool != "" {
			sel, rejected, err = b.keepPool(idx, req.Selection, pool, sel, rejected, err)
		} else if err == nil && cmp.Or(req.Account, req.EnvAccount) == "" {
			pool = sel.pool
		}
		sel.server = req.Server
		if sel.origin, sel.except = req.Origin, req.Except; sel.origin != "" && !sel.pinned && err == nil {
			sel.keys = req.KeysOnly || b.keysServe(idx, sel)
		}
		if req.Stay != "" && sel.prefer == "" && idx.Pools[sel.pool].Current == req.StayBy {
			sel.prefer = req.Stay
		}
		return sel, rejected, err
	}
}

// keepPool is the selection of a caller that was in pool before it waited, and would
// come to sel or err now.
func (b *Broker) keepPool(idx *index.Index, s Selection, pool string, sel selected, rejected int, err error) (selected, int, error) {
	if err == nil && sel.pool == pool {
		return sel, rejected, nil
	}
	bound, unknown := b.bound(idx, s, s.Provider)
	if unknown != nil {
		return selected{}, 0, unknown
	}
	free := s.Pool == "" && s.EnvPool == "" && bound == nil
	if free && len(idx.Members(pool)) > 0 && (err == nil || fault.CodeOf(err) == fault.Ambiguous || fault.CodeOf(err) == fault.Fenced) {
		return b.everyday(idx, selected{pool: pool, scope: s.Scope, keys: s.KeysOnly}), 0, nil
	}
	if err == nil {
		err = fault.Errorf(fault.Fenced, "the selection means another pool than %s since this command began; nothing was handed out", quote(pool)).Try(fault.Remedy{Do: fault.Status})
	}
	return selected{}, 0, err
}

// recently is how long a refresh of another account counts as a sign of an outage.
const recently = time.Minute

// handOut is Token for what want selects. Of the accounts that choose gives, one
// after the other, it takes the first whose token can be had.
func (b *Broker) handOut(ctx context.Context, want wanted, minTTL time.Duration) (*Token, error) {
	idx, err := b.Read()
	if err != nil {
		return nil, err
	}
	sel, rejected, err := want(idx)
	if err != nil {
		return nil, err
	}
	var passed passings
	looked := false
	for {
		c := choose(idx, sel, passed, time.Now())
		if fault.CodeOf(c.err) == fault.LoginNeeded && !looked {
			if looked = true; b.revive(ctx, idx, sel) {
				if idx, err = b.Read(); err != nil {
					return nil, err
				}
				if sel, rejected, err = want(idx); err != nil {
					return nil, err
				}
				continue
			}
		}
		probe := false
		if fault.CodeOf(c.err) == fault.AllHeld {
			if a := b.letThrough(ctx, idx, sel); a != nil {
				c.account, c.err, probe = a, nil, true
			}
		}
		if c.err != nil {
			return nil, b.unlessElsewhere(ctx, idx, sel, c.err)
		}
		a, asked := c.account, time.Now()
		if !sel.pinned && !c.last && passed.of(a.ID) == nil && b.stuck(a, asked) {
			// Another one that can serve is not kept waiting for it.
			other := append(slices.Clone(passed), passing{a.ID, b.tooSlow(a.ID)})
			if next := choose(idx, sel, other, asked); next.account != nil && !next.last {
				passed = other
				continue
			}
		}
		waited := false
		s := serving{minTTL: minTTL, alone: sel.pinned || c.last, origin: sel.origin, server: sel.server, asIs: c.asIs, quiet: c.asIs && passed.outage(idx, asked),
			failed: passed.of(a.ID), waits: func() { waited = true }}
		if rejected > 0 && a.ID == sel.prefer {
			s.floor = rejected
		}
		if s.floor > 0 && s.failed != nil {
			return nil, s.failed
		}
		tok, err := b.serve(ctx, idx, a, s)
		if err == nil && !waited && time.Since(asked) < noWait {
			b.passedOver(ctx, idx, passed, sel.prefer, rejected, tok)
			tok.Current = idx.Pools[sel.pool].Current
			return tok, nil
		}
		failure := err
		if failure != nil && !passable(failure) {
			if sel.pinned || !b.inMemory(idx, sel.pool, a, failure, &passed) {
				return nil, failure
			}
		}
		// Others may have changed what this caller may have while it waited.
		if idx, err = b.Read(); err != nil {
			return nil, err
		}
		refusedNow := s.floor
		if sel, rejected, err = want(idx); err != nil {
			return nil, err
		}
		now := idx.Account(a.ID)
		switch {
		case failure == nil && sel.admits(now, probe, time.Now()):
			b.passedOver(ctx, idx, passed, sel.prefer, rejected, tok)
			tok.Current = idx.Pools[sel.pool].Current
			return tok, nil
		case failure == nil:
			continue
		case now != nil && now.Generation == refusedNow && !refused(now) && !fixed(now):
			if idx, err = b.markRefused(ctx, now.ID, refusedNow); err != nil {
				return nil, err
			}
		}
		if sel.pinned && now != nil && sel.admits(now, true, time.Now()) || c.last {
			return nil, failure
		}
		gone := now == nil || now.Removing
		if passed.of(a.ID) == nil && !gone {
			passed = append(passed, passing{a.ID, failure})
		}
	}
}

// noWait is how long a hand-out may take, a keystore's prompt included, without
// another look at whom it is for.
const noWait = 50 * time.Millisecond

// admits reports that a may be handed out for sel: it is in the pool, is the one that
// is pinned, and is neither disabled nor, unless its caller is let through, held.
func (sel selected) admits(a *index.Account, letThrough bool, now time.Time) bool {
	return a != nil && !a.Removing && !a.Disabled && a.Pool == sel.pool && sel.takes(a) && (!sel.pinned || a.ID == sel.prefer) &&
		(letThrough || !heldUntil(a, sel.scope, now).After(now))
}

// stuck reports that a needs a refresh, and that one has been under way for longer than
// a caller waits.
func (b *Broker) stuck(a *index.Account, now time.Time) bool {
	if len(a.Intents) == 0 || ready(a, now) {
		return false
	}
	in := a.UnderWay()
	return in != nil && now.Sub(in.StartedAt) > b.HTTPTimeout
}

// outage reports that one of them failed a moment ago for a reason that others may
// share: then nothing is refreshed behind either.
func (p passings) outage(idx *index.Index, now time.Time) bool {
	return slices.ContainsFunc(p, func(x passing) bool {
		a := idx.Account(x.id)
		return !ownTrouble(x.err) && (a == nil || a.Failure == nil || now.Sub(a.Failure.At).Abs() < recently)
	})
}

// passedOver warns of the accounts in whose place tok is handed out. An API key that
// was refused is held for a moment, as after a report.
func (b *Broker) passedOver(ctx context.Context, idx *index.Index, passed passings, prefer string, rejected int, tok *Token) {
	for _, x := range passed {
		a := idx.Account(x.id)
		if a == nil || a.ID == tok.Account.ID {
			continue
		}
		why := x.err.Error()
		if fault.CodeOf(x.err) == fault.LoginNeeded {
			why = "account " + quote(a.Label) + " needs a new login"
		}
		b.Warn(why + "; using " + quote(tok.Account.Label))
		if a.Kind == index.KindAPIKey && a.ID == prefer && rejected >= a.Generation {
			now := time.Now()
			v := ratelimit.Verdict{Kind: ratelimit.Auth, Until: now.Add(ratelimit.FirstGuess), Scope: ratelimit.AllScopes, Source: "rejected"}
			_, _, _ = b.record(ctx, a.ID, v, "", rejected, now, &ReportResult{}) // what it costs is one more refused request
		}
	}
}

// markRefused notes that the API refused the access token of that generation.
func (b *Broker) markRefused(ctx context.Context, id string, generation int) (*index.Index, error) {
	var idx *index.Index
	err := b.Update(ctx, index.Fast, func(i *index.Index) error {
		if a := i.Account(id); a != nil && a.Generation == generation {
			a.RefusedGeneration = generation
		}
		idx = i
		return nil
	})
	return idx, err
}
