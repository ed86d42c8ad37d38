package pool

import (
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/humantime"
)

// recently is how long another account's failed refresh counts as a sign of an outage.
const recently = time.Minute

// Renewal is the command that gives a a new login.
func Renewal(a *index.Account) fault.Remedy {
	r := fault.Remedy{Do: fault.Login, Provider: a.Provider, Account: a.Label}
	switch {
	case a.Kind == index.KindAPIKey:
		r.How = fault.APIKey
	case a.Kind == index.KindClient:
		r.How = fault.Client
	case LongLived(a):
		r.How = fault.Token
	}
	return r
}

const (
	// endingSoon is how long before the end of a login people are warned; tokenEndingSoon
	// is the same for a long-lived token, whose end comes as a surprise.
	endingSoon      = 3 * 24 * time.Hour
	tokenEndingSoon = 30 * 24 * time.Hour
)

// AtTime says in words when something ends; a zero end is unknown.
func AtTime(end, now time.Time) string {
	if end.IsZero() {
		return "at an unknown time"
	}
	return "at " + humantime.At(end, now)
}

// EndsSoon returns when a's login ends, if that is soon enough to warn people; else zero.
func EndsSoon(a *index.Account, now time.Time) time.Time {
	end, ahead := a.RefreshExpiresAt, endingSoon
	if LongLived(a) {
		end, ahead = a.ExpiresAt, tokenEndingSoon
	}
	if end.IsZero() || end.After(now.Add(ahead)) || WantsLogin(a, now) {
		return time.Time{}
	}
	return end
}

// BackingOff reports whether a's last refresh failed and the next one has to wait.
func BackingOff(a *index.Account, now time.Time) bool {
	f := a.Failure
	return f != nil && f.NextTryAt.After(now) && f.NextTryAt.Before(now.Add(longestBackOff)) && !f.At.After(now.Add(record.ClockTolerance))
}

// longestBackOff is the longest wait that is believed. A later time, or a failure in the
// future, was written while the clock was ahead, and is ignored.
const longestBackOff = 25 * time.Hour

// The sources of a hold that is not about a limit. The API refused the token: RefusedSource
// if a report's status said so, RejectedSource if a caller of Token did.
const (
	RefusedSource  = "status 401"
	RejectedSource = "rejected"
)

// IsRefusal reports whether a hold with that source is about a token that the API refused,
// and not about a limit.
func IsRefusal(source string) bool { return source == RefusedSource || source == RejectedSource }

// DefaultMinTTL is how long a token is still valid at least, unless the caller says
// otherwise.
const DefaultMinTTL = time.Minute

// SeemsOver reports whether the access token has expired, by the wall clock and the index.
// The token's own record may know better: the clock may have been set.
func SeemsOver(a *index.Account, now time.Time) bool {
	return !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now)
}

// Lost is the error for an account whose grant is gone from the keystore.
func Lost(a *index.Account) error {
	return fault.Errorf(fault.LoginNeeded, "the keystore has no login of account %s any more", fault.Quote(a.Label)).
		Try(Renewal(a))
}
