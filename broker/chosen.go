package broker

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
)

// Chosen is what a Selection means, before any token is asked for. The zero value means
// every account.
type Chosen struct {
	Provider string
	Pool     string
	Account  string // its id, if one is named
}

// Chosen resolves the selection, without looking at which accounts are free. A selection
// that names nothing leaves everything open. Errors: NoAccount, Ambiguous, Fenced.
func (b *Broker) Chosen(s pool.Selection) (Chosen, error) {
	if s.Account == "" && s.Pool == "" && s.Provider == "" && s.EnvAccount == "" && s.EnvPool == "" {
		return Chosen{}, nil
	}
	idx, err := b.Folder.Read()
	if err != nil {
		return Chosen{}, err
	}
	sel, err := b.rules().ResolveIn(idx, s)
	if err != nil {
		return Chosen{}, err
	}
	c := Chosen{Provider: idx.Pools[sel.Pool].Provider, Pool: sel.Pool}
	if sel.Pinned {
		c.Account = sel.Prefer
	}
	return c, nil
}

// Origins returns the origins to which tokens of the chosen accounts may be sent, sorted,
// as their records in the keystore say. It doesn't access the network.
func (b *Broker) Origins(ctx context.Context, c Chosen) ([]string, error) {
	idx, err := b.Folder.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	if len(idx.Accounts) == 0 {
		return nil, nil
	}
	o, err := b.Folder.Open(idx)
	if err != nil {
		return nil, err
	}
	var origins []string
	for i := range idx.Accounts {
		a := &idx.Accounts[i]
		if a.Removing || !c.includes(a) {
			continue
		}
		stored, err := o.Grants(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if stored.Best != nil {
			origins = append(origins, stored.Best.Origins...)
		}
	}
	slices.Sort(origins)
	return slices.Compact(origins), nil
}

func (c Chosen) includes(a *index.Account) bool {
	if c.Account != "" {
		return a.ID == c.Account
	}
	return c.Pool == "" || a.Pool == c.Pool
}
