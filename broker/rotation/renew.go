package rotation

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/humantime"
)

// Wish is one caller's wish for a newer token of an account.
type Wish struct {
	Beyond     int  // rotate unless the stored generation is higher already
	Rejected   bool // the API refused the token of that generation
	Background bool // return at once if another rotator is running

	// Person: a person asks, so a back-off of our own doesn't apply. Now: one that the
	// provider asked for doesn't either, once in forcedEvery. What came after Since, a failure
	// or the other machines' word that the login is dead, is adopted: it happened while this
	// caller waited. Renew takes a zero Since for now.
	Person, Now bool
	Since       time.Time

	again bool // the second request at once after an unknown outcome
}

// forcedEvery is how often a person may force a refresh of an account although the provider
// asked to wait.
const forcedEvery = 30 * time.Second

// setsAside reports whether w ignores the back-off after f.
func (w Wish) setsAside(f *index.Failure) bool {
	return w.again || (w.Now || w.Person && !f.Stated) && !f.At.After(w.Since)
}

// rejectedEvery is how often a refused token may cause a refresh of an account. An API that
// refuses everything must not flood the token endpoint.
const rejectedEvery = 30 * time.Second

// Renew returns once the account's generation is above w.Beyond, or with the reason why it
// is not. Only the holder of the gate starts a rotator; the others wait for the gate and
// adopt the result.
func Renew(ctx context.Context, f *folder.Folder, a *index.Account, w Wish) error {
	if w.Since.IsZero() {
		w.Since = time.Now()
	}
	f.Waiting()
	gate, err := f.Lock(ctx, lock.Gate(a.ID))
	switch {
	case err == nil:
		defer gate.Release()
	case fault.CodeOf(err) != fault.LockTimeout:
		return err
	default:
		// Its holder may be stopped. The gate only saves work: if nobody rotates, go on
		// without it.
		if f.Rotating(a.ID) {
			return err
		}
	}
	// A rotator that was killed is started again once: it recovers from what the first
	// left.
	for try := 0; ; try++ {
		settled, err := settled(ctx, f, a.ID, w)
		if settled || err != nil {
			return err
		}
		report, err := start(ctx, f, a, w)
		if err != nil {
			return err
		}
		if report != nil {
			return report.err()
		}
		if try == 1 {
			return fault.Errorf(fault.Internal, "the refresh of account %s was killed twice", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Refresh, Account: a.ID})
		}
	}
}

// settled reports whether no request is needed (the generation is there) or none is allowed
// (back-off, dead mark), by the index. It is called under the gate, where many callers come
// one by one. The index alone is not believed when it says that a login is needed.
func settled(ctx context.Context, f *folder.Folder, id string, w Wish) (bool, error) {
	idx, err := f.Read()
	if err != nil {
		return false, err
	}
	a, err := folder.Living(idx, id)
	if err != nil {
		return false, err
	}
	if a.Generation > w.Beyond && a.AccessSlot != "" {
		return true, nil
	}
	err = Refusal(a, w, time.Now())
	switch {
	case fault.CodeOf(err) == fault.LoginNeeded && outdated(ctx, f, idx, a, w.Since):
		return false, nil // the rotator brings the index up to date
	case err != nil && w.Rejected && a.Failure == nil && f.Rotating(a.ID):
		return false, nil // left by a killed caller; the next rotator deals with it
	}
	return false, err
}

// outdated reports whether the stored login is not the one that the index takes for dead or
// for one without a refresh token: a renewal was cut off before its commit, or the index
// comes from a backup. So it may be if the account is shared, and the other machines were not
// asked for this caller: one of them may have a new login.
func outdated(ctx context.Context, f *folder.Folder, idx *index.Index, a *index.Account, since time.Time) bool {
	if a.Dead != a.Fingerprint && !pool.RejectedForGood(a) {
		return false
	}
	if s := a.Share; s != nil && (s.SeenAt.Before(since) || s.SeenAt.After(time.Now())) {
		return true
	}
	o, err := f.Open(idx)
	if err != nil {
		return false
	}
	stored, err := o.Grants(ctx, a.ID)
	return err == nil && stored.Best != nil && (stored.Best.Fingerprint() != a.Fingerprint || stored.Best.TokenFingerprint != a.TokenFingerprint)
}

