package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
)

// ErrOtherOrigin is wrapped by the error of a TokenRequest whose Origin is not one to which
// the selected account's tokens may be sent.
var ErrOtherOrigin = errors.New("its tokens are for other hosts")

// towards is s for a caller that will send the token to origin. If neither flags nor
// environment name anything, the records in the keystore say whose tokens may go there; a
// binding still counts for its provider. Several pools of one provider are told apart as if
// the provider had been named; of several providers none is chosen.
func (b *Broker) towards(ctx context.Context, idx *index.Index, s pool.Selection, origin string) (pool.Selection, error) {
	if cmp.Or(s.Account, s.Pool, s.Provider, s.EnvAccount, s.EnvPool) != "" {
		return s, nil
	}
	var pools, providers []string
	tied := false
	for _, poolName := range idx.PoolsOf("") {
		provider := idx.Pools[poolName].Provider
		bound, unknown := b.rules().Bound(idx, s, provider)
		if bound != nil && pool.BoundPool(idx, bound) != poolName {
			continue
		}
		there, err := b.reaches(ctx, idx, b.rules().Everyday(idx, pool.Selected{Pool: poolName, Origin: origin}), origin)
		if err != nil {
			return s, err
		}
		if !there {
			continue
		}
		if unknown != nil {
			return s, unknown
		}
		tied = tied || bound != nil
		pools = append(pools, poolName)
		if !slices.Contains(providers, provider) {
			providers = append(providers, provider)
		}
	}
	switch {
	case len(pools) == 0:
		return s, fault.Errorf(fault.Fenced, "no account is for %s", origin).Because(ErrOtherOrigin)
	case len(providers) > 1:
		return s, fault.Errorf(fault.Ambiguous, "which pool is for %s? there are: %s", origin, pool.Quoted(pools)).Try(pool.OneOf(pools)...)
	case len(pools) == 1 && !tied:
		s.Pool = pools[0]
	default:
		s.Provider = providers[0]
	}
	return s, nil
}

// towardsServer is s for a caller that will send the token to a remote MCP server. The
// index says which account that may be; its record decides.
func towardsServer(idx *index.Index, s pool.Selection, server string) (pool.Selection, error) {
	if cmp.Or(s.Account, s.Pool, s.Provider, s.EnvAccount, s.EnvPool) != "" {
		return s, nil
	}
	var providers []string
	for _, a := range idx.Accounts {
		if !a.Removing && a.Resource != "" && oauth.Covers(a.Resource, server) && !slices.Contains(providers, a.Provider) {
			providers = append(providers, a.Provider)
		}
	}
	switch len(providers) {
	case 0:
		return s, fault.Errorf(fault.Fenced, "no account is for %s", server).Because(ErrOtherOrigin).Try(fault.Remedy{Do: fault.Login, Provider: server})
	case 1:
		s.Provider = providers[0]
		return s, nil
	}
	return s, fault.Errorf(fault.Ambiguous, "which account is for %s? there are logins at: %s", server, pool.Quoted(providers)).Try(fault.Remedy{Do: fault.Again, Account: "ACCOUNT"})
}

// reaches reports whether the account that sel would use, or would if it were free, has
// tokens for origin.
func (b *Broker) reaches(ctx context.Context, idx *index.Index, sel pool.Selected, origin string) (bool, error) {
	a := pool.Choose(idx, sel, nil, time.Now()).Account
	if a == nil {
		a = idx.Account(cmp.Or(sel.Prefer, idx.Pools[sel.Pool].Current))
	}
	if members := idx.Members(sel.Pool); a == nil && len(members) > 0 {
		a = members[0]
	}
	if a == nil {
		return false, nil
	}
	o, err := b.Folder.Open(idx)
	if err != nil {
		return false, err
	}
	if a.Kind != index.KindAPIKey {
		acc, err := b.Folder.Access(ctx, idx, a)
		if acc != nil || err != nil {
			return acc != nil && slices.Contains(acc.Origins, origin), err
		}
	}
	g, err := o.Store.Grant(ctx, a.ID, a.GrantSlot)
	return g != nil && slices.Contains(g.Origins, origin), err
}

