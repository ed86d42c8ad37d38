package broker

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
)

// refuseLongLived records that the API refused a's long-lived token, and returns the error
// for that. Nil: a has another token by now.
func (b *Broker) refuseLongLived(ctx context.Context, a *index.Account) error {
	now := time.Now()
	v := ratelimit.Verdict{Kind: ratelimit.Auth, Until: now.Add(ratelimit.FirstGuess), Scope: ratelimit.AllScopes, Source: pool.RejectedSource}
	_, after, err := b.record(ctx, a.ID, v, "", a.Generation, now, &ReportResult{})
	switch {
	case err != nil:
		return err
	case after.Generation > a.Generation:
		return nil
	case pool.WantsLogin(after, now):
		return pool.LoginNeeded(after)
	}
	return fault.Errorf(fault.ProviderRefused, "the token of account %s was refused, and it can't be refreshed", fault.Quote(a.Label)).Try(pool.Renewal(a)).ItsOwn()
}
