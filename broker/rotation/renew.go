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
)

// Wish is one caller's wish for a newer token of an account.
type Wish struct {
	Beyond     int  // rotate unless the stored generation is already higher
	Rejected   bool // because the API refused the token of that generation
	Background bool // leave at once if another rotator is at work

	// Person: somebody asks for it, who may always try again: a back-off of our own
	// does not count. Now: nor does one that the provider asked for, once in forcedEvery.
	// A failure after Since is adopted: it came while this one was waited for.
	Person, Now bool
	Since       time.Time
}

// forcedEvery is how often a person may have a refresh of an account sent whatever the
// provider asked for.
const forcedEvery = 30 * time.Second

// setsAside reports that w sets aside the back-off after f.
func (w Wish) setsAside(f *index.Failure) bool {
	return (w.Now || w.Person && !f.Stated) && !f.At.After(w.Since)
}

// rejectedEvery is how often a refused token may force a refresh of an account:
// an API that refuses everything must not become a storm at the token endpoint.
const rejectedEvery = 30 * time.Second

// Renew returns when the account's generation is beyond w.Beyond, or with the
// reason why it is not. Only the process that holds the gate starts a rotator;
// everybody else waits for the gate and adopts what came of it.
func Renew(ctx context.Context, f *folder.Folder, a *index.Account, w Wish) error {
	f.Waiting()
	gate, err := f.Lock(ctx, lock.Gate(a.ID))
	switch {
	case err == nil:
		defer gate.Release()
	case fault.CodeOf(err) != fault.LockTimeout:
		return err
	default:
		// Held by somebody who is stopped, say. The gate only spares work; if
		// nobody rotates, it is in nobody's way.
		if f.Rotating(a.ID) {
			return err
		}
	}
	// A rotator that is killed is started again once: what it left behind is
	// what the next one recovers from.
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

// settled reports that no request is needed (the generation is there) or allowed
// (back-off, dead mark), judged by the index: it is asked under the gate, where a
// herd passes one by one. Only that a login is needed is not taken from the index.
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
	case fault.CodeOf(err) == fault.LoginNeeded && outdated(ctx, f, idx, a):
		return false, nil // the rotator rolls the index forward
	case err != nil && w.Rejected && a.Failure == nil && f.Rotating(a.ID):
		return false, nil // a caller that was killed left it behind; the next rotator waits for it
	}
	return false, err
}

// outdated reports that the login which the index knows to be dead, or to have no
// refresh token, is not the one that is stored: a renewal was cut off before its
// commit, or the index came from a backup.
func outdated(ctx context.Context, f *folder.Folder, idx *index.Index, a *index.Account) bool {
	if a.Dead != a.Fingerprint && !pool.RejectedForGood(a) {
		return false
	}
	o, err := f.Open(idx)
	if err != nil {
		return false
	}
	stored, err := o.Grants(ctx, a.ID)
	return err == nil && stored.Best != nil && (record.Fingerprint(stored.Best.Secret()) != a.Fingerprint || stored.Best.TokenFingerprint != a.TokenFingerprint)
}

// Revive looks whether a login of the selection is outdated, and has that rolled
// forward, which is done even if the refresh then fails. It is asked when all of them
// seem to be dead.
func Revive(ctx context.Context, f *folder.Folder, idx *index.Index, sel pool.Selected) (revived bool) {
	for _, a := range sel.Members(idx) {
		if !a.Disabled && outdated(ctx, f, idx, a) {
			_ = Renew(ctx, f, a, Wish{Beyond: a.Generation})
			return true
		}
	}
	return false
}

// Refusal is the reason why a rotation of a may not be tried now, or nil.
func Refusal(a *index.Account, w Wish, now time.Time) error {
	switch {
	case a.Fingerprint == "" || a.Fingerprint == a.Dead:
		return pool.LoginNeeded(a)
	case w.Now && now.Sub(a.ForcedAt).Abs() < forcedEvery && !(a.Failure != nil && a.Failure.At.After(w.Since)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: --now sent a refresh %v ago; the next one waits", fault.Quote(a.Label), now.Sub(a.ForcedAt).Abs().Round(time.Second))
		e.RetryAt = a.ForcedAt.Add(forcedEvery)
		return e
	case pool.BackingOff(a, now) && !w.setsAside(a.Failure):
		return FailureError(a)
	case w.Rejected && now.Sub(a.RejectedAt) < rejectedEvery && a.RejectedAt.Before(now.Add(record.ClockTolerance)):
		e := fault.Errorf(fault.ProviderRefused, "account %s: the API refused two tokens in a row; the next refresh for that reason waits", fault.Quote(a.Label))
		e.RetryAt, e.Own = a.RejectedAt.Add(rejectedEvery), true
		return e
	}
	return nil
}

// Behind starts a rotation that nobody waits for, unless one is under
// way, was started a moment ago, or is not allowed now. Nothing that goes wrong
// here is the caller's concern: it has a valid token.
func Behind(f *folder.Folder, a *index.Account) {
	now := time.Now()
	if Refusal(a, Wish{}, now) != nil || a.UnderWay() != nil {
		return
	}
	if n := len(a.Intents); n > 0 && now.Sub(a.Intents[n-1].StartedAt) > recoveryWindow {
		return // outcome unknown and past every grace: probe it when it is needed
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
	if cmd, err := process(f, a.ID, Wish{Beyond: a.Generation, Background: true}); err == nil {
		if startDetached(cmd) == nil {
			go func() { _ = cmd.Wait() }()
		}
	}
}

// stateBehind is what the gate's holder says it is doing.
const stateBehind = "refreshing in the background"

// Refresh is Renew for a person, and returns the account as it then is.
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
