package broker

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// letThrough lets one caller through where everything is held and a long hold may
// have been lifted early; nil: not this one. The claim is written under the
// index's lock, so that of any number of callers one gets it.
func (b *Broker) letThrough(ctx context.Context, idx *index.Index, sel pool.Selected) *index.Account {
	if pool.ProbeCandidate(idx, sel, time.Now()) == nil {
		return nil
	}
	var let *index.Account
	err := b.Update(ctx, index.Fast, func(idx *index.Index) error {
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
	if err != nil {
		return nil // a probe is a favour: the caller hears that all are held
	}
	return let
}
