package pool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/humantime"
)

// State is what an account is good for: the first of them that applies.
type State string

// The states. They are derived from the index each time and stored nowhere, so a hold ends
// by itself when its time comes.
const (
	Disabled      State = "disabled"
	NeedsLogin    State = "login_needed"
	Held          State = "held"
	RefreshDue    State = "refresh_due"
	Valid         State = "valid"
	HeldForScope        = "*"
	refreshDueTTL       = DefaultMinTTL
)

// StateOf derives the state of a.
func StateOf(a *index.Account, now time.Time) State {
	switch {
	case a.Disabled:
		return Disabled
	case WantsLogin(a, now):
		return NeedsLogin
	case heldUntil(a, HeldForScope, now).After(now):
		return Held
	case a.Kind == index.KindAPIKey || a.Fingerprint == "":
		return Valid // nothing to refresh
	case a.AccessSlot == "":
		return RefreshDue
	case !a.ExpiresAt.IsZero() && a.ExpiresAt.Sub(now) < refreshDueTTL && !shortLived(a, now):
		return RefreshDue
	}
	return Valid
}

// shortLived reports whether the token has more than half of its lifetime left; then it is
// not due for a refresh, however short that is.
func shortLived(a *index.Account, now time.Time) bool {
	return !a.ObtainedAt.IsZero() && a.ExpiresAt.Sub(now) > a.ExpiresAt.Sub(a.ObtainedAt)/2
}

// WantsLogin reports whether a needs a login: the provider refused the refresh token that
// is stored, or there is none and the access token has expired or was refused for good.
func WantsLogin(a *index.Account, now time.Time) bool {
	if a.Kind == index.KindAPIKey {
		return false
	}
	if a.Fingerprint == "" {
		return a.AccessSlot == "" || RejectedForGood(a) || !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now)
	}
	return a.Dead == a.Fingerprint
}

// Lives reports whether the access token has not expired yet.
func Lives(a *index.Account, now time.Time) bool {
	return a.AccessSlot != "" && (a.ExpiresAt.IsZero() || a.ExpiresAt.After(now))
}

// Refused reports whether the API refused the stored access token and no newer one replaced
// it. A long-lived token is held first, and tried again.
func Refused(a *index.Account) bool {
	if LongLived(a) {
		return RejectedForGood(a)
	}
	return a.RejectedAt.After(a.ObtainedAt) || a.RefusedGeneration > 0 && a.RefusedGeneration == a.Generation
}

// Ready reports whether, by the index, a has a token that needs no refresh first.
func Ready(a *index.Account, now time.Time) bool {
	return a.Kind == index.KindAPIKey || Lives(a, now) && !Refused(a)
}

// Passing is an account whose token could not be had, with the reason.
type Passing struct {
	ID  string
	Err error
}

// Passings are those of one caller.
type Passings []Passing

// Of returns why account id was passed over, or nil.
func (p Passings) Of(id string) error {
	for _, x := range p {
		if x.ID == id {
			return x.Err
		}
	}
	return nil
}

// shared reports whether any of them has trouble that others may share.
func (p Passings) shared() bool {
	return slices.ContainsFunc(p, func(x Passing) bool { return !ownTrouble(x.Err) })
}

// ownTrouble tells trouble of one account from trouble that others may share.
//
// Its own: the login is dead, refused by name, or has no refresh token, or the API refuses
// its tokens. Then another account is used, and refreshed if need be. Shared: a throttle,
// an outage, a refused client, a lock. Then another one is used only with the token that it
// has already, so that an outage doesn't walk through the pool.
func ownTrouble(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && (e.Code == fault.LoginNeeded || e.Own)
}

// Passable reports whether err is about one account's token, so that another account may
// have one. Errors about the folder, the keystore or the caller are not.
func Passable(err error) bool {
	switch code := fault.CodeOf(err); code {
	case fault.LoginNeeded, fault.LockTimeout, fault.NotAMember:
		return true
	case fault.NoAccount: // removed meanwhile
		return true
	default:
		if code.ForNow() {
			return true
		}
	}
	_, no := errors.AsType[NotStarted](err)
	return no
}

// heldUntil returns the end of lastHold; zero: there is none.
func heldUntil(a *index.Account, scope string, now time.Time) time.Time {
	return lastHold(a, scope, now).Until
}

// lastHold returns the hold on the whole account or on scope that ends last; the zero Hold:
// none is running.
func lastHold(a *index.Account, scope string, now time.Time) (last index.Hold) {
	for _, h := range a.Holds {
		if (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) && h.Until.After(last.Until) {
			last = h
		}
	}
	return last
}

// Choice is the account to use, with the reason in words; or the error why there is none.
type Choice struct {
	Account *index.Account
	Reason  string
	Last    bool // it needs a login or was refused, and no other is free
	AsIs    bool // only with the token that it has already
	Err     error
}

