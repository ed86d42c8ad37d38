package pool

import (
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
)

// Rules are the settings and provider data that matter to a selection.
type Rules struct {
	// Failover: another account of the pool may take the current one's place.
	Failover bool
	// SoonestReset: among free accounts, prefer the one whose quota window ends first over
	// the one that ranks first.
	SoonestReset bool
	// SwitchAt is the mark, in percent of a quota window: an account under it is preferred
	// to one that has reached it; 0: there is none.
	SwitchAt int
	// KeysOnly reports whether an API takes API keys only, not a login's token: the API at
	// origin; where origin is empty, the provider's.
	KeysOnly func(provider, origin string) bool
	// ToLogIn is the command for the first account of a provider.
	ToLogIn func(provider string) []fault.Remedy
	// Home is authferry's own folder, whose mount may be accessed.
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

// Strike records that the API answered 401 to the token of that generation. The first time,
// the account is held for a moment, as an API key is; if it happens again after that hold,
// the login is over. It reports whether no hold is to be added.
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

// MoveOn makes a change after which a may not be usable, or another one is preferred. If a
// was in use, the account that takes its place, if one is free, becomes the current one.
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

// CurrentOf is the account that the pool would use now. People see it as the current one.
func (r Rules) CurrentOf(idx *index.Index, poolName string, now time.Time) Choice {
	return Choose(idx, r.Everyday(idx, Selected{Pool: poolName}), nil, now)
}

// View shows a, which is in idx, as it is at the moment now.
func (r Rules) View(idx *index.Index, a *index.Account, now time.Time) AccountView {
	return ViewAccount(idx, a, r.CurrentOf(idx, a.Pool, now).Account, now)
}

// toLogIn is the command for the first account of a provider.
func toLogIn(f *folder.Folder, name string) []fault.Remedy {
	if ps, err := f.Providers(); err == nil {
		if _, known := ps.Get(name); !known {
			return folder.OtherProvider(name)
		}
	}
	return []fault.Remedy{{Do: fault.Login, Provider: name}}
}
