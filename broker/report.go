package broker

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/broker/rotation"
)

// ReportRequest is a caller's report of one answer of the API.
type ReportRequest struct {
	Lease     string              // of the token that was used
	Account   string              // in place of a lease: the account, in its current generation
	Status    int                 // HTTP status; 0: no answer came
	Header    map[string][]string // of the answer; names in any case
	Body      []byte              // only the first 64 KiB are read
	HoldScope string              // scope of a limit that is about one model; empty: the whole account
	Attempt   int                 // number of this try of the request, from 1; 0 is 1
	Next      bool                // also hand out the next token
	MinTTL    time.Duration       // of that token
}

// Action is what the caller of Report should do.
type Action string

// The actions.
const (
	Switch Action = "switch" // send the request again, with Next or with what Token returns
	Retry  Action = "retry"  // again with the same account after RetryAfter, or at once with Next
	Wait   Action = "wait"   // until RetryAt every account (or the pinned one) is held
	LogIn  Action = "login"  // a person has to log in
	None   Action = "none"   // it succeeded, or another account would not help
)

// ReportResult is what a report means.
type ReportResult struct {
	Action     Action
	Account    pool.AccountView // of the lease, as it is now
	Hold       *pool.HoldView   // the hold on it because of this answer
	RetryAfter time.Duration    // with Retry; with Wait until RetryAt
	RetryAt    time.Time        // zero: unknown
	Next       *Token           // nil: there is nothing to send, or it was not asked for
	Why        *fault.Error     // with LogIn and Wait: why no other account is used; nil: unknown
}

// Report evaluates one answer of the API. It records how full the account's quota windows
// are and how long the account is to be left alone, and says what to do next. However many
// callers report the same lease, at once or late, the pool moves on by one account, and
// only from the lease's account.
//
// The hold is on the lease's account, whatever s says, and is recorded even if s is in
// error. s decides what Next may be; if it names nothing, that is the pool of the lease's
// account.
//
// An account that is given in place of a lease is not pinned: Next may be another's. It has
// to be in the selection of s, or nothing is recorded.
//
// Errors are *fault.Error: NoAccount if the lease's account doesn't exist here, Usage for
// malformed requests, Ambiguous and Fenced for an account, and those of Token if Next can't
// be had.
func (b *Broker) Report(ctx context.Context, s pool.Selection, r ReportRequest) (*ReportResult, error) {
	id, generation, err := r.check()
	if err != nil {
		return nil, err
	}
	idx, err := b.Folder.Read()
	if err != nil {
		return nil, err
	}
	if r.Account != "" {
		named := s
		named.Account = r.Account
		sel, err := b.rules().ResolveIn(idx, named)
		if err != nil {
			return nil, err
		}
		id = sel.Prefer
	}
	a, err := pool.Leased(idx, id)
	if err != nil {
		return nil, err
	}
	if r.Account != "" {
		generation = a.Generation
	}
	now := time.Now()
	v := ratelimit.Judge(ratelimit.Response{Status: r.Status, Header: r.Header, Body: r.Body,
		HoldScope: r.HoldScope, Attempt: max(1, r.Attempt), ThrottleMax: b.Folder.Config().ThrottleMax, Now: now})
	current := generation >= a.Generation
	if v.Kind == ratelimit.Auth && current && (pool.Fixed(a) || pool.JustIssued(a, now)) {
		v.Until, v.Scope, v.Source = now.Add(ratelimit.FirstGuess), ratelimit.AllScopes, pool.RefusedSource
	}

	res := &ReportResult{Action: None}
	if pool.Noteworthy(a, v, r.HoldScope, generation, now) {
		if idx, a, err = b.record(ctx, id, v, r.HoldScope, generation, now, res); err != nil {
			return nil, err
		}
	}
	rotation.Limits(b.Folder, idx, a, v.Held())
	if res.Hold == nil {
		v.Until = time.Time{} // a long-lived token that is over now
	}
	res.Account = b.rules().View(idx, a, now)
	if s.Scope == "" {
		s.Scope = r.HoldScope
	}
	want := b.wantedAfter(id, s, generation, v)
	sel, _, err := want(idx)
	switch {
	case err == nil:
	case !r.Next && s.Account == "" && s.Pool == "": // what the environment names only matters for Next
		sel = b.rules().Everyday(idx, pool.Selected{Pool: a.Pool, Scope: s.Scope, Keys: s.KeysOnly})
	default:
		return nil, err
	}
	switch {
	case v.Held():
		err = b.afterHold(ctx, idx, a, sel, want, r, res)
	case v.Kind == ratelimit.Auth:
		err = b.afterRefusal(ctx, idx, a, sel, want, r, generation, res)
	case v.Retry():
		res.Action, res.RetryAt = Retry, now.Add(v.RetryAfter)
		res.RetryAfter = v.RetryAfter
	case v.Kind != ratelimit.Success:
		if res.Why = stepUp(a, r); res.Why != nil {
			res.Action = LogIn
		}
	default:
		warnStillHeld(b, idx, a, now)
	}
	if res.Action == Wait && !res.RetryAt.IsZero() {
		res.RetryAfter = max(0, time.Until(res.RetryAt))
	}
	return res, err
}