// Choose picks the account to use. Pinned: that account or nothing. Else the preferred or
// current one of the pool while it is free; else the next free one by rank; else one that
// needs a login while its token is still valid. Free accounts under the mark (mark.go) come
// before those that have reached it.
//
// Accounts in passed are not free: this caller could not get their tokens. Whether another
// one may be refreshed in their place depends on their trouble (ownTrouble).
func Choose(idx *index.Index, sel Selected, passed Passings, now time.Time) Choice {
	if sel.Pinned {
		return choosePinned(idx, sel, now)
	}
	members := sel.Members(idx)
	prefer := cmp.Or(sel.Prefer, idx.Pools[sel.Pool].Current)
	asIs := passed.shared()
	var free, last, worn, stuck, held, login []*index.Account
	for _, a := range members {
		why := passed.Of(a.ID)
		switch until := heldUntil(a, sel.Scope, now); {
		case a.Disabled, slices.Contains(sel.Except, a.ID):
		case until.After(now):
			held = append(held, a)
		case fault.CodeOf(why) == fault.LoginNeeded || WantsLogin(a, now):
			login = append(login, a)
			if WantsLogin(a, now) && Lives(a, now) && !Refused(a) {
				last = append(last, a)
			} else if !WantsLogin(a, now) && Lives(a, now) && Refused(a) {
				worn = append(worn, a)
			}
		case why != nil:
			stuck = append(stuck, a)
			if Lives(a, now) && Refused(a) {
				worn = append(worn, a)
			}
		case asIs && !Ready(a, now):
		default:
			free = append(free, a)
		}
	}
	fresh := sel.fresher(free, prefer, now)
	under := ""
	if len(fresh) < len(free) {
		under = fmt.Sprintf(" that has used less than %d%%", sel.switchAt)
	}
	for _, a := range fresh {
		if a.ID == prefer {
			return Choice{Account: a, AsIs: asIs, Reason: "current and free"}
		}
	}
	switch {
	case len(fresh) > 0 && sel.soonest:
		slices.SortStableFunc(fresh, func(x, y *index.Account) int { return compareEnds(windowEnd(x, now), windowEnd(y, now)) })
		return Choice{Account: fresh[0], AsIs: asIs, Reason: sel.InsteadOf(idx.Account(prefer), fresh[0], now) + "the free one whose quota window ends first" + under}
	case len(fresh) > 0:
		return Choice{Account: fresh[0], AsIs: asIs, Reason: sel.InsteadOf(idx.Account(prefer), fresh[0], now) + "the first free one by rank" + under}
	case len(last) > 0:
		return Choice{Account: last[0], Last: true, Reason: "needs a login, but its token is still valid and no other account is free"}
	case len(worn) > 0:
		return Choice{Account: worn[0], Last: true, Reason: "its token was refused, but has not expired, and no other account is free"}
	case len(stuck) > 0:
		return Choice{Err: passed.blocking(stuck, held, sel.Scope, now)}
	case len(held) > 0:
		return Choice{Err: allHeld(sel.Pool, held, login, sel.Scope, now)}
	case len(login) > 0:
		a := login[0]
		return Choice{Err: LoginNeeded(a)}
	case len(members) > 0:
		return Choice{Err: fault.Errorf(fault.NoAccount, "every account of pool %s is disabled", fault.Quote(sel.Pool)).Try(fault.Remedy{Do: fault.Enable, Account: Reference(idx, members[0])})}
	}
	if logins := idx.Members(sel.Pool); len(logins) > 0 {
		return Choice{Err: needsKey(logins[0])}
	}
	return Choice{Err: fault.Errorf(fault.NoAccount, "pool %s has no account", fault.Quote(sel.Pool)).Try(fault.Remedy{Do: fault.ListAccounts})}
}

// blocking is the error where no free account can serve: the first account's trouble, with
// the earliest time at which any of them may help.
func (p Passings) blocking(stuck, held []*index.Account, scope string, now time.Time) error {
	var first *fault.Error
	var soonest time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (soonest.IsZero() || t.Before(soonest)) {
			soonest = t
		}
	}
	for _, x := range p {
		if !slices.ContainsFunc(stuck, func(a *index.Account) bool { return a.ID == x.ID }) {
			continue
		}
		e, ok := errors.AsType[*fault.Error](x.Err)
		if !ok {
			return x.Err
		}
		if first == nil {
			first = e
		}
		earlier(e.RetryAt)
	}
	for _, a := range held {
		earlier(heldUntil(a, scope, now))
	}
	e := *first
	e.RetryAt, e.SomeHeld = soonest, len(held) > 0
	return &e
}

// windowEnd is the end of the first of a's quota windows to end; zero: unknown.
func windowEnd(a *index.Account, now time.Time) time.Time {
	var end time.Time
	for _, u := range a.Usage {
		if u.ResetsAt.After(now) && (end.IsZero() || u.ResetsAt.Before(end)) {
			end = u.ResetsAt
		}
	}
	return end
}

// compareEnds sorts unknown ends last.
func compareEnds(x, y time.Time) int {
	if x.IsZero() != y.IsZero() {
		return y.Compare(x)
	}
	return x.Compare(y)
}

