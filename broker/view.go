package broker

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/humantime"
)

// PoolView is one pool with its accounts in rank order.
type PoolView struct {
	Name     string             `json:"name"`
	Provider string             `json:"provider"`
	Current  string             `json:"current,omitempty"` // the id of the account that is used now
	Reason   string             `json:"reason"`            // why that one, or why none
	RetryAt  time.Time          `json:"retry_at,omitzero"` // when one is free
	Probe    *ProbeView         `json:"probe,omitempty"`   // set while one caller in 15 minutes is let through
	Accounts []pool.AccountView `json:"accounts"`
}

// ProbeView says to which account the first request from then on is let through although
// it is held.
type ProbeView struct {
	Account string    `json:"account"` // its id
	At      time.Time `json:"at"`
}

// StatusView answers "what is my auth status?".
type StatusView struct {
	Keystore struct {
		Kind string `json:"kind"`
	} `json:"keystore"`
	Failover bool               `json:"failover"`
	Strategy string             `json:"strategy"`
	SwitchAt int                `json:"switch_at,omitempty"` // percent; 0: off
	Pools    []PoolView         `json:"pools"`
	Bindings []pool.BindingView `json:"bindings"` // by path and provider
	Proxies  []folder.ProxyView `json:"proxies"`  // that are running, the oldest first
}

// List returns every account, by provider, pool and rank. Like Info and Status it accesses
// neither network nor keystore.
func List(f *folder.Folder) ([]pool.AccountView, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	now := time.Now()
	views := []pool.AccountView{}
	parts := pool.ByPool(idx)
	current := map[string]*index.Account{}
	for _, a := range pool.Listed(idx) {
		if _, known := current[a.Pool]; !known {
			current[a.Pool] = pool.RulesOf(f).CurrentOf(parts[a.Pool], a.Pool, now).Account
		}
		views = append(views, pool.ViewAccount(idx, a, current[a.Pool], now))
	}
	return views, nil
}

// Numbered returns the account that has that number in List, counted from 1, at this
// moment. Errors: NoAccount.
func Numbered(f *folder.Folder, n int) (pool.AccountView, error) {
	idx, err := f.Read()
	if err != nil {
		return pool.AccountView{}, err
	}
	all := pool.Listed(idx)
	if n < 1 || n > len(all) {
		return pool.AccountView{}, fault.Errorf(fault.NoAccount, "there is no account number %d; the last one is %d", n, len(all)).Try(fault.Remedy{Do: fault.ListAccounts})
	}
	return pool.RulesOf(f).View(idx, all[n-1], time.Now()), nil
}

// Info returns one account. Errors: NoAccount, Ambiguous.
func Info(f *folder.Folder, account string) (pool.AccountView, error) {
	idx, err := f.Read()
	if err != nil {
		return pool.AccountView{}, err
	}
	a, err := pool.FindAccount(idx, account, "")
	if err != nil {
		return pool.AccountView{}, err
	}
	return pool.RulesOf(f).View(idx, a, time.Now()), nil
}

// ViewOf is the view of an account that a command returned, as of now.
func ViewOf(f *folder.Folder, a *index.Account) pool.AccountView {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		idx = &index.Index{}
	}
	return pool.RulesOf(f).View(idx, a, time.Now())
}

// Status returns every pool with its current account and the reason.
func Status(f *folder.Folder) (*StatusView, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	kind, err := f.Kind(idx)
	if err != nil {
		return nil, err
	}
	c := f.Config()
	s := &StatusView{Failover: c.Failover, Strategy: c.Strategy, SwitchAt: c.SwitchAt, Pools: pools(f, idx), Bindings: pool.ViewBindings(idx), Proxies: folder.Proxies(f)}
	s.Keystore.Kind = string(kind)
	return s, nil
}

// SharedPools returns the pools that this machine shares with others, as it last saw them.
func SharedPools(f *folder.Folder) ([]index.SharedPool, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	return idx.Shares, nil
}

// Pools returns the pools of Status.
func Pools(f *folder.Folder) ([]PoolView, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	return pools(f, idx), nil
}

// pools are those of an index, by provider and name.
func pools(f *folder.Folder, idx *index.Index) []PoolView {
	now, c := time.Now(), f.Config()
	pools := []PoolView{}
	parts := pool.ByPool(idx)
	for _, name := range idx.PoolsOf("") {
		idx := parts[name]
		p := PoolView{Name: name, Provider: idx.Pools[name].Provider, Accounts: []pool.AccountView{}}
		sel := pool.RulesOf(f).Everyday(idx, pool.Selected{Pool: name})
		ch := pool.Choose(idx, sel, nil, now)
		for _, a := range idx.Members(name) {
			p.Accounts = append(p.Accounts, pool.ViewAccount(idx, a, ch.Account, now))
		}
		p.Reason = ch.Reason
		if ch.Account != nil && c.Failover {
			p.Reason = meanwhile(f, idx, name, ch, now)
		}
		for _, a := range idx.Members(name) {
			if ch.Account == nil || a.ID == ch.Account.ID {
				break
			}
			if why := sel.InsteadOf(a, ch.Account, now); why != "" && !strings.HasPrefix(p.Reason, why) {
				p.Reason = why + p.Reason
				break
			}
		}
		if !c.Failover && ch.Account != nil {
			p.Reason = "failover is off, so no other account is used"
		}
		if ch.Account != nil {
			p.Current = ch.Account.ID
		} else if e, ok := errors.AsType[*fault.Error](ch.Err); ok {
			p.Reason, p.RetryAt = e.Message, pool.SecondsUp(e.RetryAt)
			if a, at := pool.NextProbe(idx, sel, now); a != nil {
				p.Probe = &ProbeView{a.ID, pool.SecondsUp(at)}
			}
		}
		pools = append(pools, p)
	}
	slices.SortFunc(pools, func(x, y PoolView) int { return strings.Compare(x.Provider+"\x00"+x.Name, y.Provider+"\x00"+y.Name) })
	return pools
}

// meanwhile is the reason for a pool's current account, and which account serves while its
// token can't be had.
func meanwhile(f *folder.Folder, idx *index.Index, poolName string, ch pool.Choice, now time.Time) string {
	a := ch.Account
	if !pool.BackingOff(a, now) || pool.Ready(a, now) {
		return ch.Reason
	}
	why := fault.Quote(a.Label) + " can't be refreshed until " + humantime.At(a.Failure.NextTryAt, now) + " (" + a.Failure.Message + "); "
	next := pool.Choose(idx, pool.RulesOf(f).Everyday(idx, pool.Selected{Pool: poolName}), pool.Passings{{ID: a.ID, Err: rotation.FailureError(a)}}, now)
	if next.Account == nil || next.Account.ID == a.ID {
		return why + "no other account can serve"
	}
	return why + fault.Quote(next.Account.Label) + " serves meanwhile"
}

// Holds returns every hold that is running, by pool and rank.
func Holds(f *folder.Folder) ([]pool.AccountHold, error) {
	views, err := List(f)
	if err != nil {
		return nil, err
	}
	all := []pool.AccountHold{}
	for _, v := range views {
		for _, h := range v.Holds {
			all = append(all, pool.AccountHold{ID: v.ID, Label: v.Label, HoldView: h})
		}
	}
	return all, nil
}
