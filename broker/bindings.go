package broker

import (
	"cmp"
	"slices"
	"strings"
)

// BindingView is a directory that is bound. Label is that of the account that it is bound
// to; empty for a pool, and where that account was removed.
type BindingView struct {
	Dir      string `json:"dir"`
	Provider string `json:"provider"`
	Account  string `json:"account,omitempty"`
	Label    string `json:"label,omitempty"`
	Pool     string `json:"pool,omitempty"`
}

// Bindings returns every directory that is bound, by path and provider.
func (b *Broker) Bindings() ([]BindingView, error) {
	idx, err := b.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	all := []BindingView{}
	for _, bd := range idx.Bindings {
		v := BindingView{Dir: bd.Dir, Provider: bd.Provider, Account: bd.Account, Pool: bd.Pool}
		if a := idx.Account(bd.Account); a != nil {
			v.Label = a.Label
		}
		all = append(all, v)
	}
	slices.SortFunc(all, func(x, y BindingView) int {
		return cmp.Or(strings.Compare(x.Dir, y.Dir), strings.Compare(x.Provider, y.Provider))
	})
	return all, nil
}
