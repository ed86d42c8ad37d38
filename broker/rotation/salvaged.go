package rotation

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
)

// restore stores the grant before a salvaged one again, as the newest, because the provider
// refused the salvaged refresh token: what was found in its answer may not have been one.
// The grant before it is tried once more, by the usual rules. If this process is killed
// meanwhile, the next one goes on from there. False: that grant is gone.
func (e *exchange) restore(ctx context.Context, l *folder.Rotation) (bool, error) {
	before, err := e.before(ctx)
	if before == nil || err != nil {
		return false, err
	}
	next := *before
	next.Generation, next.Salvaged = e.generation, false
	next.Spent = slices.DeleteFunc(slices.Clone(e.grant.Spent), func(fp string) bool { return fp == record.Fingerprint(before.RefreshToken) })
	next.Spent = record.AddSpent(next.Spent, record.Fingerprint(e.grant.RefreshToken))
	if e.claimed != nil {
		next.PoolGeneration, next.Login = e.grant.PoolGeneration+1, false
		if err := e.claimed.Publish(ctx, &next, nil)(); err != nil {
			return false, err
		}
	}
	if _, err := e.Commit(ctx, l, folder.Login{Slot: e.slot, Grant: &next, Peers: e.claimed != nil}); err != nil {
		return false, err
	}
	e.restored = &next
	return true, nil
}

// before finds the grant that e's replaced; nil: it is gone.
func (e *exchange) before(ctx context.Context) (*record.Grant, error) {
	if len(e.grant.Spent) == 0 {
		return nil, nil
	}
	var before *record.Grant
	for _, slot := range record.Slots {
		g, err := e.Store.Grant(ctx, e.account.ID, slot)
		if err != nil {
			return nil, err
		}
		if g != nil && g.Generation < e.grant.Generation && record.Fingerprint(g.RefreshToken) == e.grant.Spent[len(e.grant.Spent)-1] &&
			(before == nil || g.Generation > before.Generation) {
			before = g
		}
	}
	return before, nil
}