// wantedAfter is the selection of a caller that reports a lease of account id; after a
// refused token, a newer one of that account, if it is in the selection.
func (b *Broker) wantedAfter(id string, s pool.Selection, generation int, v ratelimit.Verdict) wanted {
	poolName := ""
	return func(idx *index.Index) (pool.Selected, int, error) {
		a, err := pool.Leased(idx, id)
		if err != nil {
			if poolName == "" {
				return pool.Selected{}, 0, err
			}
			a = &index.Account{ID: id, Provider: idx.Pools[poolName].Provider, Pool: poolName} // it was removed meanwhile
		}
		sel, err := b.rules().ResolveLease(idx, s, a)
		if poolName != "" {
			sel, _, err = b.keepPool(idx, s, poolName, sel, 0, err)
		} else if err == nil && cmp.Or(s.Account, s.EnvAccount) == "" {
			poolName = sel.Pool
		}
		if err != nil || v.Held() || v.Kind != ratelimit.Auth {
			return sel, 0, err
		}
		if own, outside := sel.Narrow(a); outside == nil {
			return own, min(generation, a.Generation), nil
		}
		return sel, 0, nil
	}
}

func (r *ReportRequest) check() (account string, generation int, err error) {
	switch {
	case r.Status != 0 && (r.Status < 100 || r.Status > 599):
		return "", 0, fault.Errorf(fault.Usage, "the report's status is not an HTTP status")
	case pool.CheckScope(r.HoldScope) != nil:
		return "", 0, fault.Errorf(fault.Usage, "the report's hold_scope must be a short printable text")
	}
	if r.Account != "" {
		return "", 0, nil
	}
	return ParseLease(r.Lease)
}

// record writes what v means for account id and moves its pool on. It is one change of the
// index, so a second report of the same lease finds that the pool has moved.
func (b *Broker) record(ctx context.Context, id string, v ratelimit.Verdict, scope string, generation int, now time.Time, res *ReportResult) (*index.Index, *index.Account, error) {
	var idx *index.Index
	var a *index.Account
	err := b.Folder.Update(ctx, index.Fast, func(i *index.Index) error {
		if idx, a = i, i.Account(id); a == nil || a.Removing {
			return fault.Errorf(fault.NoAccount, "the account was removed meanwhile").Try(fault.Remedy{Do: fault.ListAccounts})
		}
		pool.Forget(a, now)
		if v.Kind == ratelimit.Success {
			pool.Refute(a, scope)
		}
		if v.Kind == ratelimit.Auth && pool.LongLived(a) && b.rules().Strike(i, a, generation, now) {
			v.Until = time.Time{}
		}
		if pool.Marks(a, v, generation) {
			a.RefusedGeneration = 0
			if v.Kind == ratelimit.Auth {
				a.RefusedGeneration = a.Generation
			}
		}
		b.rules().Remember(i, a, v.Usage, now)
		if v.Held() {
			b.rules().MoveOn(i, a, now, func() {
				h := pool.ViewHold(pool.AddHold(a, v, now))
				res.Hold = &h
			})
		}
		return nil
	})
	return idx, a, err
}