// insteadOf says why a is not free; empty: no reason is known.
func insteadOf(a *index.Account, scope string, now time.Time) string {
	if a.Disabled {
		return fault.Quote(a.Label) + " is disabled; "
	}
	for _, h := range a.Holds {
		if (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) {
			return fault.Quote(a.Label) + " is held: " + ViewHold(h).Why(now) + "; "
		}
	}
	if WantsLogin(a, now) {
		return fault.Quote(a.Label) + " needs a login; "
	}
	return ""
}

func choosePinned(idx *index.Index, sel Selected, now time.Time) Choice {
	a := idx.Account(sel.Prefer)
	switch {
	case a == nil || a.Removing || a.Pool != sel.Pool:
		return Choice{Err: fault.Errorf(fault.NoAccount, "that account is not in pool %s any more", fault.Quote(sel.Pool)).Try(fault.Remedy{Do: fault.ListAccounts})}
	case a.Disabled:
		return Choice{Err: fault.Errorf(fault.NoAccount, "account %s is disabled", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Enable, Account: Reference(idx, a)})}
	case !sel.takes(a):
		return Choice{Err: needsKey(a)}
	case heldUntil(a, sel.Scope, now).After(now):
		h := lastHold(a, sel.Scope, now)
		e := fault.Errorf(fault.AllHeld, "account %s is held until %s (%s)", fault.Quote(a.Label), humantime.At(h.Until, now), ViewHold(h).Reason())
		if IsRefusal(h.Source) {
			e = refused("the API refuses the token of account "+fault.Quote(a.Label)+"; it is tried again", h.Until, now).Try(Renewal(a))
		}
		e.RetryAt, e.Next = h.Until, append(e.Next, fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
		return Choice{Err: e}
	}
	return Choice{Account: a, Reason: "pinned"}
}

// refused is the error for tokens that the API refuses.
func refused(what string, until, now time.Time) *fault.Error {
	e := fault.Errorf(fault.AllHeld, "%s after %s", what, humantime.At(until, now))
	e.Refused = true
	return e
}

func allHeld(pool string, held, login []*index.Account, scope string, now time.Time) error {
	soonest := slices.MinFunc(held, func(x, y *index.Account) int {
		return heldUntil(x, scope, now).Compare(heldUntil(y, scope, now))
	})
	last := lastHold(soonest, scope, now)
	e := fault.Errorf(fault.AllHeld, "no account of pool %s is free before %s (%s: %s)", fault.Quote(pool), humantime.At(last.Until, now), fault.Quote(soonest.Label), ViewHold(last).Reason())
	switch useless := slices.DeleteFunc(slices.Clone(held), func(a *index.Account) bool { return !isRefused(a, scope, now) }); {
	case len(useless) == len(held):
		e = refused(fmt.Sprintf("the API refuses the tokens of pool %s; %s is tried again", fault.Quote(pool), fault.Quote(soonest.Label)), last.Until, now).
			Try(Renewal(soonest))
	default:
		for _, a := range useless {
			if a != soonest {
				e.Message += "; the API refuses the token of " + fault.Quote(a.Label)
			}
			e.Next = append(e.Next, Renewal(a))
		}
	}
	e.RetryAt = last.Until
	for _, a := range login {
		e.Message += "; " + fault.Quote(a.Label) + " needs a login"
		e.Next = append(e.Next, Renewal(a))
	}
	e.Next = append(e.Next, fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
	return e
}

// isRefused reports whether a is held because the API refused its token, and for no limit.
func isRefused(a *index.Account, scope string, now time.Time) bool {
	return !slices.ContainsFunc(a.Holds, func(h index.Hold) bool {
		return (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) && !IsRefusal(h.Source)
	})
}

// needsKey is the error where an API key is needed and a is a login.
func needsKey(a *index.Account) error {
	return fault.Errorf(fault.Fenced, "account %s is a login, and this API of provider %s takes API keys only", fault.Quote(a.Label), a.Provider).
		Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, How: fault.APIKey, Label: "Key"})
}

// LoginNeeded is the error for an account that needs a new login.
func LoginNeeded(a *index.Account) error {
	e := fault.Errorf(fault.LoginNeeded, "account %s needs a new login; the old one ended at the provider", fault.Quote(a.Label))
	switch {
	case a.Kind == index.KindClient:
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new secret or key; the provider refuses the old one", fault.Quote(a.Label))
	case RejectedForGood(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the API refuses the old one", fault.Quote(a.Label))
	case LongLived(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the old one ended %s", fault.Quote(a.Label), AtTime(a.ExpiresAt, time.Now()))
	case a.Fingerprint == "":
		e = fault.Errorf(fault.LoginNeeded, "account %s has no refresh token, so it can't be refreshed", fault.Quote(a.Label))
	}
	return e.Try(Renewal(a))
}

// Outage reports whether one of them failed just now for a reason that others may share.
// Then no background refresh is started either.
func (p Passings) Outage(idx *index.Index, now time.Time) bool {
	return slices.ContainsFunc(p, func(x Passing) bool {
		a := idx.Account(x.ID)
		return !ownTrouble(x.Err) && (a == nil || a.Failure == nil || now.Sub(a.Failure.At).Abs() < recently)
	})
}
