package broker

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/index"
)

const (
	// probeEvery is how often one caller is let through to an account although
	// it is held, and how long after the hold began for the first time.
	probeEvery = 15 * time.Minute
	// worthProbing is how long a hold is that is looked into before it is over.
	worthProbing = time.Hour
)

// letThrough lets one caller through where everything is held and a long hold may
// have been lifted early; nil: not this one. The claim is written under the
// index's lock, so that of any number of callers one gets it.
func (b *Broker) letThrough(ctx context.Context, idx *index.Index, sel selected) *index.Account {
	if probeCandidate(idx, sel, time.Now()) == nil {
		return nil
	}
	var let *index.Account
	err := b.Update(ctx, index.Fast, func(idx *index.Index) error {
		now := time.Now()
		if let = probeCandidate(idx, sel, now); let == nil {
			return nil
		}
		for i := range let.Holds {
			if let.Holds[i].Until.After(now) {
				let.Holds[i].ProbedAt = now.UTC()
			}
		}
		return nil
	})
	if err != nil {
		return nil // a probe is a favour: the caller hears that all are held
	}
	return let
}

// probeCandidate is the account whose hold was looked into longest ago, if
// nothing in the pool is free and it is time.
func probeCandidate(idx *index.Index, sel selected, now time.Time) *index.Account {
	var best *index.Account
	var oldest time.Time
	for _, a := range sel.members(idx) {
		if a.Disabled || needsLogin(a, now) {
			continue
		}
		seen, long := time.Time{}, true
		for _, h := range a.Holds {
			if !h.Until.After(now) || h.Scope != heldForScope && h.Scope != sel.scope {
				continue
			}
			if now.Sub(h.ProbedAt).Abs() < probeEvery {
				return nil // the pool has had its probe
			}
			long = long && h.Proven && h.Until.Sub(h.ReportedAt) > worthProbing && now.Sub(h.ReportedAt) >= probeEvery
			for _, t := range []time.Time{h.ReportedAt, h.ProbedAt} {
				if t.After(seen) {
					seen = t
				}
			}
		}
		if seen.IsZero() {
			return nil // free
		}
		if long && (!sel.pinned || a.ID == sel.prefer) && (best == nil || seen.Before(oldest)) {
			best, oldest = a, seen
		}
	}
	return best
}
