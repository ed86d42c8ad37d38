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

// Used says which account a caller gets, and why. It is the account that Token tries first:
// only Token finds out that its token can't be had.
type Used struct {
	Provider string
	Account  *pool.AccountView // nil: none can be used
	By       pool.By
	BoundAt  string // the directory of the binding; for pool.ByBinding only
	// Named: the account itself was named, not its pool. It is used or none is, so it is
	// returned even if it is held or disabled.
	Named bool
	Only  bool   // the provider has no other pool
	Pool  string // that was selected
	// Reason is why it isn't the current account of its pool; empty: it is, or it is Named.
	Reason string
	Err    *fault.Error // why none can be used
}

// Used resolves which account s means here. Errors: those of Token, up to the keystore.
func (b *Broker) Used(s pool.Selection) (Used, error) {
	idx, err := b.Folder.Read()
	if err != nil {
		return Used{}, err
	}
	u := usedBy(b, idx, s)
	if u.Err != nil {
		return u, u.Err
	}
	return u, nil
}

// UsedOfEach is Used for each provider that s allows, sorted: for all that have accounts if
// s names nothing, else for the one that s means. If a provider has no account that can be
// used, its entry has the error; if there is no other entry, the error is returned.
func (b *Broker) UsedOfEach(s pool.Selection) ([]Used, error) {
	idx, err := b.Folder.Read()
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
		all = append(all, usedBy(b, idx, s))
	}
	if !slices.ContainsFunc(all, func(u Used) bool { return u.Err == nil }) {
		return nil, all[0].Err
	}
	return all, nil
}

func usedBy(b *Broker, idx *index.Index, s pool.Selection) Used {
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
