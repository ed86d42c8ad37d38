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
	// Unsent: it failed before the first byte of the body was sent; unspent.
	Unsent Class = "unsent"
	// Throttled: 429, the server's own 503, or a code to that effect; unspent.
	Throttled Class = "throttled"
	// Unknown: it was sent, and what the server did is unknown.
	Unknown Class = "unknown"
	// Dead: invalid_grant or an equivalent; this refresh token is spent or revoked.
	Dead Class = "dead"
	// Refused: this grant was refused, with a code that is not known to be final; unspent.
	Refused Class = "refused"
	// Misconfigured: the client or the request was refused; unspent.
	Misconfigured Class = "misconfigured"
	// BadToken: the grant was renewed, but the access token is missing or can't
	// be used.
	BadToken Class = "bad_token"
)

// Error says why a request failed. Its text contains neither a secret nor a part of an
// answer's body.
type Error struct {
	Class      Class
	Status     int           // of the answer; 0: none came
	Code       string        // the answer's error code (RFC 6749 §5.2); may be empty
	RetryAfter time.Duration // the wait that the server asked for, at most 24 h; 0: none
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

// Unwrap returns the underlying error.
func (e *Error) Unwrap() error { return e.Err }

// Remedy says what helps if the cause is on this machine or its network: a proxy, or a CA
// that isn't trusted. False: it isn't, or nothing helps.
func (e *Error) Remedy() (fault.Remedy, bool) {
	f, ok := errors.AsType[*failure](e.Err)
	if !ok || f.next.Do == "" {
		return fault.Remedy{}, false
	}
	return f.next, true
}
