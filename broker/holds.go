package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// AccountHold is a hold with whose it is.
type AccountHold struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	pool.HoldView
}

// Holds returns every hold that is not over, by pool and rank.
func (b *Broker) Holds() ([]AccountHold, error) {
	views, err := b.List()
	if err != nil {
		return nil, err
	}
	all := []AccountHold{}
	for _, v := range views {
		for _, h := range v.Holds {
			all = append(all, AccountHold{v.ID, v.Label, h})
		}
	}
	return all, nil
}

// AddHold holds an account for that long from now, as a person says; an empty scope is the
// whole account. Errors: NoAccount, Ambiguous, Usage (the scope, or too many holds).
func (b *Broker) AddHold(ctx context.Context, account, scope string, d time.Duration) (*AccountHold, error) {
	scope = cmp.Or(scope, pool.HeldForScope)
	if err := checkScope(scope); err != nil {
		return nil, err
	}
	var added *AccountHold
	err := b.updateAccount(ctx, account, func(idx *index.Index, a *index.Account) error {
		now := time.Now()
		pool.Forget(a, now)
		if len(a.Holds) >= pool.MaxHolds {
			return fault.Errorf(fault.Usage, "account %s has %d holds already", fault.Quote(a.Label), len(a.Holds)).
				Try(fault.Remedy{Do: fault.ClearHolds, Account: pool.Reference(idx, a)})
		}
		b.rules().MoveOn(idx, a, now, func() {
			added = &AccountHold{a.ID, a.Label, pool.ViewHold(pool.HoldByHand(a, scope, now.Add(d), now))}
		})
		return nil
	})
	return added, err
}

// ClearHolds removes the holds of an account, or with scope not empty the one
// on that scope, and returns those that were in force. Without a scope it also
// ends the wait of a refresh that failed, whoever asked for it, and has a long-lived
// token tried again that the API refused: a person knows better. Errors: NoAccount, Ambiguous.
func (b *Broker) ClearHolds(ctx context.Context, account, scope string) ([]AccountHold, error) {
	cleared := []AccountHold{}
	err := b.updateAccount(ctx, account, func(_ *index.Index, a *index.Account) error {
		now := time.Now()
		a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
			if scope != "" && h.Scope != scope {
				return false
			}
			if h.Until.After(now) {
				cleared = append(cleared, AccountHold{a.ID, a.Label, pool.ViewHold(h)})
			}
			return true
		})
		if scope == "" && a.Failure != nil && a.Failure.NextTryAt.After(now) {
			a.Failure.NextTryAt = now.UTC()
		}
		if scope == "" {
			pool.Forgive(a)
		}
		return nil
	})
	return cleared, err
}
