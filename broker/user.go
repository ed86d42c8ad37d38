package broker

import (
	"context"
	"errors"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
)

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
