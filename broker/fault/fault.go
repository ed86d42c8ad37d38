// Package fault defines the errors of authferry's library. An error has a code, by which
// scripts tell kinds of failure apart, and what a person needs to continue.
package fault

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Code is a kind of failure. Scripts match on it.
type Code string

// The codes, as they are in the JSON error document.
const (
	NoAccount           Code = "no_account"
	Ambiguous           Code = "ambiguous"
	LabelTaken          Code = "label_taken"
	LoginNeeded         Code = "login_needed"
	LoginFailed         Code = "login_failed"
	AllHeld             Code = "all_held"
	KeystoreLocked      Code = "keystore_locked"
	KeystoreUnavailable Code = "keystore_unavailable"
	KeystoreDenied      Code = "keystore_denied"
	KeystoreTimeout     Code = "keystore_timeout"
	KeystoreMismatch    Code = "keystore_mismatch"
	SecretTooBig        Code = "secret_too_big"
	LockTimeout         Code = "lock_timeout"
	RegistrationRefused Code = "registration_refused" // an authorization server refused to register authferry as a client
	WrongResource       Code = "wrong_resource"       // a remote MCP server's metadata is for another resource
	InsufficientScope   Code = "insufficient_scope"   // a login with more scopes would help
	ProviderUnreachable Code = "provider_unreachable"
	ProviderRefused     Code = "provider_refused"
	Fenced              Code = "fenced"
	EngineUnreachable   Code = "engine_unreachable"  // the engine of a shared pool
	EngineRestored      Code = "engine_restored"     // it has forgotten something: a backup was restored
	WaitingForMachine   Code = "waiting_for_machine" // which may have sent the refresh token
	NotAMember          Code = "not_a_member"        // this machine isn't in the shared pool, or isn't any more
	TicketUsed          Code = "ticket_used"         // or it has ended, or was withdrawn
	IndexCorrupt        Code = "index_corrupt"
	IndexTooNew         Code = "index_too_new"
	Usage               Code = "usage"
	Cancelled           Code = "cancelled"
	Internal            Code = "internal"
)

// ForNow reports whether c is trouble with a refresh that may be over later by itself,
// without a login: of the provider, or of the engine of a shared pool.
func (c Code) ForNow() bool {
	switch c {
	case ProviderUnreachable, ProviderRefused, EngineUnreachable, EngineRestored, WaitingForMachine:
		return true
	}
	return false
}

// Error is the error that broker's exported functions return. Message is one line without
// a secret. Next is what a person can do about it, the best first. RetryAt, if it isn't
// zero, is when trying again helps. Err is the cause; may be nil.
type Error struct {
	Code    Code
	Message string
	Next    []Remedy
	RetryAt time.Time
	Err     error

	SomeHeld bool // waiting may help: an account of the pool is held, and no other can be used
	Own      bool // it is trouble of this account only, whatever the code
	Refused  bool // the accounts are held because the API refuses their tokens, not for a limit
}

func (e *Error) Error() string {
	why := e.Err
	if own, ok := why.(*keystore.Error); ok { //nolint:errorlint // it alone, not what is around it
		switch e.Code {
		case KeystoreLocked, KeystoreUnavailable, KeystoreTimeout, SecretTooBig: // which is its cause
			why = own.Err
		}
	}
	// The message has said that already, in words for people.
	if why == nil || errors.Is(why, context.Canceled) || errors.Is(why, context.DeadlineExceeded) {
		return e.Message
	}
	// Windows' messages end with a full stop.
	return e.Message + ": " + strings.TrimSuffix(why.Error(), ".")
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error with a message formatted as by fmt.Sprintf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Try sets e.Next, the best remedy first, and returns e.
func (e *Error) Try(next ...Remedy) *Error {
	e.Next = next
	return e
}

// ItsOwn marks e as trouble of this account only, and returns e.
func (e *Error) ItsOwn() *Error {
	e.Own = true
	return e
}

// Because sets the cause, and returns e.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// CodeOf returns the code of err; Internal if it wraps no *Error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// Quote quotes a name for a message.
func Quote(name string) string { return strconv.Quote(name) }
