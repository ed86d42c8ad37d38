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
// Errors: Fenced for a pool of another provider; NotAMember for a shared one that this machine
// only uses.
func For(idx *index.Index, name, provider string) (string, error) {
	known, p, ok := idx.FindPool(name)
	if ok && p.Provider != provider {
		return "", fault.Errorf(fault.Fenced, "pool %s belongs to provider %s, and a pool can't mix providers", fault.Quote(known), p.Provider).Try(fault.Remedy{Do: fault.Again, Pool: "POOL"})
	}
	if s := idx.SharedAs(known); ok && s != nil && s.Role != index.RoleHolder {
		return "", fault.Errorf(fault.NotAMember, "this machine only gets access tokens of the shared pool %s; a machine that holds its logins can change it", fault.Quote(known)).
			Try(fault.Remedy{Do: fault.ShareMembers, Pool: known})
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
