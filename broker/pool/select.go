package pool

import (
	"cmp"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
)

// Selection is how a caller names an account: by flags, environment and directory. Account
// may be a label, "provider/label" or an id.
type Selection struct {
	Account, Pool, Provider string // --account, --pool, PROVIDER
	EnvAccount, EnvPool     string // AUTHFERRY_ACCOUNT, AUTHFERRY_POOL
	Dir                     string // the working directory, for bindings; empty: none apply
	DirUnknown              bool   // there is one, but it is unknown: a binding may apply
	Scope                   string // --hold-scope; empty: only holds on the whole account count
	KeysOnly                bool   // the API takes API keys, not a login's token
}

// By is what a selection came from.
type By string

// What selections come from. ByDefault is one whose pool nobody named.
const (
	ByFlag        By = "flag"
	ByEnvironment By = "environment"
	ByBinding     By = "binding"
	ByDefault     By = "pool"
)

// Selected is a Selection resolved against an index.
type Selected struct {
	Pool   string
	Prefer string // account id; empty: the pool's current one
	Pinned bool   // Prefer or nothing
	Scope  string
	Keys   bool // API keys only
	// soonest: among free accounts, prefer the one whose quota window ends first over the
	// one that ranks first.
	soonest bool
	// switchAt is the mark: the percentage of a quota window that an account may have used
	// before a fresher one is preferred; 0: there is none.
	switchAt int
	By       By
	BoundAt  string // the directory of the binding; ByBinding only
	Origin   string // where the token will be sent; empty: the caller checks that
	Server   string // the remote MCP server it will be sent to; likewise
	Except   []string
}

// Resolve finds the pool, and the account if one is named, in this order: --account,
// --pool, environment, binding, PROVIDER, the only pool. A pool from a flag or the
// environment is a fence, and a binding is a fence for its own provider. An explicit --pool
// overrides environment and binding.
func (r Rules) Resolve(idx *index.Index, s Selection) (Selected, error) {
	sel, err := r.ResolveIn(idx, s)
	if err != nil {
		return Selected{}, err
	}
	sel.Scope, sel.Keys = s.Scope, s.KeysOnly
	return r.Everyday(idx, sel), nil
}

// Everyday adds the rules of every selection. The strategy applies. Without failover the
// current account is as good as pinned. Where the provider's API takes API keys only and
// the pool has one, its logins are used only if they are named.
func (r Rules) Everyday(idx *index.Index, sel Selected) Selected {
	sel.soonest, sel.switchAt = r.SoonestReset, r.SwitchAt
	if sel.Pinned {
		return sel
	}
	if r.Failover {
		sel.Keys = sel.Keys || r.KeysServe(idx, sel)
		return sel
	}
	sel.Pinned = true
	if sel.Prefer = idx.Pools[sel.Pool].Current; idx.Account(sel.Prefer) == nil {
		sel.Prefer = ""
		if members := sel.Members(idx); len(members) > 0 {
			sel.Prefer = members[0].ID
		}
	}
	return sel
}

// KeysServe reports whether the pool has both logins and API keys and the API takes only
// keys: the API that the token is for, or, if that isn't known, the provider's.
func (r Rules) KeysServe(idx *index.Index, sel Selected) bool {
	logins, keys := false, false
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; a.Pool == sel.Pool && !a.Removing && !a.Disabled {
			logins, keys = logins || a.Kind != index.KindAPIKey, keys || a.Kind == index.KindAPIKey
		}
	}
	if !logins || !keys { // nearly always; then the providers' data isn't read
		return false
	}
	return r.KeysOnly(idx.Pools[sel.Pool].Provider, sel.Origin)
}

// Members are the accounts that may be handed out, by rank.
func (sel Selected) Members(idx *index.Index) []*index.Account {
	return slices.DeleteFunc(idx.Members(sel.Pool), func(a *index.Account) bool { return !sel.takes(a) })
}

// takes reports whether the kind of a may be used.
func (sel Selected) takes(a *index.Account) bool { return !sel.Keys || a.Kind == index.KindAPIKey }

