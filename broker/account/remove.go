package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// Removal is the result of Remove.
type Removal struct {
	Account index.Account
	Revoked bool
	Warning string         // why it was not revoked, if that was tried
	Next    []fault.Remedy // what helps with that
}

// Revocation says whether Remove also ends the login at the provider.
type Revocation int

// RevokeOwn doesn't revoke a login that another program's file still has. RevokeAsAsked
// does what an interrupted removal was asked to do.
const (
	RevokeOwn Revocation = iota
	RevokeNever
	RevokeAlways
	RevokeAsAsked
)

func (how Revocation) of(a *index.Account) bool {
	switch how {
	case RevokeAlways:
		return true
	case RevokeOwn:
		return a.Shared == ""
	case RevokeAsAsked:
		return a.Revoke
	}
	return false
}

// unshared refuses to take an account away from the machines that it is shared with before
// they know (package share).
func unshared(a *index.Account) error {
	if a.Share == nil {
		return nil
	}
	return fault.Errorf(fault.Fenced, "account %s is in pool %s, which other machines share, and they don't know; nothing was changed", fault.Quote(a.Label), fault.Quote(a.Pool)).
		Try(fault.Remedy{Do: fault.ShareMembers, Pool: a.Pool}, fault.Remedy{Do: fault.ShareLeave, Pool: a.Pool})
}

// Remove revokes the account's refresh token at the provider, if how says so and the
// provider has an endpoint for it (RFC 7009; a failure is a warning), deletes the secrets,
// and then the entry. If the process dies on the way, the entry stays, marked as being
// removed; Remove or doctor finishes it.
func Remove(ctx context.Context, f *folder.Folder, account string, how Revocation) (*Removal, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	a, err := pool.FindAccount(idx, account, "")
	if err != nil {
		return nil, err
	}
	l, err := f.LockAccount(ctx, a.ID, 0)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	if idx, err = f.Read(); err != nil {
		return nil, err
	}
	if a = idx.Account(a.ID); a == nil {
		return nil, folder.Removed()
	}
	if err := unshared(a); err != nil {
		return nil, err
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return nil, err
	}
	done := &Removal{Account: *a}
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	revoke := how.of(a)
	if revoke && folder.Shared(a, stored.Best) { // whatever index.json says
		return nil, fault.Errorf(fault.Fenced, "account %s is shared with other machines, and would end for all of them; nothing was changed", fault.Quote(a.Label)).
			Try(fault.Remedy{Do: fault.RemoveHere, Account: a.ID}, fault.Remedy{Do: fault.ShareStatus})
	}
	if err := o.ChangeManifest(ctx, func(m *record.Manifest) { m.Bury(a.ID) }); err != nil {
		return nil, err
	}
	if err := f.Update(ctx, index.Durable, func(idx *index.Index) error {
		if t := idx.Account(a.ID); t != nil {
			t.Removing, t.Revoke = true, revoke
		}
		return nil
	}); err != nil {
		return nil, err
	}
	folder.Reached("K19")
	if revoke && stored.Best != nil && !stored.Best.RefreshToken.Empty() && stored.Best.Endpoint.RevocationEndpoint != "" {
		if err := endLogin(ctx, o, stored.Best); err != nil {
			done.Warning = notRevoked(stored.Best, err)
			if e, ok := errors.AsType[*oauth.Error](err); ok {
				if next, ok := e.Remedy(); ok {
					done.Next = []fault.Remedy{next}
				}
			}
		} else {
			done.Revoked = true
		}
	}
	if err := o.DeleteItems(ctx, a.ID); err != nil {
		return nil, err
	}
	if err := o.ChangeManifest(ctx, func(m *record.Manifest) { m.Remove(a.ID) }); err != nil {
		return nil, err
	}
	if err := f.Update(ctx, index.Durable, func(idx *index.Index) error {
		idx.Drop(a.ID)
		return nil
	}); err != nil {
		return nil, err
	}
	if g := stored.Best; revoke && g != nil && g.Service.Registration == oauth.RegistrationDynamic {
		retire(ctx, f, o, g, done)
	}
	return done, nil
}

// notRevoked warns that a login was not revoked, and says where a person can do it.
func notRevoked(g *record.Grant, err error) string {
	where := oauth.HostOf(cmp.Or(g.Endpoint.Issuer, g.Endpoint.TokenEndpoint))
	return fmt.Sprintf("the provider did not revoke the login: %v; it may still be valid: end it in the settings of your account at %s", err, where)
}

func endLogin(ctx context.Context, o *folder.Opened, g *record.Grant) error {
	e, err := o.Store.Endpoint(ctx, g)
	if err != nil {
		return err
	}
	if err := o.Store.CheckRevocation(ctx, g); err != nil {
		return err
	}
	ctx, over := o.Folder.Within(ctx, o.Folder.HTTPTimeout, func() string { return "waiting for the provider to revoke the login" })
	defer over()
	return o.Folder.Client.For(g.Service).Revoke(ctx, e, g.RefreshToken, "refresh_token")
}
