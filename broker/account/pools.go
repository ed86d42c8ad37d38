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

// Use makes an account current in its pool, whatever it has used of its quota. Errors: NoAccount, Ambiguous.
func Use(ctx context.Context, f *folder.Folder, account string) (*index.Account, error) {
	return updated(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		if a.Disabled {
			return fault.Errorf(fault.NoAccount, "account %s is disabled", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Enable, Account: pool.Reference(idx, a)})
		}
		pool.RulesOf(f).Use(idx, a, time.Now())
		return nil
	})
}

// Disable keeps an account from being used; if it is current, its pool moves on. Errors:
// NoAccount, Ambiguous.
func Disable(ctx context.Context, f *folder.Folder, account string) (*index.Account, error) {
	return updated(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		pool.RulesOf(f).MoveOn(idx, a, time.Now(), func() { a.Disabled = true })
		return nil
	})
}

// Enable makes a disabled account usable again. Errors: NoAccount, Ambiguous.
func Enable(ctx context.Context, f *folder.Folder, account string) (*index.Account, error) {
	return updated(ctx, f, account, func(_ *index.Index, a *index.Account) error {
		a.Disabled = false
		return nil
	})
}

// Move puts an account into another pool of its provider, at the end; a pool that doesn't
// exist is made. Errors: NoAccount, Ambiguous, Fenced (a pool of another provider), Usage
// (the name).
func Move(ctx context.Context, f *folder.Folder, account, poolName string) (*index.Account, error) {
	called, err := pool.CheckName(poolName)
	if err != nil {
		return nil, err
	}
	return updated(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		name, err := pool.For(idx, called, a.Provider)
		if err != nil {
			return err
		}
		from := a.Pool
		if from == name {
			return nil
		}
		if err := unshared(a); err != nil {
			return err
		}
		a.Rank = len(idx.Members(name)) + 1
		a.Pool = name
		to := idx.Pools[name]
		to.Provider = a.Provider
		if cur := idx.Account(to.Current); cur == nil || cur.Pool != name {
			to.Current = a.ID
		}
		idx.Pools[name] = to
		left := pool.Rank(idx.Members(from))
		if len(left) == 0 {
			delete(idx.Pools, from)
			return nil
		}
		if p := idx.Pools[from]; p.Current == a.ID {
			p.Current = left[0].ID
			idx.Pools[from] = p
		}
		return nil
	})
}

// Order gives an account the n-th rank of its pool, from 1; a number beyond the end is the
// end. Errors: NoAccount, Ambiguous, Usage.
func Order(ctx context.Context, f *folder.Folder, account string, n int) (*index.Account, error) {
	if n < 1 {
		return nil, fault.Errorf(fault.Usage, "ranks count from 1")
	}
	return updated(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		members := idx.Members(a.Pool)
		others := slices.DeleteFunc(members, func(m *index.Account) bool { return m.ID == a.ID })
		pool.Rank(slices.Insert(others, min(n-1, len(others)), a))
		return nil
	})
}

// updated changes one account's entry and returns the new one.
func updated(ctx context.Context, f *folder.Folder, account string, change func(*index.Index, *index.Account) error) (*index.Account, error) {
	var changed *index.Account
	err := amend(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		changed = a
		if idx.Pools == nil {
			idx.Pools = map[string]index.Pool{}
		}
		return change(idx, a)
	})
	return changed, err
}

// Rename changes the label of an account and nothing else. Errors: NoAccount, Ambiguous,
// LabelTaken, Usage.
func Rename(ctx context.Context, f *folder.Folder, account, label string) (*index.Account, error) {
	label, err := index.CheckLabel(label)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "invalid label").Because(err)
	}
	return updated(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		if slices.ContainsFunc(idx.Labelled(a.Provider, label), func(o *index.Account) bool { return o.ID != a.ID }) {
			return labelTaken(a.Provider, label, fault.Remedy{Do: fault.ListAccounts})
		}
		a.Label = label
		return nil
	})
}

// amend changes one account's entry, found by the name that the user gave.
func amend(ctx context.Context, f *folder.Folder, account string, change func(*index.Index, *index.Account) error) error {
	if _, err := f.Read(); err != nil {
		return err // no folder is made just to find nothing in it
	}
	return f.Update(ctx, index.Durable, func(idx *index.Index) error {
		a, err := pool.FindAccount(idx, account, "")
		if err != nil {
			return err
		}
		return change(idx, a)
	})
}

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
