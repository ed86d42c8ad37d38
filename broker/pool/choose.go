package pool

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// State is what an account is good for, the first that applies.
type State string

// The states. They are derived from the index whenever they are asked for and
// stored nowhere, so that a hold that is over is over by itself.
const (
	Disabled      State = "disabled"
	NeedsLogin    State = "login_needed"
	Held          State = "held"
	RefreshDue    State = "refresh_due"
	Valid         State = "valid"
	HeldForScope        = "*"
	refreshDueTTL       = DefaultMinTTL
)

// StateOf derives a's state.
func StateOf(a *index.Account, now time.Time) State {
	switch {
	case a.Disabled:
		return Disabled
	case WantsLogin(a, now):
		return NeedsLogin
	case heldUntil(a, HeldForScope, now).After(now):
		return Held
	case a.Kind == index.KindAPIKey || a.Fingerprint == "":
		return Valid // there is nothing to be refreshed
	case a.AccessSlot == "":
		return RefreshDue
	case !a.ExpiresAt.IsZero() && a.ExpiresAt.Sub(now) < refreshDueTTL && !shortLived(a, now):
		return RefreshDue
	}
	return Valid
}

// shortLived: a token with more than half of its lifetime left is not due.
func shortLived(a *index.Account, now time.Time) bool {
	return !a.ObtainedAt.IsZero() && a.ExpiresAt.Sub(now) > a.ExpiresAt.Sub(a.ObtainedAt)/2
}

// WantsLogin reports that the provider refused the very refresh token that is stored, or
// there is none and the access token is over or refused for good.
func WantsLogin(a *index.Account, now time.Time) bool {
	if a.Kind == index.KindAPIKey {
		return false
	}
	if a.Fingerprint == "" {
		return a.AccessSlot == "" || RejectedForGood(a) || !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now)
	}
	return a.Dead == a.Fingerprint
}

// Lives reports that the access token is not over yet.
func Lives(a *index.Account, now time.Time) bool {
	return a.AccessSlot != "" && (a.ExpiresAt.IsZero() || a.ExpiresAt.After(now))
}

// Refused reports that the API would not have the access token that is stored, and no newer
// one came of it. A long-lived token is held first, and tried again.
func Refused(a *index.Account) bool {
	if LongLived(a) {
		return RejectedForGood(a)
	}
	return a.RejectedAt.After(a.ObtainedAt) || a.RefusedGeneration > 0 && a.RefusedGeneration == a.Generation
}

// Ready reports that, by the index, a has a token that can be handed out without a refresh.
func Ready(a *index.Account, now time.Time) bool {
	return a.Kind == index.KindAPIKey || Lives(a, now) && !Refused(a)
}

// Passing is an account whose token could not be had, and why.
type Passing struct {
	ID  string
	Err error
}

// Passings are those of one caller.
type Passings []Passing

// Of is why account id was passed over; nil: it was not.
func (p Passings) Of(id string) error {
	for _, x := range p {
		if x.ID == id {
			return x.Err
		}
	}
	return nil
}

// shared reports that one of them had a trouble that is not its own.
func (p Passings) shared() bool {
	return slices.ContainsFunc(p, func(x Passing) bool { return !ownTrouble(x.Err) })
}

// ownTrouble tells the trouble of one account from one that the others may have as
// well. Its own: the login is dead, refused by name, or without a refresh token; or the
// API refuses its tokens. Then another account is used, and refreshed if need be. Not
// its own: a throttle, an outage, a refused client, a lock. Then another one is used only
// with the token that it has: an outage must not walk through the pool.
func ownTrouble(err error) bool {
	e, ok := errors.AsType[*fault.Error](err)
	return ok && (e.Code == fault.LoginNeeded || e.Own)
}

// Passable reports that err is about getting one account's token, so that another
// account may have one; what concerns the folder, the keystore or the caller is not.
func Passable(err error) bool {
	switch fault.CodeOf(err) {
	case fault.LoginNeeded, fault.ProviderRefused, fault.ProviderUnreachable, fault.LockTimeout:
		return true
	case fault.NoAccount: // removed meanwhile
		return true
	}
	_, no := errors.AsType[NotStarted](err)
	return no
}

// heldUntil returns the end of the longest hold on the whole account or on
// scope; a past moment or zero is none.
func heldUntil(a *index.Account, scope string, now time.Time) time.Time {
	var until time.Time
	for _, h := range a.Holds {
		if (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) && h.Until.After(until) {
			until = h.Until
		}
	}
	return until
}

// Choice is the account to use, with the reason in words, or why there is none.
type Choice struct {
	Account *index.Account
	Reason  string
	Last    bool // it needs a login or was refused, and nothing else is free
	AsIs    bool // only with the token that it has
	Err     error
}

