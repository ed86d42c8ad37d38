package broker

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Used says which account a caller gets, and by what. It is what Token would begin with:
// that an account's token can't be had shows only then.
type Used struct {
	Provider string
	Account  *pool.AccountView // nil: none can be used
	By       pool.By
	BoundAt  string // the directory whose binding it is; pool.ByBinding alone
	// Named: the account was named, not its pool. It is used or nothing is, so it is here
	// even if it is held or disabled.
	Named bool
	Only  bool   // the provider has no other pool
	Pool  string // that was selected
	// Reason is why it isn't the one that was made current; empty: it is, or is Named.
	Reason string
	Err    *fault.Error // why none can be used
}

// Used works out whom s means here. Errors: as from Token, before it asks the keystore.
func (b *Broker) Used(s pool.Selection) (Used, error) {
	idx, err := b.Read()
	if err != nil {
		return Used{}, err
	}
	u := b.used(idx, s)
	if u.Err != nil {
		return u, u.Err
	}
	return u, nil
}

// UsedOfEach is Used for each provider that s allows: for all that have accounts where s
// names nothing, else for the one that it comes to. The providers are sorted. Where no
// account can be used is an entry's Err, and the error if there is no other entry.
func (b *Broker) UsedOfEach(s pool.Selection) ([]Used, error) {
	idx, err := b.Read()
	if err != nil {
		return nil, err
	}
	var providers []string
	if cmp.Or(s.Provider, s.Account, s.Pool, s.EnvAccount, s.EnvPool) == "" {
		for _, name := range idx.PoolsOf("") {
			providers = append(providers, idx.Pools[name].Provider)
		}
		slices.Sort(providers)
		providers = slices.Compact(providers)
	}
	if providers == nil {
		providers = []string{s.Provider}
	}
	var all []Used
	for _, provider := range providers {
		s.Provider = provider
		all = append(all, b.used(idx, s))
	}
	if !slices.ContainsFunc(all, func(u Used) bool { return u.Err == nil }) {
		return nil, all[0].Err
	}
	return all, nil
}

func (b *Broker) used(idx *index.Index, s pool.Selection) Used {
	failed := func(u Used, err error) Used {
		e, ok := errors.AsType[*fault.Error](err)
		if !ok {
			e = fault.Errorf(fault.Internal, "the account can't be found").Because(err)
		}
		u.Err = e
		return u
	}
	sel, err := b.rules().ResolveIn(idx, s)
	if err != nil {
		return failed(Used{Provider: s.Provider}, err)
	}
	u := Used{Provider: idx.Pools[sel.Pool].Provider, By: sel.By, BoundAt: sel.BoundAt, Named: sel.Pinned, Pool: sel.Pool}
	u.Only = len(idx.PoolsOf(u.Provider)) == 1
	now := time.Now()
	sel.Scope, sel.Keys = s.Scope, s.KeysOnly
	c := pool.Choose(idx, b.rules().Everyday(idx, sel), nil, now)
	a := c.Account
	if a == nil && u.Named {
		a = idx.Account(sel.Prefer)
	}
	if a == nil || a.Removing {
		return failed(u, c.Err)
	}
	v := b.rules().View(idx, a, now)
	u.Account = &v
	if !u.Named && idx.Pools[sel.Pool].Current != a.ID {
		u.Reason = c.Reason
	}
	return u
}