// ResolveIn is Resolve without the settings, for callers that only need to know the pool.
func (r Rules) ResolveIn(idx *index.Index, s Selection) (Selected, error) {
	fence, account, by := s.Pool, s.Account, ByFlag
	if fence == "" {
		fence, account = s.EnvPool, cmp.Or(account, s.EnvAccount)
		if s.Account == "" {
			by = ByEnvironment
		}
	}
	if account != "" {
		a, err := FindAccount(idx, account, s.Provider)
		if err != nil {
			return Selected{}, err
		}
		if fence != "" && !IsPool(idx, fence, a.Pool) {
			return Selected{}, fault.Errorf(fault.Fenced, "account %s is in pool %s, outside of pool %s", fault.Quote(a.Label), fault.Quote(a.Pool), fault.Quote(fence)).
				Try(fault.Remedy{Do: fault.Again, Account: Reference(idx, a), Pool: a.Pool})
		}
		if s.Pool == "" {
			own, err := r.Bound(idx, s, a.Provider)
			if err != nil {
				return Selected{}, err
			}
			if own != nil && BoundPool(idx, own) != a.Pool {
				return Selected{}, fault.Errorf(fault.Fenced, "this directory is bound to %s for provider %s, and account %s is outside of it", boundTo(idx, own), a.Provider, fault.Quote(a.Label)).
					Try(fault.Remedy{Do: fault.Again, Account: Reference(idx, a), Pool: a.Pool})
			}
		}
		return Selected{Pool: a.Pool, Prefer: a.ID, Pinned: true, By: by}, nil
	}
	if fence != "" {
		name, pool, ok := idx.FindPool(fence)
		if !ok {
			return Selected{}, NoPool(idx, fence)
		}
		if s.Provider != "" && pool.Provider != s.Provider {
			return Selected{}, fault.Errorf(fault.Fenced, "provider %s is outside of pool %s, which is of provider %s", s.Provider, fault.Quote(name), pool.Provider)
		}
		if s.Pool == "" {
			own, err := r.Bound(idx, s, pool.Provider)
			if err != nil {
				return Selected{}, err
			}
			if own != nil && BoundPool(idx, own) != name {
				return Selected{}, fault.Errorf(fault.Fenced, "this directory is bound to %s for provider %s, and AUTHFERRY_POOL says %s", boundTo(idx, own), pool.Provider, fault.Quote(name)).
					Try(fault.Remedy{Do: fault.Again, Pool: name})
			}
		}
		return Selected{Pool: name, By: by}, nil
	}
	bound, err := r.Bound(idx, s, s.Provider)
	if err != nil {
		return Selected{}, err
	}
	if bound != nil {
		if bound.Account == "" {
			if idx.Pools[bound.Pool].Provider != bound.Provider { // it was removed, and its name may belong to another provider by now
				return Selected{}, fault.Errorf(fault.NoAccount, "pool %s, which this directory is bound to, has no account of provider %s any more", fault.Quote(bound.Pool), bound.Provider).
					Try(fault.Remedy{Do: fault.Unbind, Path: bound.Dir})
			}
			return Selected{Pool: bound.Pool, By: ByBinding, BoundAt: bound.Dir}, nil
		}
		if a := idx.Account(bound.Account); a != nil {
			return Selected{Pool: a.Pool, Prefer: a.ID, Pinned: true, By: ByBinding, BoundAt: bound.Dir}, nil
		}
		return Selected{}, fault.Errorf(fault.NoAccount, "the account that this directory is bound to was removed").Try(fault.Remedy{Do: fault.Unbind, Path: bound.Dir})
	}
	pools := idx.PoolsOf(s.Provider)
	switch {
	case len(pools) == 1:
		return Selected{Pool: pools[0], By: ByDefault}, nil
	case len(pools) == 0 && s.Provider == "":
		return Selected{}, fault.Errorf(fault.NoAccount, "there is no account yet").Try(fault.Remedy{Do: fault.Login})
	case len(pools) == 0:
		return Selected{}, fault.Errorf(fault.NoAccount, "there is no account of provider %s", s.Provider).
			Try(append(Called(idx, s.Provider), r.ToLogIn(s.Provider)...)...)
	}
	if own, p, ok := idx.FindPool(s.Provider); s.Provider != "" && ok && p.Provider == s.Provider {
		return Selected{Pool: own, By: ByDefault}, nil
	}
	return Selected{}, fault.Errorf(fault.Ambiguous, "which pool? there are: %s", Names(idx, s.Provider)).Try(OneOf(pools)...)
}

