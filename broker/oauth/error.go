package oauth

import (
	"errors"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// Class says what a failed request means for the refresh token that it carried.
type Class string

// The classes.
const (
	// Unsent: it failed before the first byte of the body left; unspent.
	Unsent Class = "unsent"
	// Throttled: 429, the server's own 503, or a code to that effect; unspent.
	Throttled Class = "throttled"
	// Unknown: it was sent, and what the server did is not known.
	Unknown Class = "unknown"
	// Dead: invalid_grant or its kin; this refresh token is spent or revoked.
	Dead Class = "dead"
	// Refused: this grant was refused, with a code that isn't known to be final; unspent.
	Refused Class = "refused"
	// Misconfigured: the client or the request was refused; unspent.
	Misconfigured Class = "misconfigured"
	// BadToken: the grant was renewed, but the access token is missing or can't
	// be used.
	BadToken Class = "bad_token"
)

// Error is why a request did not do what it was to do. Its text holds neither a
// secret nor a part of an answer's body.
type Error struct {
	Class      Class
	Status     int           // of the answer; 0: none came
	Code       string        // the answer's error code (RFC 6749 §5.2); may be empty
	RetryAfter time.Duration // what the server asked for, at most 24 h; 0: nothing
	Err        error         // may be nil
}

func (e *Error) Error() string {
	s := "the request failed"
	switch e.Class {
	case Unsent:
		s = "the provider could not be asked"
	case Throttled:
		s = "the provider asks to wait"
	case Unknown:
		s = "the provider gave no usable answer"
	case Dead:
		s = "the provider no longer accepts this login"
	case Refused:
		s = "the provider refused this login"
	case Misconfigured:
		s = "the provider refused the client or the request"
	case BadToken:
		s = "the provider gave no usable access token"
	}
	switch {
	case e.Status != 0 && e.Code != "":
		s += fmt.Sprintf(" (HTTP %d, %s)", e.Status, e.Code)
	case e.Status != 0:
		s += fmt.Sprintf(" (HTTP %d)", e.Status)
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap makes the underlying error reachable.
func (e *Error) Unwrap() error { return e.Err }

// Remedy is what helps where this machine's surroundings are in the way: a proxy, or an
// authority that isn't trusted. False: nothing is known to.
func (e *Error) Remedy() (fault.Remedy, bool) {
	f, ok := errors.AsType[*failure](e.Err)
	if !ok || f.next.Do == "" {
		return fault.Remedy{}, false
	}
	return f.next, true
}
