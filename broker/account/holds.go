package account

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// AddHold holds an account by hand, for that long from now. An empty scope is the whole
// account. Errors: NoAccount, Ambiguous, Usage (the scope, or too many holds).
func AddHold(ctx context.Context, f *folder.Folder, account, scope string, d time.Duration) (*pool.AccountHold, error) {
	scope = cmp.Or(scope, pool.HeldForScope)
	if err := pool.CheckScope(scope); err != nil {
		return nil, err
	}
	var added *pool.AccountHold
	err := amend(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		now := time.Now()
		pool.Forget(a, now)
		if len(a.Holds) >= pool.MaxHolds {
			return fault.Errorf(fault.Usage, "account %s has %d holds already", fault.Quote(a.Label), len(a.Holds)).
				Try(fault.Remedy{Do: fault.ClearHolds, Account: pool.Reference(idx, a)})
		}
		pool.RulesOf(f).MoveOn(idx, a, now, func() {
			added = &pool.AccountHold{ID: a.ID, Label: a.Label, HoldView: pool.ViewHold(pool.HoldByHand(a, scope, now.Add(d), now))}
		})
		return nil
	})
	return added, err
}

// ClearHolds removes the holds of an account and returns those that were still running;
// with scope not empty only the one on that scope. Without a scope it also ends the
// back-off of a failed refresh, even if the provider asked for it, and makes a refused
// long-lived token usable again. Errors: NoAccount, Ambiguous.
func ClearHolds(ctx context.Context, f *folder.Folder, account, scope string) ([]pool.AccountHold, error) {
	cleared := []pool.AccountHold{}
	err := amend(ctx, f, account, func(_ *index.Index, a *index.Account) error {
		now := time.Now()
		a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
			if scope != "" && h.Scope != scope {
				return false
			}
			if h.Until.After(now) {
				cleared = append(cleared, pool.AccountHold{ID: a.ID, Label: a.Label, HoldView: pool.ViewHold(h)})
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
