package pool

import (
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// CheckName checks the name of a pool. Error: Usage.
func CheckName(name string) (string, error) {
	name, err := index.CheckLabel(name)
	if err != nil {
		return "", fault.Errorf(fault.Usage, "invalid pool name").Because(err)
	}
	return name, nil
}

// For returns the pool for an account of provider: the one called name, or a new one.
// Error: Fenced for a pool of another provider.
func For(idx *index.Index, name, provider string) (string, error) {
	known, p, ok := idx.FindPool(name)
	if ok && p.Provider != provider {
		return "", fault.Errorf(fault.Fenced, "pool %s belongs to provider %s, and a pool can't mix providers", fault.Quote(known), p.Provider).Try(fault.Remedy{Do: fault.Again, Pool: "POOL"})
	}
	return known, nil
}

// Rank renumbers accounts in their order, from 1.
func Rank(members []*index.Account) []*index.Account {
	for i, m := range members {
		m.Rank = i + 1
	}
	return members
}
