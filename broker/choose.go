package broker

import (
	"cmp"
	"errors"
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
	heldForScope        = "*"
	refreshDueTTL       = DefaultMinTTL
)

// StateOf derives a's state.
func StateOf(a *index.Account, now time.Time) State {
	switch {
	case a.Disabled:
		return Disabled
	case needsLogin(a, now):
		return NeedsLogin
	case heldUntil(a, heldForScope, now).After(now):
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

// needsLogin: the provider refused the very refresh token that is stored, or
// there is none and the access token is over or refused for good.
func needsLogin(a *index.Account, now time.Time) bool {
	if a.Kind == index.KindAPIKey {
		return false
	}
	if a.Fingerprint == "" {
		return a.AccessSlot == "" || rejectedForGood(a) || !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now)
	}
	return a.Dead == a.Fingerprint
}

// lives: the access token is not over yet.
func lives(a *index.Account, now time.Time) bool {
	return a.AccessSlot != "" && (a.ExpiresAt.IsZero() || a.ExpiresAt.After(now))
}

// refused: the API would not have the access token that is stored, and no newer
// one came of it. A long-lived token is held first, and tried again.
func refused(a *index.Account) bool {
	if longLived(a) {
		return rejectedForGood(a)
	}
	return a.RejectedAt.After(a.ObtainedAt) || a.RefusedGeneration > 0 && a.RefusedGeneration == a.Generation
}

// ready: by the index, a has a token that can be handed out without a refresh.
func ready(a *index.Account, now time.Time) bool {
	return a.Kind == index.KindAPIKey || lives(a, now) && !refused(a)
}

// passing is an account whose token could not be had, and why.
type passing struct {
	id  string
	err error
}

type passings []passing

// of is why account id was passed over; nil: it was not.
func (p passings) of(id string) error {
	for _, x := range p {
		if x.id == id {
			return x.err
		}
	}
	return nil
}

// shared reports that one of them had a trouble that is not its own.
func (p passings) shared() bool {
	return slices.ContainsFunc(p, func(x passing) bool { return !ownTrouble(x.err) })
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

// passable reports that err is about getting one account's token, so that another
// account may have one; what concerns the folder, the keystore or the caller is not.
func passable(err error) bool {
	switch fault.CodeOf(err) {
	case fault.LoginNeeded, fault.ProviderRefused, fault.ProviderUnreachable, fault.LockTimeout:
		return true
	case fault.NoAccount: // removed meanwhile
		return true
	}
	_, no := errors.AsType[notStarted](err)
	return no
}

// heldUntil returns the end of the longest hold on the whole account or on
// scope; a past moment or zero is none.
func heldUntil(a *index.Account, scope string, now time.Time) time.Time {
	var until time.Time
	for _, h := range a.Holds {
		if (h.Scope == heldForScope || h.Scope == scope) && h.Until.After(now) && h.Until.After(until) {
			until = h.Until
		}
	}
	return until
}

// choice is the account to use, with the reason in words, or why there is none.
type choice struct {
	account *index.Account
	reason  string
	last    bool // it needs a login or was refused, and nothing else is free
	asIs    bool // only with the token that it has
	err     error
}

// choose is the whole rule of who gets used. Pinned: that account or nothing.
// Else the preferred or current one of the pool while it is free, else the next
// free one by rank, else one that needs a login while its token still lives.
// Accounts in passed are no longer free: this caller could not have their token.
// What troubles them decides whether another one may be refreshed (ownTrouble).
func choose(idx *index.Index, sel selected, passed passings, now time.Time) choice {
	if sel.pinned {
		return choosePinned(idx, sel, now)
	}
	members := sel.members(idx)
	prefer := cmp.Or(sel.prefer, idx.Pools[sel.pool].Current)
	asIs := passed.shared()
	var free, last, worn, stuck, held, login []*index.Account
	for _, a := range members {
		why := passed.of(a.ID)
		switch until := heldUntil(a, sel.scope, now); {
		case a.Disabled, slices.Contains(sel.except, a.ID):
		case until.After(now):
			held = append(held, a)
		case fault.CodeOf(why) == fault.LoginNeeded || needsLogin(a, now):
			login = append(login, a)
			if needsLogin(a, now) && lives(a, now) && !refused(a) {
				last = append(last, a)
			} else if !needsLogin(a, now) && lives(a, now) && refused(a) {
				worn = append(worn, a)
			}
		case why != nil:
			stuck = append(stuck, a)
			if lives(a, now) && refused(a) {
				worn = append(worn, a)
			}
		case asIs && !ready(a, now):
		default:
			free = append(free, a)
		}
	}
	for _, a := range free {
		if a.ID == prefer {
			return choice{account: a, asIs: asIs, reason: "current and free"}
		}
	}
	switch {
	case len(free) > 0 && sel.soonest:
		slices.SortStableFunc(free, func(x, y *index.Account) int { return compareEnds(windowEnd(x, now), windowEnd(y, now)) })
		return choice{account: free[0], asIs: asIs, reason: insteadOf(idx.Account(prefer), sel.scope, now) + "the free one whose quota window ends first"}
	case len(free) > 0:
		return choice{account: free[0], asIs: asIs, reason: insteadOf(idx.Account(prefer), sel.scope, now) + "the first free one by rank"}
	case len(last) > 0:
		return choice{account: last[0], last: true, reason: "needs a login, but its token still lives and no other account is free"}
	case len(worn) > 0:
		return choice{account: worn[0], last: true, reason: "its token was refused, but it still lives and no other account is free"}
	case len(stuck) > 0:
		return choice{err: passed.blocking(stuck, held, sel.scope, now)}
	case len(held) > 0:
		return choice{err: allHeld(sel.pool, held, login, sel.scope, now)}
	case len(login) > 0:
		a := login[0]
		return choice{err: loginNeeded(a)}
	case len(members) > 0:
		return choice{err: fault.Errorf(fault.NoAccount, "every account of pool %s is disabled", quote(sel.pool)).Try(fault.Remedy{Do: fault.Enable, Account: reference(idx, members[0])})}
	}
	if logins := idx.Members(sel.pool); len(logins) > 0 {
		return choice{err: needsKey(logins[0])}
	}
	return choice{err: fault.Errorf(fault.NoAccount, "pool %s has no account", quote(sel.pool)).Try(fault.Remedy{Do: fault.ListAccounts})}
}

// blocking is the error where the accounts that are free can't serve: the first of
// their troubles, with the first moment at which any account may be of use.
func (p passings) blocking(stuck, held []*index.Account, scope string, now time.Time) error {
	var first *fault.Error
	var soonest time.Time
	earlier := func(t time.Time) {
		if !t.IsZero() && (soonest.IsZero() || t.Before(soonest)) {
			soonest = t
		}
	}
	for _, x := range p {
		if !slices.ContainsFunc(stuck, func(a *index.Account) bool { return a.ID == x.id }) {
			continue
		}
		e, ok := errors.AsType[*fault.Error](x.err)
		if !ok {
			return x.err
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

// insteadOf says why the preferred account is not the one.
func insteadOf(a *index.Account, scope string, now time.Time) string {
	switch {
	case a == nil:
		return ""
	case a.Disabled:
		return quote(a.Label) + " is disabled; "
	}
	for _, h := range a.Holds {
		if (h.Scope == heldForScope || h.Scope == scope) && h.Until.After(now) {
			return quote(a.Label) + " is held (" + h.Source + "); "
		}
	}
	if needsLogin(a, now) {
		return quote(a.Label) + " needs a login; "
	}
	return ""
}

func choosePinned(idx *index.Index, sel selected, now time.Time) choice {
	a := idx.Account(sel.prefer)
	switch {
	case a == nil || a.Removing || a.Pool != sel.pool:
		return choice{err: fault.Errorf(fault.NoAccount, "that account is not in pool %s any more", quote(sel.pool)).Try(fault.Remedy{Do: fault.ListAccounts})}
	case a.Disabled:
		return choice{err: fault.Errorf(fault.NoAccount, "account %s is disabled", quote(a.Label)).Try(fault.Remedy{Do: fault.Enable, Account: reference(idx, a)})}
	case !sel.takes(a):
		return choice{err: needsKey(a)}
	case heldUntil(a, sel.scope, now).After(now):
		e := fault.Errorf(fault.AllHeld, "account %s is held until %s", quote(a.Label), heldUntil(a, sel.scope, now).Local().Format(time.RFC3339)).
			Try(fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
		e.RetryAt = heldUntil(a, sel.scope, now)
		return choice{err: e}
	}
	return choice{account: a, reason: "pinned"}
}

func allHeld(pool string, held, login []*index.Account, scope string, now time.Time) error {
	soonest := slices.MinFunc(held, func(x, y *index.Account) int {
		return heldUntil(x, scope, now).Compare(heldUntil(y, scope, now))
	})
	until := heldUntil(soonest, scope, now)
	e := fault.Errorf(fault.AllHeld, "no account of pool %s is free before %s (%s)", quote(pool), until.Local().Format(time.RFC3339), quote(soonest.Label))
	if !slices.ContainsFunc(held, func(a *index.Account) bool { return spent(a, scope, now) }) {
		e = fault.Errorf(fault.AllHeld, "the API refuses the tokens of pool %s; %s is tried again after %s", quote(pool), quote(soonest.Label), until.Local().Format(time.RFC3339)).
			Try(Renewal(soonest))
		e.Refused = true
	}
	e.RetryAt = until
	for _, a := range login {
		e.Message += "; " + quote(a.Label) + " needs a login"
		e.Next = append(e.Next, Renewal(a))
	}
	e.Next = append(e.Next, fault.Remedy{Do: fault.Wait}, fault.Remedy{Do: fault.ShowHolds})
	return e
}

// spent: a is held, and not for a token that the API refused.
func spent(a *index.Account, scope string, now time.Time) bool {
	return slices.ContainsFunc(a.Holds, func(h index.Hold) bool {
		return (h.Scope == heldForScope || h.Scope == scope) && h.Until.After(now) && h.Source != refusedSource
	})
}

// needsKey is for an account that is none of an API key, where one is wanted.
func needsKey(a *index.Account) error {
	return fault.Errorf(fault.Fenced, "account %s is a login, and this API of provider %s takes API keys only", quote(a.Label), a.Provider).
		Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, How: fault.APIKey, Label: "Key"})
}

func loginNeeded(a *index.Account) error {
	e := fault.Errorf(fault.LoginNeeded, "account %s needs a new login; the old one ended at the provider", quote(a.Label))
	switch {
	case rejectedForGood(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the API refuses the old one", quote(a.Label))
	case longLived(a):
		e = fault.Errorf(fault.LoginNeeded, "account %s needs a new token; the old one ended %s", quote(a.Label), atTime(a.ExpiresAt))
	case a.Fingerprint == "":
		e = fault.Errorf(fault.LoginNeeded, "account %s has no refresh token, so it can't be refreshed", quote(a.Label))
	}
	return e.Try(Renewal(a))
}
