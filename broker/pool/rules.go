package pool

import (
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
)

// Rules are what a folder's settings and its providers say about selection.
type Rules struct {
	// Failover: another account of the pool may stand in for the current one.
	Failover bool
	// SoonestReset: among free accounts the one whose quota window ends first, not the
	// one that ranks first.
	SoonestReset bool
	// SwitchAt is the mark, in percent of a quota window, at which a free account that is
	// under it is preferred; 0: there is none.
	SwitchAt int
	// KeysOnly reports that an API takes API keys, and no login's token: the one at
	// origin, or where that is empty the provider's.
	KeysOnly func(provider, origin string) bool
	// ToLogIn is what makes a first account of a provider.
	ToLogIn func(provider string) []fault.Remedy
	// Home is the folder, whose own mount is looked at.
	Home string
}

// RulesOf reads the rules of a folder.
func RulesOf(f *folder.Folder) Rules {
	c := f.Config()
	return Rules{
		Failover: c.Failover, SoonestReset: c.Strategy == folder.SoonestReset, SwitchAt: c.SwitchAt, Home: f.Dir,
		ToLogIn: func(provider string) []fault.Remedy { return toLogIn(f, provider) },
		KeysOnly: func(provider, origin string) bool {
			p, err := f.Provider(provider)
			switch {
			case err != nil:
				return false
			case origin != "":
				return slices.Contains(p.APIKeyOrigins, origin)
			}
			return p.TakesKeysOnly()
		},
	}
}

// Strike takes a 401 to the token of that generation into account. The first one holds
// the account for a moment, as it does an API key; one that comes after that hold ends
// the login. It reports whether there is to be no hold.
func (r Rules) Strike(idx *index.Index, a *index.Account, generation int, now time.Time) (over bool) {
	switch {
	case generation < a.Generation || RejectedForGood(a):
		return true
	case a.RefusedGeneration != a.Generation || heldUntil(a, HeldForScope, now).After(now):
		return false
	}
	r.MoveOn(idx, a, now, func() { a.Dead = a.TokenFingerprint })
	return true
}

// MoveOn makes a change after which a may not be usable, or another one be preferred. If a
// was the one in use, its pool stays with who takes its place, if one is free.
func (r Rules) MoveOn(idx *index.Index, a *index.Account, now time.Time, change func()) {
	used := r.CurrentOf(idx, a.Pool, now).Account
	change()
	p, ok := idx.Pools[a.Pool]
	if !ok || !r.Failover || p.Current != a.ID && (used == nil || used.ID != a.ID) {
		return
	}
	if next := r.CurrentOf(idx, a.Pool, now).Account; next != nil && next.ID != a.ID && !WantsLogin(next, now) {
		r.Heed(a, now)
		r.Heed(idx.Account(p.Current), now)
		p.Current = next.ID
		idx.Pools[a.Pool] = p
	}
}

// CurrentOf is what pool would use now: that is what a person calls current.
func (r Rules) CurrentOf(idx *index.Index, poolName string, now time.Time) Choice {
	return Choose(idx, r.Everyday(idx, Selected{Pool: poolName}), nil, now)
}

// View shows a at the moment now, as part of idx.
func (r Rules) View(idx *index.Index, a *index.Account, now time.Time) AccountView {
	return ViewAccount(a, r.CurrentOf(idx, a.Pool, now).Account, now)
}

// toLogIn is what makes a first account of a provider.
func toLogIn(f *folder.Folder, name string) []fault.Remedy {
	if ps, err := f.Providers(); err == nil {
		if _, known := ps.Get(name); !known {
			return folder.OtherProvider(name)
		}
	}
	return []fault.Remedy{{Do: fault.Login, Provider: name}}
}
