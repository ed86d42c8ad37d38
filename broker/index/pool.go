package index

import "slices"

// PoolsOf returns the names of the pools that have accounts, sorted; of one provider, or of
// all if provider is empty.
func (ix *Index) PoolsOf(provider string) []string {
	var names []string
	for _, a := range ix.Accounts {
		if (provider == "" || a.Provider == provider) && !a.Removing {
			names = append(names, a.Pool)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// FindPool finds the pool that a person means by name: the one with exactly that name, or
// the only one that differs just in case. If there is none, a new pool would be called
// name.
func (ix *Index) FindPool(name string) (string, Pool, bool) {
	var alike []string
	for _, n := range ix.PoolsOf("") {
		if n == name {
			return n, ix.Pools[n], true
		}
		if EqualLabel(n, name) {
			alike = append(alike, n)
		}
	}
	if len(alike) != 1 {
		return name, Pool{}, false
	}
	return alike[0], ix.Pools[alike[0]], true
}

// Enlist puts a new account at the end of its pool, whose name may be spelled in another
// case.
func (ix *Index) Enlist(a Account) *Account {
	a.Pool, _, _ = ix.FindPool(a.Pool)
	a.Rank = len(ix.Members(a.Pool)) + 1
	ix.Accounts = append(ix.Accounts, a)
	p := ix.Pools[a.Pool]
	p.Provider = a.Provider
	if ix.Account(p.Current) == nil {
		p.Current = a.ID
	}
	if ix.Pools == nil {
		ix.Pools = map[string]Pool{}
	}
	ix.Pools[a.Pool] = p
	return ix.Account(a.ID)
}

// Drop removes an account's entry. A directory that is bound to it stays bound and gets no
// token, because any other account would be outside of its fence.
func (ix *Index) Drop(id string) {
	a := ix.Account(id)
	if a == nil {
		return
	}
	pool := a.Pool
	ix.Accounts = slices.DeleteFunc(ix.Accounts, func(x Account) bool { return x.ID == id })
	members := ix.Members(pool)
	if len(members) == 0 {
		delete(ix.Pools, pool)
		return
	}
	for i, m := range members {
		m.Rank = i + 1
	}
	if p := ix.Pools[pool]; p.Current == id {
		p.Current = members[0].ID
		ix.Pools[pool] = p
	}
}

// Use makes an account the current one of its pool.
func (ix *Index) Use(a *Account) {
	p := ix.Pools[a.Pool]
	p.Current = a.ID
	if ix.Pools == nil {
		ix.Pools = map[string]Pool{}
	}
	ix.Pools[a.Pool] = p
}
