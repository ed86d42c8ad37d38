package broker

import (
	"cmp"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
)

// Selection is how a caller says which account: flags, environment and place.
// Account may be a label, "provider/label" or an id.
type Selection struct {
	Account, Pool, Provider string // --account, --pool, PROVIDER
	EnvAccount, EnvPool     string // AUTHFERRY_ACCOUNT, AUTHFERRY_POOL
	Dir                     string // the working directory, for bindings; empty: none apply
	DirUnknown              bool   // there is one, and nobody can tell which: a binding may apply
	Scope                   string // --hold-scope; empty: only holds on the whole account count
	KeysOnly                bool   // the token is for an API that takes API keys, and no login's
}

// selected is a Selection worked out against an index.
type selected struct {
	pool   string
	prefer string // account id; empty: the pool's current
	pinned bool   // prefer or nothing
	scope  string
	keys   bool // API keys only
	// soonest: among free accounts the one whose quota window ends first, not
	// the one that ranks first.
	soonest bool
	origin  string // where the token will be sent; empty: the caller sees to that
	server  string // the remote MCP server that it will be sent to; likewise
	except  []string
}

// resolve finds the pool, and the account if one is named, in the order of the
// contract: --account, --pool, environment, binding, PROVIDER, the only pool.
// A pool from a flag or the environment is a fence, and a binding is one for
// its own provider; an explicit --pool overrides environment and binding.
func (b *Broker) resolve(idx *index.Index, s Selection) (selected, error) {
	sel, err := b.resolveIn(idx, s)
	if err != nil {
		return selected{}, err
	}
	sel.scope, sel.keys = s.Scope, s.KeysOnly
	return b.everyday(idx, sel), nil
}

// everyday adds what holds for every selection: the strategy, without failover the
// current account is as good as pinned, and a login whose provider's API takes no login's
// token is left to those who name it, while the pool has an API key.
func (b *Broker) everyday(idx *index.Index, sel selected) selected {
	c := b.Config()
	sel.soonest = c.Strategy == folder.SoonestReset
	if sel.pinned {
		return sel
	}
	if c.Failover {
		sel.keys = sel.keys || b.keysServe(idx, sel)
		return sel
	}
	sel.pinned = true
	if sel.prefer = idx.Pools[sel.pool].Current; idx.Account(sel.prefer) == nil {
		sel.prefer = ""
		if members := sel.members(idx); len(members) > 0 {
			sel.prefer = members[0].ID
		}
	}
	return sel
}

// keysServe reports that the pool has logins and API keys, and the API takes the keys
// alone: the one that the token is for, or where that isn't known its provider's.
func (b *Broker) keysServe(idx *index.Index, sel selected) bool {
	logins, keys := false, false
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; a.Pool == sel.pool && !a.Removing && !a.Disabled {
			logins, keys = logins || a.Kind != index.KindAPIKey, keys || a.Kind == index.KindAPIKey
		}
	}
	if !logins || !keys { // nearly always, and then the providers' data isn't read
		return false
	}
	p, err := b.Provider(idx.Pools[sel.pool].Provider)
	switch {
	case err != nil:
		return false
	case sel.origin != "":
		return slices.Contains(p.APIKeyOrigins, sel.origin)
	}
	return p.TakesKeysOnly()
}

// members are the accounts that may be handed out, by rank.
func (sel selected) members(idx *index.Index) []*index.Account {
	return slices.DeleteFunc(idx.Members(sel.pool), func(a *index.Account) bool { return !sel.takes(a) })
}

// takes reports that a is of a kind that is of use.
func (sel selected) takes(a *index.Account) bool { return !sel.keys || a.Kind == index.KindAPIKey }

