package pool

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// FindAccount finds an account by label, "provider/label" or id; if provider is not empty,
// only there. A number is refused, because the account that has it changes. Errors:
// NoAccount, Ambiguous, Usage (a number).
//
// An account that may have been meant is in the error's remedies, and never chosen.
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
			return nil, fault.Errorf(fault.NoAccount, "account %s is not of provider %s", fault.Quote(name), provider)
		}
		provider, label = p, l
	}
	var found []*index.Account
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; (provider == "" || a.Provider == provider) && index.EqualLabel(a.Label, label) {
			found = append(found, a)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		var names []string
		for _, a := range found {
			names = append(names, fault.Quote(a.Provider+"/"+a.Label))
		}
		return nil, fault.Errorf(fault.Ambiguous, "account %s exists at several providers: %s", fault.Quote(name), strings.Join(names, ", "))
	case len(idx.Accounts) == 0:
		return nil, fault.Errorf(fault.NoAccount, "there is no account yet").Try(fault.Remedy{Do: fault.Login})
	case IsNumber(label):
		return nil, fault.Errorf(fault.Usage, "an account can't be named by its number here, because numbers change; there are: %s", Labels(idx, provider)).
			Try(fault.Remedy{Do: fault.ListAccounts})
	}
	e := fault.Errorf(fault.NoAccount, "there is no account %s; there are: %s", fault.Quote(name), Labels(idx, provider))
	if a := closest(idx, label, provider); a != nil {
		return nil, e.Try(fault.Remedy{Do: fault.Instead, Account: Reference(idx, a)}, fault.Remedy{Do: fault.ListAccounts})
	}
	if known, p, ok := idx.FindPool(label); ok && (provider == "" || p.Provider == provider) {
		return nil, e.Try(fault.Remedy{Do: fault.Instead, Pool: known}, fault.Remedy{Do: fault.ListAccounts})
	}
	return nil, e
}

// NoPool is the error for a pool that doesn't exist.
func NoPool(idx *index.Index, name string) error {
	e := fault.Errorf(fault.NoAccount, "there is no pool %s; there are: %s", fault.Quote(name), Names(idx, ""))
	if a, err := FindAccount(idx, name, ""); err == nil {
		e = e.Try(fault.Remedy{Do: fault.Instead, Account: Reference(idx, a)}, fault.Remedy{Do: fault.ListAccounts})
	}
	return e
}

// IsNumber tells a number, which can't be a label, from a label.
func IsNumber(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsDigit(r) })
}

// Listed returns the accounts in the order in which people see them numbered, from 1: by
// provider, pool and rank, without those that are being removed.
func Listed(idx *index.Index) (all []*index.Account) {
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; !a.Removing {
			all = append(all, a)
		}
	}
	slices.SortStableFunc(all, func(x, y *index.Account) int {
		return cmp.Or(strings.Compare(x.Provider, y.Provider), strings.Compare(x.Pool, y.Pool), cmp.Compare(x.Rank, y.Rank))
	})
	return all
}

// Called returns the given command once for each account or pool that has the name that the
// caller gave as a provider's.
func Called(idx *index.Index, names ...string) (next []fault.Remedy) {
	for _, name := range names {
		for _, a := range idx.Labelled("", name) {
			next = append(next, fault.Remedy{Do: fault.Again, Provider: a.Provider, Account: a.Label})
		}
		known, p, ok := idx.FindPool(name)
		switch {
		case !ok || name == p.Provider:
		case known == p.Provider:
			next = append(next, fault.Remedy{Do: fault.Again, Provider: known})
		default:
			next = append(next, fault.Remedy{Do: fault.Again, Provider: p.Provider, Pool: known})
		}
	}
	return next
}

// Reference is how a command names a: its label, if FindAccount needs no more.
func Reference(idx *index.Index, a *index.Account) string {
	for _, name := range []string{a.Label, a.Provider + "/" + a.Label} {
		if found, err := FindAccount(idx, name, ""); err == nil && found.ID == a.ID {
			return name
		}
	}
	return a.ID
}

// mostNamed is how many accounts a message names at most.
const mostNamed = 20

// Labels lists the labels of a provider's accounts for a message; of all if provider is
// empty.
func Labels(idx *index.Index, provider string) string {
	var names []string
	for i := range idx.Accounts {
		a := &idx.Accounts[i]
		if provider != "" && a.Provider != provider {
			continue
		}
		name := a.Label
		if provider == "" && len(idx.Labelled("", name)) > 1 {
			name = a.Provider + "/" + name
		}
		names = append(names, fault.Quote(name))
	}
	if names == nil {
		return "none at " + provider
	}
	if more := len(names) - mostNamed; more > 0 {
		names = append(names[:mostNamed], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(names, ", ")
}

// closest is the account whose label was most likely mistyped as label; nil: none is close,
// or two are.
func closest(idx *index.Index, label, provider string) *index.Account {
	given := []rune(strings.ToLower(label))
	limit := min(2, len(given)/3)
	var best []*index.Account
	for i := range idx.Accounts {
		a := &idx.Accounts[i]
		own := []rune(strings.ToLower(a.Label))
		if a.Removing || provider != "" && a.Provider != provider || max(len(given)-len(own), len(own)-len(given)) > limit {
			continue
		}
		switch d := edits(given, own); {
		case d > limit:
		case d < limit || best == nil:
			limit, best = d, []*index.Account{a}
		default:
			best = append(best, a)
		}
	}
	if len(best) != 1 {
		return nil
	}
	return best[0]
}

// edits is how many characters must be inserted, removed, changed, or swapped with the next
// one, to turn x into y (optimal string alignment).
func edits(x, y []rune) int {
	rows := make([][]int, len(x)+1)
	for i := range rows {
		rows[i] = make([]int, len(y)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(x); i++ {
		for j := 1; j <= len(y); j++ {
			cost := 1
			if x[i-1] == y[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && x[i-1] == y[j-2] && x[i-2] == y[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(x)][len(y)]
}

// Names lists the pools of a provider for a message; all pools where provider is empty.
func Names(idx *index.Index, provider string) string { return Quoted(idx.PoolsOf(provider)) }

// Quoted joins names for a message.
func Quoted(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	var words []string
	for _, n := range names {
		words = append(words, fault.Quote(n))
	}
	return strings.Join(words, ", ")
}

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