// otherOrigin is the error for a token of a that may not be sent to origin.
func otherOrigin(a *index.Account, own []string, origin string) error {
	if len(own) == 0 {
		return fault.Errorf(fault.Fenced, "account %s is not for %s: it may send its token to no host (no --api-origin)", fault.Quote(a.Label), origin).
			Because(ErrOtherOrigin).Try(fault.Remedy{Do: fault.AmendProvider, Provider: a.Provider, Name: "api-origin"}, pool.Renewal(a))
	}
	return fault.Errorf(fault.Fenced, "account %s is not for %s, but for %s", fault.Quote(a.Label), origin, strings.Join(own, ", ")).Because(ErrOtherOrigin)
}

// unlessElsewhere is err, the reason why no token can be had, if the selected tokens are
// for sel.Origin at all; if they aren't, that reason is not the caller's concern.
func (b *Broker) unlessElsewhere(ctx context.Context, idx *index.Index, sel pool.Selected, err error) error {
	if sel.Origin == "" {
		return err
	}
	there, readErr := b.reaches(ctx, idx, sel, sel.Origin)
	if readErr != nil || there {
		return err
	}
	return fault.Errorf(fault.Fenced, "pool %s is not for %s", fault.Quote(sel.Pool), sel.Origin).Because(ErrOtherOrigin)
}

// ErrOtherUser is wrapped by the error of a TokenRequest whose User is no selected account,
// or no account at all.
var ErrOtherUser = errors.New("no account that may be used has this name")

// asUser is s for a caller that names the user, as the user name in a URL does: the account
// with that label, else with that identity, among those that s and its fences allow and
// whose tokens may be sent to origin.
func (b *Broker) asUser(ctx context.Context, idx *index.Index, s pool.Selection, user, origin string) (pool.Selection, error) {
	var pinned string
	if s.Account != "" || s.Pool == "" && s.EnvAccount != "" {
		sel, err := b.rules().Resolve(idx, s)
		if err != nil {
			return s, err
		}
		pinned = sel.Prefer
	}
	for _, called := range []func(*index.Account) bool{
		func(a *index.Account) bool { return a.ID == user || index.EqualLabel(a.Label, user) },
		func(a *index.Account) bool {
			return a.Identity != "" && strings.EqualFold(a.Identity, user) || a.Subject != "" && a.Subject == user
		},
	} {
		var found []*index.Account
		for i := range idx.Accounts {
			a := &idx.Accounts[i]
			if a.Removing || !called(a) || s.Provider != "" && a.Provider != s.Provider || pinned != "" && a.ID != pinned {
				continue
			}
			own := s
			own.Account = a.ID
			_, err := b.rules().Resolve(idx, own)
			if _, unknown := errors.AsType[place.UnknownError](err); fault.CodeOf(err) == fault.Fenced && !unknown {
				continue
			}
			there := origin == ""
			if !there {
				var readErr error
				if there, readErr = b.reaches(ctx, idx, pool.Selected{Pool: a.Pool, Prefer: a.ID, Pinned: true}, origin); readErr != nil {
					return s, readErr
				}
			}
			switch {
			case !there:
			case err != nil:
				return s, err
			default:
				found = append(found, a)
			}
		}
		if len(found) > 1 {
			return s, fault.Errorf(fault.Ambiguous, "which account is %s? there are: %s and %s", fault.Quote(user), fault.Quote(found[0].Provider+"/"+found[0].Label), fault.Quote(found[1].Provider+"/"+found[1].Label)).
				Try(fault.Remedy{Do: fault.Again, Account: pool.Reference(idx, found[0])})
		}
		if len(found) == 1 {
			s.Account = found[0].ID
			return s, nil
		}
	}
	return s, fault.Errorf(fault.Fenced, "no account that may be used here is called %s", fault.Quote(user)).Because(ErrOtherUser)
}