func (b *Broker) resolveIn(idx *index.Index, s Selection) (selected, error) {
	fence, account := s.Pool, s.Account
	if fence == "" {
		fence, account = s.EnvPool, cmp.Or(account, s.EnvAccount)
	}
	if account != "" {
		a, err := FindAccount(idx, account, s.Provider)
		if err != nil {
			return selected{}, err
		}
		if fence != "" && !isPool(idx, fence, a.Pool) {
			return selected{}, fault.Errorf(fault.Fenced, "account %s is in pool %s, outside of pool %s", quote(a.Label), quote(a.Pool), quote(fence)).
				Try(fault.Remedy{Do: fault.Again, Account: reference(idx, a), Pool: a.Pool})
		}
		if s.Pool == "" {
			own, err := b.bound(idx, s, a.Provider)
			if err != nil {
				return selected{}, err
			}
			if own != nil && boundPool(idx, own) != a.Pool {
				return selected{}, fault.Errorf(fault.Fenced, "this directory is bound to %s for provider %s, and account %s is outside of it", boundTo(idx, own), a.Provider, quote(a.Label)).
					Try(fault.Remedy{Do: fault.Again, Account: reference(idx, a), Pool: a.Pool})
			}
		}
		return selected{pool: a.Pool, prefer: a.ID, pinned: true}, nil
	}
	if fence != "" {
		name, pool, ok := idx.FindPool(fence)
		if !ok {
			return selected{}, fault.Errorf(fault.NoAccount, "there is no pool %s; there are: %s", quote(fence), poolNames(idx, ""))
		}
		if s.Provider != "" && pool.Provider != s.Provider {
			return selected{}, fault.Errorf(fault.Fenced, "provider %s is outside of pool %s, which is of provider %s", s.Provider, quote(name), pool.Provider)
		}
		if s.Pool == "" {
			own, err := b.bound(idx, s, pool.Provider)
			if err != nil {
				return selected{}, err
			}
			if own != nil && boundPool(idx, own) != name {
				return selected{}, fault.Errorf(fault.Fenced, "this directory is bound to %s for provider %s, and AUTHFERRY_POOL says %s", boundTo(idx, own), pool.Provider, quote(name)).
					Try(fault.Remedy{Do: fault.Again, Pool: name})
			}
		}
		return selected{pool: name}, nil
	}
	bound, err := b.bound(idx, s, s.Provider)
	if err != nil {
		return selected{}, err
	}
	if bound != nil {
		if bound.Account == "" {
			if idx.Pools[bound.Pool].Provider != bound.Provider { // it ended, and the name may be another provider's by now
				return selected{}, fault.Errorf(fault.NoAccount, "pool %s, which this directory is bound to, has no account of provider %s any more", quote(bound.Pool), bound.Provider).
					Try(fault.Remedy{Do: fault.Unbind, Path: bound.Dir})
			}
			return selected{pool: bound.Pool}, nil
		}
		if a := idx.Account(bound.Account); a != nil {
			return selected{pool: a.Pool, prefer: a.ID, pinned: true}, nil
		}
		return selected{}, fault.Errorf(fault.NoAccount, "the account that this directory is bound to was removed").Try(fault.Remedy{Do: fault.Unbind, Path: bound.Dir})
	}
	pools := idx.PoolsOf(s.Provider)
	switch {
	case len(pools) == 1:
		return selected{pool: pools[0]}, nil
	case len(pools) == 0 && s.Provider == "":
		return selected{}, fault.Errorf(fault.NoAccount, "there is no account yet").Try(fault.Remedy{Do: fault.ListProviders})
	case len(pools) == 0:
		return selected{}, fault.Errorf(fault.NoAccount, "there is no account of provider %s", s.Provider).Try(b.toLogIn(s.Provider)...)
	}
	if own, p, ok := idx.FindPool(s.Provider); s.Provider != "" && ok && p.Provider == s.Provider {
		return selected{pool: own}, nil
	}
	return selected{}, fault.Errorf(fault.Ambiguous, "which pool? there are: %s", poolNames(idx, s.Provider)).Try(oneOf(pools)...)
}

// leased is the account that a lease names.
func leased(idx *index.Index, id string) (*index.Account, error) {
	a := idx.Account(id)
	if a == nil || a.Removing {
		return nil, fault.Errorf(fault.NoAccount, "the lease names an account that is not here (any more)").Try(fault.Remedy{Do: fault.ListAccounts})
	}
	return a, nil
}

