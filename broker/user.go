package broker

import (
	"context"
	"errors"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// ErrOtherUser is wrapped by the error of a TokenRequest whose User is nobody that was
// selected, or nobody here.
var ErrOtherUser = errors.New("no account that may be used is called so")

// asUser is s for a caller that names whose token it wants, as the user name in a URL
// does: the account of that label, else of that identity, among those that s, with
// the fences of environment and directory, allows and whose tokens may go to origin.
func (b *Broker) asUser(ctx context.Context, idx *index.Index, s Selection, user, origin string) (Selection, error) {
	var pinned string
	if s.Account != "" || s.Pool == "" && s.EnvAccount != "" {
		sel, err := b.resolve(idx, s)
		if err != nil {
			return s, err
		}
		pinned = sel.prefer
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
			_, err := b.resolve(idx, own)
			if _, unknown := errors.AsType[placeError](err); fault.CodeOf(err) == fault.Fenced && !unknown {
				continue
			}
			there := origin == ""
			if !there {
				var readErr error
				if there, readErr = b.reaches(ctx, idx, selected{pool: a.Pool, prefer: a.ID, pinned: true}, origin); readErr != nil {
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
			return s, fault.Errorf(fault.Ambiguous, "which account is %s? there are: %s and %s", quote(user), quote(found[0].Provider+"/"+found[0].Label), quote(found[1].Provider+"/"+found[1].Label)).
				Try(fault.Remedy{Do: fault.Again, Account: reference(idx, found[0])})
		}
		if len(found) == 1 {
			s.Account = found[0].ID
			return s, nil
		}
	}
	return s, fault.Errorf(fault.Fenced, "no account that may be used here is called %s", quote(user)).Because(ErrOtherUser)
}
