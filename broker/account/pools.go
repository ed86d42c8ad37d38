package account

import (
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
	var renamed *index.Account
	err = amend(ctx, f, account, func(idx *index.Index, a *index.Account) error {
		if slices.ContainsFunc(idx.Labelled(a.Provider, label), func(o *index.Account) bool { return o.ID != a.ID }) {
			return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(label), a.Provider).Try(fault.Remedy{Do: fault.ListAccounts})
		}
		a.Label, renamed = label, a
		return nil
	})
	return renamed, err
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