// resolveLease is resolve for a caller that quotes a lease of a: unless it asks for
// another, what s names is looked for at a's provider, for whose API the caller wants a
// token; and where s names nothing, and the directory is bound to nothing there, it
// means a's own pool.
func (b *Broker) resolveLease(idx *index.Index, s Selection, a *index.Account) (selected, error) {
	named := cmp.Or(s.Account, s.Pool, s.EnvAccount, s.EnvPool) != ""
	s.Provider = cmp.Or(s.Provider, a.Provider)
	if !named && s.Provider == a.Provider {
		switch own, err := b.bound(idx, s, a.Provider); {
		case err != nil:
			return selected{}, err
		case own == nil:
			s.Pool = a.Pool
		}
	}
	sel, err := b.resolve(idx, s)
	if name := cmp.Or(s.Account, s.EnvAccount); fault.CodeOf(err) == fault.NoAccount && name != "" {
		if _, elsewhere := FindAccount(idx, name, ""); elsewhere == nil {
			err = outside(a)
		}
	}
	return sel, err
}

func outside(a *index.Account) error {
	return fault.Errorf(fault.Fenced, "the lease is of account %s, outside of what was selected", quote(a.Label))
}

// narrow keeps the selection's fence and turns to one account in it: the one
// that a lease names.
func (sel selected) narrow(a *index.Account) (selected, error) {
	if a.Pool != sel.pool || sel.pinned && sel.prefer != a.ID {
		return sel, outside(a)
	}
	sel.prefer = a.ID
	return sel, nil
}

// FindAccount finds an account by label, "provider/label" or id; provider, if
// not empty, is the only one to look at. Errors: NoAccount, Ambiguous.
func FindAccount(idx *index.Index, name, provider string) (*index.Account, error) {
	if index.ValidID(name) {
		if a := idx.Account(name); a != nil && (provider == "" || a.Provider == provider) {
			return a, nil
		}
		return nil, fault.Errorf(fault.NoAccount, "there is no account %s", name).Try(fault.Remedy{Do: fault.ListAccounts})
	}
	label := name
	if p, l, ok := strings.Cut(name, "/"); ok {
		if provider != "" && p != provider {
			return nil, fault.Errorf(fault.NoAccount, "account %s is not of provider %s", quote(name), provider)
		}
		provider, label = p, l
	}
	var found []*index.Account
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; (provider == "" || a.Provider == provider) && index.EqualLabel(a.Label, label) {
			found = append(found, a)
		}
	}
	switch len(found) {
	case 1:
		return found[0], nil
	case 0:
		if len(idx.Accounts) == 0 {
			return nil, fault.Errorf(fault.NoAccount, "there is no account yet").Try(fault.Remedy{Do: fault.ListProviders})
		}
		return nil, fault.Errorf(fault.NoAccount, "there is no account %s; there are: %s", quote(name), labels(idx, provider))
	}
	var names []string
	for _, a := range found {
		names = append(names, quote(a.Provider+"/"+a.Label))
	}
	return nil, fault.Errorf(fault.Ambiguous, "account %s exists at several providers: %s", quote(name), strings.Join(names, ", "))
}

// reference names a for a command: by its label, unless FindAccount would need more.
func reference(idx *index.Index, a *index.Account) string {
	for _, name := range []string{a.Label, a.Provider + "/" + a.Label} {
		if found, err := FindAccount(idx, name, ""); err == nil && found.ID == a.ID {
			return name
		}
	}
	return a.ID
}

func labels(idx *index.Index, provider string) string {
	var names []string
	for _, a := range idx.Accounts {
		if provider == "" || a.Provider == provider {
			names = append(names, quote(a.Label))
		}
	}
	if names == nil {
		return "none at " + provider
	}
	return strings.Join(names, ", ")
}

func poolNames(idx *index.Index, provider string) string { return quoted(idx.PoolsOf(provider)) }

func quoted(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var words []string
	for _, n := range names {
		words = append(words, quote(n))
	}
	return strings.Join(words, ", ")
}

// isPool reports that who says name means pool.
func isPool(idx *index.Index, name, pool string) bool {
	known, _, _ := idx.FindPool(name)
	return known == pool
}

func boundPool(idx *index.Index, bd *index.Binding) string {
	if a := idx.Account(bd.Account); a != nil {
		return a.Pool
	}
	return bd.Pool
}

// boundTo names what bd is to, for a message.
func boundTo(idx *index.Index, bd *index.Binding) string {
	if bd.Account != "" && idx.Account(bd.Account) == nil {
		return "an account that was removed"
	}
	return "pool " + quote(boundPool(idx, bd))
}