// Revive checks which logins of the selection are outdated, and has the index brought up to
// date until one can be used; that happens even if the refresh then fails. It is called when
// all of them seem dead.
func Revive(ctx context.Context, f *folder.Folder, idx *index.Index, sel pool.Selected) (revived bool) {
	now := time.Now()
	for _, a := range sel.Members(idx) {
		if a.Disabled || !outdated(ctx, f, idx, a, now) {
			continue
		}
		revived = true
		if Renew(ctx, f, a, Wish{Beyond: a.Generation, Since: now}) == nil {
			break
		}
	}
	return revived
}

// Refusal returns the reason why a may not be rotated now, or nil.
func Refusal(a *index.Account, w Wish, now time.Time) error {
	switch {
	case a.Fingerprint == "" || a.Fingerprint == a.Dead:
		return pool.LoginNeeded(a)
	case w.Now && !w.again && now.Sub(a.ForcedAt).Abs() < forcedEvery && !(a.Failure != nil && a.Failure.At.After(w.Since)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: --now sent a refresh %s; the next one waits", fault.Quote(a.Label), humantime.Relative(a.ForcedAt, now))
		e.RetryAt = a.ForcedAt.Add(forcedEvery)
		return e
	case pool.BackingOff(a, now) && !w.setsAside(a.Failure):
		return FailureError(a)
	case w.Rejected && !w.again && now.Sub(a.RejectedAt) < rejectedEvery && a.RejectedAt.Before(now.Add(record.ClockTolerance)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: the API refused two tokens in a row; the next refresh for that reason waits", fault.Quote(a.Label))
		e.RetryAt, e.Own = a.RejectedAt.Add(rejectedEvery), true
		return e
	}
	return nil
}

// Behind starts a rotation that nobody waits for, unless one is running, was started just
// now, or is not allowed. Its failures are not the caller's concern, who has a valid token.
func Behind(f *folder.Folder, a *index.Account) {
	now := time.Now()
	if Refusal(a, Wish{}, now) != nil || a.UnderWay() != nil {
		return
	}
	if n := len(a.Intents); n > 0 && now.Sub(a.Intents[n-1].StartedAt) > recoveryWindow {
		return // the outcome is unknown, and any grace is over: wait until a token is needed
	}
	const justStarted = 2 * time.Second
	h, err := f.Holder(lock.Gate(a.ID))
	if err == nil && h.State == stateBehind && now.Sub(h.StartedAt).Abs() < justStarted {
		return
	}
	gate, err := f.TryLock(lock.Gate(a.ID))
	if err != nil {
		return
	}
	defer gate.Release()
	if f.Rotating(a.ID) {
		return
	}
	gate.SetHolder(stateBehind)
	_ = launch(f, a, Wish{Beyond: a.Generation, Background: true}, nil)
}

// stateBehind is what the holder of the gate is shown to be doing.
const stateBehind = "refreshing in the background"

// Refresh is Renew for a person. It returns the account as it is afterwards.
func Refresh(ctx context.Context, f *folder.Folder, a *index.Account, w Wish) (*index.Account, error) {
	w.Beyond = a.Generation
	err := Renew(ctx, f, a, w)
	idx, readErr := f.Read()
	if readErr != nil {
		return nil, readErr
	}
	after := idx.Account(a.ID)
	if e, ok := errors.AsType[*fault.Error](err); ok && !w.Now && len(e.Next) == 0 && after != nil && after.Failure != nil && after.Failure.Stated {
		e.Next = []fault.Remedy{{Do: fault.RefreshNow, Account: pool.Reference(idx, after)}}
	}
	switch {
	case err != nil:
		return nil, err
	case after == nil:
		return nil, fault.Errorf(fault.NoAccount, "the account was removed meanwhile").Try(fault.Remedy{Do: fault.ListAccounts})
	}
	return after, nil
}
