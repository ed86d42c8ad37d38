package account

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
)

// leaveAlone is how long no person is asked again after a login that was not finished.
const leaveAlone = 10 * time.Minute

// What the holder of a login lock is shown to be doing.
const (
	asking     = "waiting for a person to log in"
	turnedDown = "nobody logged in"
)

// Renew has a person renew the login of an account of a remote MCP server, while a program
// runs that nobody watches. If several processes ask for one account at once, one of them
// asks the person; the others wait, and return nil when that is over, whatever the result.
// After a login that was not finished, nobody is asked for some minutes. Scopes are asked
// for in addition.
//
// It only renews, with the authorization server and the client of the existing login: it
// makes no provider, account or registration. Errors: LoginNeeded if that is not enough,
// Fenced for another authorization server, and those of Login.
func Renew(ctx context.Context, f *folder.Folder, provider, name string, scopes []string, who Person) error {
	idx, err := f.Read()
	if err != nil {
		return err
	}
	a, err := pool.FindAccount(idx, name, provider)
	if err != nil {
		return err
	}
	if !LeftAlone(f, a.ID).IsZero() {
		return fault.Errorf(fault.LoginNeeded, "account %s needs a new login, and nobody finished the last one", fault.Quote(a.Label)).Try(pool.Renewal(a))
	}
	l, waited, err := lockLogin(ctx, f, a.ID)
	if err != nil {
		return err
	}
	defer l.Release()
	if idx, err = f.Read(); err != nil {
		return err
	}
	if a, err = folder.Living(idx, a.ID); err != nil {
		return err
	}
	switch {
	case !wantsMore(a, scopes):
		return nil
	case waited:
		l.SetHolder(turnedDown) // the error of whoever asked before
		return nil
	}
	l.SetHolder(asking)
	if err = renew(ctx, f, idx, a, scopes, who); err != nil && ctx.Err() == nil {
		l.SetHolder(turnedDown)
	}
	return err
}

// LeftAlone is until when Renew asks nobody about the account, because the last login that it
// asked for was not finished; zero: it asks.
func LeftAlone(f *folder.Folder, account string) time.Time {
	h, err := f.Holder(lock.Login(account))
	if err != nil || h.State != turnedDown || time.Since(h.StartedAt).Abs() >= leaveAlone {
		return time.Time{}
	}
	return h.StartedAt.Add(leaveAlone)
}

// LoginPatience is how long a renewal waits for the one that another process asks a person
// for.
const LoginPatience = defaultLoginTimeout + time.Minute

// wantsMore reports whether a needs a login: any, or one with more scopes.
func wantsMore(a *index.Account, scopes []string) bool {
	return pool.WantsLogin(a, time.Now()) || slices.ContainsFunc(scopes, func(s string) bool { return !slices.Contains(a.Scopes, s) })
}

// lockLogin takes the lock of asking the person. waited: another process has asked
// meanwhile.
func lockLogin(ctx context.Context, f *folder.Folder, id string) (l *lock.Lock, waited bool, err error) {
	l, err = f.TryLock(lock.Login(id))
	if !errors.Is(err, lock.ErrBusy) {
		return l, false, f.Fault(err)
	}
	ctx, over := f.Within(ctx, LoginPatience, func() string { return "waiting for another authferry's login" })
	defer over()
	l, err = lock.Acquire(ctx, lock.Login(id).In(f.Dir))
	return l, true, f.Fault(err)
}

// renew is Renew under the account's login lock.
func renew(ctx context.Context, f *folder.Folder, idx *index.Index, a *index.Account, scopes []string, who Person) error {
	r, err := FindRemote(ctx, f, RemoteRequest{Provider: a.Provider, Renew: a.ID, Scopes: scopes})
	if err != nil {
		return err
	}
	o, err := f.Open(idx)
	if err != nil {
		return err
	}
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return err
	}
	if stored.Best == nil {
		return pool.Lost(a)
	}
	if issuer := r.Server.Provider.Issuer; issuer != stored.Best.Endpoint.Issuer || r.New || r.Former != "" {
		return fault.Errorf(fault.Fenced, "%s now sends logins to %s, which a person has to agree to; nothing was changed", a.Provider, issuer).Try(pool.Renewal(a))
	}
	_, err = Login(ctx, f, LoginRequest{Provider: r.Provider, Renew: a.ID, Remote: r, Flow: FlowBrowser, KnownClient: true}, who)
	return err
}
