package rotation

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
)

// Classes of failure, as the index records them.
const (
	classUnsent        = string(oauth.Unsent)
	classUnknown       = string(oauth.Unknown)
	classMisconfigured = string(oauth.Misconfigured)
	classRefused       = string(oauth.Refused)

	// ClassEngine: the engine of a shared pool could not be reached, so nothing was tried.
	ClassEngine = "engine"
)

// EngineFailure records that the engine of a shared pool could not be reached, and when it
// may be tried again.
func EngineFailure(last *index.Failure, now time.Time) *index.Failure {
	f := nextFailure(last, errEngine, now)
	f.Class = ClassEngine
	return f
}

var errEngine = errors.New("the engine of the shared pool can't be reached")

// FailureError makes an error of the recorded failure of a's last rotation.
func FailureError(a *index.Account) *fault.Error {
	code := fault.ProviderRefused
	if a.Failure.Class == classUnsent || a.Failure.Class == classUnknown {
		code = fault.ProviderUnreachable
	}
	if a.Failure.Class == ClassEngine {
		code = fault.EngineUnreachable
	}
	e := fault.Errorf(code, "account %s: %s; the login is kept", fault.Quote(a.Label), a.Failure.Message)
	if a.Failure.Class == classMisconfigured {
		e.Next = []fault.Remedy{{Do: fault.ShowProvider, Provider: a.Provider}}
		if a.Resource != "" { // its authorization server may have forgotten authferry's client
			next := pool.Renewal(a)
			next.Name = "register"
			e.Next = []fault.Remedy{next}
		}
	}
	e.RetryAt, e.Own = a.Failure.NextTryAt, a.Failure.Class == classRefused
	return e
}

// nextFailure records why a rotation failed and when the next one may be tried: after 1, 2,
// 4 … 60 s with full jitter, or when the provider asked for it.
func nextFailure(last *index.Failure, cause error, now time.Time) *index.Failure {
	f := &index.Failure{Count: 1, Message: cause.Error(), At: now.UTC(), Since: now.UTC()}
	if last != nil {
		f.Count = min(max(last.Count, 0), index.MaxCount-1) + 1
		if f.Since = last.Since; f.Since.IsZero() {
			f.Since = last.At
		}
	}
	const longest, shortest = time.Minute, 200 * time.Millisecond
	pause := min(time.Second<<min(f.Count-1, 6), longest)
	pause = max(shortest, time.Duration(rand.Int64N(int64(pause)))) // #nosec G404 -- jitter
	if oe, ok := errors.AsType[*oauth.Error](cause); ok {
		f.Class = string(oe.Class)
		switch {
		case oe.RetryAfter > 0:
			pause, f.Stated = oe.RetryAfter, true
		case oe.Class == oauth.Misconfigured || oe.Class == oauth.Refused:
			pause = longest
		}
	}
	f.NextTryAt = now.Add(pause).UTC()
	return f
}
