package broker

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
)

// letThrough lets one caller use a held account if all are held and a long hold may have
// ended early; nil: not this caller. The claim is written under the index's lock, so only
// one caller gets it. If other machines share the account, only one of all gets it.
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
	if err != nil || let == nil || !rotation.MayProbe(ctx, b.Folder, let) {
		return nil // a failed probe is no error: the caller is told that all are held
	}
	return let
}
