package pool

import (
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

// recently is how long a refresh of another account counts as a sign of an outage.
const recently = time.Minute

// Renewal is what gives a a new login.
func Renewal(a *index.Account) fault.Remedy {
	r := fault.Remedy{Do: fault.Login, Provider: a.Provider, Account: a.Label}
	switch {
	case a.Kind == index.KindAPIKey:
		r.How = fault.APIKey
	case LongLived(a):
		r.How = fault.Token
	}
	return r
}

const (
	// endingSoon is how long before the end of a login a person is told, and
	// tokenEndingSoon likewise for a long-lived token, whose end nobody expects.
	endingSoon      = 3 * 24 * time.Hour
	tokenEndingSoon = 30 * 24 * time.Hour
)

// AtTime is when something ends, in words.
func AtTime(end time.Time) string {
	if end.IsZero() {
		return "at an unknown time"
	}
	return "at " + end.Local().Format(time.DateTime)
}

// EndsSoon returns when a's login ends, if that is so near that a person should know;
// else zero.
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

// BackingOff reports that a's last refresh failed and the next one waits.
func BackingOff(a *index.Account, now time.Time) bool {
	f := a.Failure
	return f != nil && f.NextTryAt.After(now) && f.NextTryAt.Before(now.Add(longestBackOff)) && !f.At.After(now.Add(record.ClockTolerance))
}

// longestBackOff: a later moment was written under a clock that was ahead, and so
// was what comes of a failure that has yet to happen.
const longestBackOff = 25 * time.Hour

// RefusedSource is where a hold is from that no limit is the reason of.
const RefusedSource = "status 401"

// DefaultMinTTL is how long a token is good for at least, unless the caller
// says otherwise.
const DefaultMinTTL = time.Minute

// SeemsOver reports that the access token is over by the wall clock and the index. The
// token's own record may know better: somebody may have set the clock.
func SeemsOver(a *index.Account, now time.Time) bool {
	return !a.ExpiresAt.IsZero() && !a.ExpiresAt.After(now)
}

// Lost is the error for an account whose grant the keystore no longer has.
func Lost(a *index.Account) error {
	return fault.Errorf(fault.LoginNeeded, "the keystore has no login of account %s any more", fault.Quote(a.Label)).
		Try(Renewal(a))
}
