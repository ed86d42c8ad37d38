// Package fault is how authferry's library fails: an error with a code that
// scripts match on, and with what a person needs to go on.
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

// Code names a kind of failure; it is what scripts match on.
type Code string

// The codes, as they stand in the JSON error document.
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
	RegistrationRefused Code = "registration_refused" // by a remote MCP server's authorization server
	WrongResource       Code = "wrong_resource"       // a token would be another server's
	InsufficientScope   Code = "insufficient_scope"   // a login for more would do
	ProviderUnreachable Code = "provider_unreachable"
	ProviderRefused     Code = "provider_refused"
	Fenced              Code = "fenced"
	IndexCorrupt        Code = "index_corrupt"
	IndexTooNew         Code = "index_too_new"
	Usage               Code = "usage"
	Cancelled           Code = "cancelled"
	Internal            Code = "internal"
)

// Error is what the exported functions of broker return on failure.
// Message is one line without a secret; Next is what a person can do about it, the best
// first; RetryAt, where it is known, is when trying again helps.
type Error struct {
	Code    Code
	Message string
	Next    []Remedy
	RetryAt time.Time
	Err     error

	SomeHeld bool // waiting may help: an account of the pool is held, and no other can serve
	Own      bool // it is the account's own trouble, whatever the code
	Refused  bool // no limit holds the accounts, but that the API refuses their tokens
}

func (e *Error) Error() string {
	why := e.Err
	if own, ok := why.(*keystore.Error); ok { //nolint:errorlint // it alone, not what is around it
		switch e.Code {
		case KeystoreLocked, KeystoreUnavailable, KeystoreTimeout, SecretTooBig: // which is its cause
			why = own.Err
		}
	}
	// What the message has said already, in words for people.
	if why == nil || errors.Is(why, context.Canceled) || errors.Is(why, context.DeadlineExceeded) {
		return e.Message
	}
	// Windows ends what it says with a full stop.
	return e.Message + ": " + strings.TrimSuffix(why.Error(), ".")
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an Error whose message is made as by fmt.Sprintf.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Try sets what a person can do next, the best first.
func (e *Error) Try(next ...Remedy) *Error {
	e.Next = next
	return e
}

// ItsOwn marks e as the account's own trouble.
func (e *Error) ItsOwn() *Error {
	e.Own = true
	return e
}

// Because sets the cause.
func (e *Error) Because(err error) *Error {
	e.Err = err
	return e
}

// CodeOf returns the code of err, Internal for an error of any other type.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}

// Quote shows a name in a message.
func Quote(name string) string { return strconv.Quote(name) }