// Choose is the whole rule of who gets used. Pinned: that account or nothing.
// Else the preferred or current one of the pool while it is free, else the next
// free one by rank, else one that needs a login while its token still lives. Of the
// free ones, those that are under the mark (mark.go) come before those that reached it.
// Accounts in passed are no longer free: this caller could not have their token.
// What troubles them decides whether another one may be refreshed (OwnTrouble).
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

// blocking is the error where the accounts that are free can't serve: the first of
// their troubles, with the first moment at which any account may be of use.
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

// windowEnd is when the first of a's quota windows ends; zero: none is known.
func windowEnd(a *index.Account, now time.Time) time.Time {
	var end time.Time
	for _, u := range a.Usage {
		if u.ResetsAt.After(now) && (end.IsZero() || u.ResetsAt.Before(end)) {
			end = u.ResetsAt
		}
	}
	return end
}

// compareEnds puts what is not known last.
func compareEnds(x, y time.Time) int {
	if x.IsZero() != y.IsZero() {
		return y.Compare(x)
	}
	return x.Compare(y)
}

// insteadOf says why a is not free.
func insteadOf(a *index.Account, scope string, now time.Time) string {
	if a.Disabled {
		return fault.Quote(a.Label) + " is disabled; "
	}
	for _, h := range a.Holds {
		if (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) {
			return fault.Quote(a.Label) + " is held (" + h.Source + "); "
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
		e := fault.Errorf(fault.AllHeld, "account %s is held until %s", fault.Quote(a.Label), heldUntil(a, sel.Scope, now).Local().Format(time.RFC3339)).
			Try(fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
		e.RetryAt = heldUntil(a, sel.Scope, now)
		return Choice{Err: e}
	}
	return Choice{Account: a, Reason: "pinned"}
}

func allHeld(pool string, held, login []*index.Account, scope string, now time.Time) error {
	soonest := slices.MinFunc(held, func(x, y *index.Account) int {
		return heldUntil(x, scope, now).Compare(heldUntil(y, scope, now))
	})
	until := heldUntil(soonest, scope, now)
	e := fault.Errorf(fault.AllHeld, "no account of pool %s is free before %s (%s)", fault.Quote(pool), until.Local().Format(time.RFC3339), fault.Quote(soonest.Label))
	if !slices.ContainsFunc(held, func(a *index.Account) bool { return spent(a, scope, now) }) {
		e = fault.Errorf(fault.AllHeld, "the API refuses the tokens of pool %s; %s is tried again after %s", fault.Quote(pool), fault.Quote(soonest.Label), until.Local().Format(time.RFC3339)).
			Try(Renewal(soonest))
		e.Refused = true
	}
	e.RetryAt = until
	for _, a := range login {
		e.Message += "; " + fault.Quote(a.Label) + " needs a login"
		e.Next = append(e.Next, Renewal(a))
	}
	e.Next = append(e.Next, fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
	return e
}

// spent: a is held, and not for a token that the API refused.
func spent(a *index.Account, scope string, now time.Time) bool {
	return slices.ContainsFunc(a.Holds, func(h index.Hold) bool {
		return (h.Scope == HeldForScope || h.Scope == scope) && h.Until.After(now) && h.Source != RefusedSource
	})
}

// needsKey is for an account that is none of an API key, where one is wanted.
func needsKey(a *index.Account) error {
	return fault.Errorf(fault.Fenced, "account %s is a login, and this API of provider %s takes API keys only", fault.Quote(a.Label), a.Provider).
		Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, How: fault.APIKey, Label: "Key"})
}

// LoginNeeded is the error for an account that a person has to log in to again.
func LoginNeeded(a *index.Account) error {
	e := fault.Errorf(fault.LoginNeeded, "account %s needs a new login; the old one ended at the provider", fault.Quote(a.Label))
	switch {
	case RejectedForGood(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the API refuses the old one", fault.Quote(a.Label))
	case LongLived(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the old one ended %s", fault.Quote(a.Label), AtTime(a.ExpiresAt))
	case a.Fingerprint == "":
		e = fault.Errorf(fault.LoginNeeded, "account %s has no refresh token, so it can't be refreshed", fault.Quote(a.Label))
	}
	return e.Try(Renewal(a))
}

// Outage reports that one of them failed a moment ago for a reason that others may
// share: then nothing is refreshed behind either.
func (p Passings) Outage(idx *index.Index, now time.Time) bool {
	return slices.ContainsFunc(p, func(x Passing) bool {
		a := idx.Account(x.ID)
		return !ownTrouble(x.Err) && (a == nil || a.Failure == nil || now.Sub(a.Failure.At).Abs() < recently)
	})
}