// afterHold decides what to do next when an account is held.
func (b *Broker) afterHold(ctx context.Context, idx *index.Index, a *index.Account, sel pool.Selected, want wanted, r ReportRequest, res *ReportResult) error {
	res.Action, res.RetryAt = Switch, res.Hold.Until
	if !r.Next {
		return res.blocked(pool.Choose(idx, sel, nil, time.Now()).Err)
	}
	tok, err := b.handOut(ctx, want, r.MinTTL)
	switch e, _ := errors.AsType[*fault.Error](err); {
	case err == nil:
		res.goOn(tok, a)
		return nil
	case e != nil && e.Code.ForNow():
		// Another account is free, but its token can't be had now.
		b.Folder.Warn(e.Error())
		res.Action = Wait
		if !e.RetryAt.IsZero() {
			res.RetryAt = e.RetryAt
		}
		return nil
	}
	return res.blocked(err)
}

// afterRefusal is for a 401: a newer token of the same account, if there can be one, else
// another account's.
func (b *Broker) afterRefusal(ctx context.Context, idx *index.Index, a *index.Account, sel pool.Selected, want wanted, r ReportRequest, generation int, res *ReportResult) error {
	if !r.Next {
		var passed pool.Passings
		why := rotation.Refusal(a, rotation.Wish{Rejected: true}, time.Now())
		if generation >= a.Generation && why != nil {
			passed = pool.Passings{{ID: a.ID, Err: why}}
		}
		c := pool.Choose(idx, sel, passed, time.Now())
		res.Action = Retry
		if c.Account != nil && c.Account.ID != a.ID {
			res.Action = Switch
		}
		if c.Err == nil {
			return nil
		}
		return later(b, c.Err, res)
	}
	tok, err := b.handOut(ctx, want, r.MinTTL)
	if now, readErr := b.Folder.Read(); readErr == nil {
		if after := now.Account(a.ID); after != nil {
			res.Account = b.rules().View(now, after, time.Now())
		}
	}
	if err == nil {
		res.goOn(tok, a)
		return nil
	}
	return later(b, err, res)
}

// later is for a refused token that can't be replaced now.
func later(b *Broker, err error, res *ReportResult) error {
	if e, _ := errors.AsType[*fault.Error](err); e != nil && e.Code.ForNow() && !e.RetryAt.IsZero() {
		// The provider doesn't refresh now; the login is kept.
		b.Folder.Warn(e.Error())
		res.Action, res.RetryAt = Retry, e.RetryAt
		res.RetryAfter = max(0, time.Until(e.RetryAt))
		return nil
	}
	return res.blocked(err)
}

// goOn makes tok the next one.
func (res *ReportResult) goOn(tok *Token, reported *index.Account) {
	res.Next, res.Action = tok, Switch
	if tok.Account.ID == reported.ID {
		res.Action, res.RetryAt = Retry, time.Time{} // at once
	}
}

// blocked turns "no account is free" into an action for the caller; other errors stay
// errors.
func (res *ReportResult) blocked(err error) error {
	switch fault.CodeOf(err) {
	case fault.AllHeld:
		res.Action = Wait
		if res.Why, _ = errors.AsType[*fault.Error](err); res.Why != nil {
			res.RetryAt = res.Why.RetryAt
		}
	case fault.LoginNeeded:
		res.Action, res.RetryAt = LogIn, time.Time{}
		res.Why, _ = errors.AsType[*fault.Error](err)
	default:
		return err
	}
	return nil
}

// warnStillHeld warns about a success in spite of a hold that the provider stated: only a
// person ends such a hold.
func warnStillHeld(b *Broker, idx *index.Index, a *index.Account, now time.Time) {
	for _, h := range a.Holds {
		if h.Scope == pool.HeldForScope && h.Proven && h.Until.After(now) && now.Sub(h.ProbedAt).Abs() < pool.ProbeEvery {
			b.Folder.Warn("account "+fault.Quote(a.Label)+" answered although it is held; if the limit is over, clear its holds", fault.Remedy{Do: fault.ClearHolds, Account: pool.Reference(idx, a)})
			return
		}
	}
}