// Leased is the account that a lease names.
func Leased(idx *index.Index, id string) (*index.Account, error) {
	a := idx.Account(id)
	if a == nil || a.Removing {
		return nil, fault.Errorf(fault.NoAccount, "the lease is of an account that doesn't exist here, or no longer").Try(fault.Remedy{Do: fault.ListAccounts})
	}
	return a, nil
}

// ResolveLease is Resolve for a caller that quotes a lease of a. Names in s are looked for
// at a's provider unless s says otherwise, because the token is for that provider's API.
// Where s names nothing and no binding applies, it means a's own pool.
func (r Rules) ResolveLease(idx *index.Index, s Selection, a *index.Account) (Selected, error) {
	named := cmp.Or(s.Account, s.Pool, s.EnvAccount, s.EnvPool) != ""
	s.Provider = cmp.Or(s.Provider, a.Provider)
	if !named && s.Provider == a.Provider {
		switch own, err := r.Bound(idx, s, a.Provider); {
		case err != nil:
			return Selected{}, err
		case own == nil:
			s.Pool = a.Pool
		}
	}
	sel, err := r.Resolve(idx, s)
	if name := cmp.Or(s.Account, s.EnvAccount); fault.CodeOf(err) == fault.NoAccount && name != "" {
		if _, elsewhere := FindAccount(idx, name, ""); elsewhere == nil {
			err = outside(a)
		}
	}
	return sel, err
}

func outside(a *index.Account) error {
	return fault.Errorf(fault.Fenced, "the lease is of account %s, which is outside of the selection", fault.Quote(a.Label))
}

// Narrow keeps the fence of the selection and changes its account to the one that a lease
// names.
func (sel Selected) Narrow(a *index.Account) (Selected, error) {
	if a.Pool != sel.Pool || sel.Pinned && sel.Prefer != a.ID {
		return sel, outside(a)
	}
	sel.Prefer = a.ID
	return sel, nil
}

// IsPool reports whether name, as a person may type it, is that of pool.
func IsPool(idx *index.Index, name, pool string) bool {
	known, _, _ := idx.FindPool(name)
	return known == pool
}

// BoundPool is the pool that bd is bound to.
func BoundPool(idx *index.Index, bd *index.Binding) string {
	if a := idx.Account(bd.Account); a != nil {
		return a.Pool
	}
	return bd.Pool
}

// boundTo describes what bd is bound to, for a message.
func boundTo(idx *index.Index, bd *index.Binding) string {
	if bd.Account != "" && idx.Account(bd.Account) == nil {
		return "an account that was removed"
	}
	return "pool " + fault.Quote(BoundPool(idx, bd))
}

// Bound is the binding for provider that applies where s is.
func (r Rules) Bound(idx *index.Index, s Selection, provider string) (*index.Binding, error) {
	return place.Bound(idx, r.Home, place.At{Dir: s.Dir, Unknown: s.DirUnknown}, provider)
}

// Admits reports whether a may be handed out for sel: it is in the pool, is the pinned one
// if there is one, and is neither disabled nor held (unless the caller is a probe).
func (sel Selected) Admits(a *index.Account, letThrough bool, now time.Time) bool {
	return a != nil && !a.Removing && !a.Disabled && a.Pool == sel.Pool && sel.takes(a) && (!sel.Pinned || a.ID == sel.Prefer) &&
		(letThrough || !heldUntil(a, sel.Scope, now).After(now))
}

// OneOf is the given command once for each pool that it may have meant.
func OneOf(pools []string) (next []fault.Remedy) {
	const most = 3
	for _, poolName := range pools[:min(len(pools), most)] {
		next = append(next, fault.Remedy{Do: fault.Again, Pool: poolName})
	}
	return next
}
