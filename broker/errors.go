package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
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
	ProviderUnreachable Code = "provider_unreachable"
	ProviderRefused     Code = "provider_refused"
	Fenced              Code = "fenced"
	IndexCorrupt        Code = "index_corrupt"
	IndexTooNew         Code = "index_too_new"
	Usage               Code = "usage"
	Cancelled           Code = "cancelled"
	Internal            Code = "internal"
)

// Error is what every exported function of this package returns on failure.
// Message is one line without a secret; Hint, where there is one, is the exact
// command to run next; RetryAt, where it is known, is when trying again helps.
type Error struct {
	Code    Code
	Message string
	Hint    string
	RetryAt time.Time
	Err     error

	someHeld bool // waiting may help: an account of the pool is held, and no other can serve
	own      bool // it is the account's own trouble, whatever the code: see ownTrouble
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

func failf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

// itsOwn marks e as the account's own trouble (ownTrouble).
func (e *Error) itsOwn() *Error {
	e.own = true
	return e
}

func (e *Error) because(err error) *Error {
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

// storeError turns an error of the keystore into one that a person can act on.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	var e *Error
	switch {
	case errors.Is(err, keystore.ErrLocked):
		e = failf(KeystoreLocked, "the keychain is locked; nothing was changed").
			hint("%s", unlocking(runtime.GOOS))
	case errors.Is(err, keystore.ErrUnavailable):
		e = failf(KeystoreUnavailable, "no keystore is reachable from this session").
			hint("authferry keystore status shows what was tried; without a keychain: authferry keystore init --key-file PATH")
	case errors.Is(err, context.Canceled):
		e = failf(Cancelled, "interrupted while the keystore was waited for; nothing was lost")
	case errors.Is(err, keystore.ErrTimeout):
		e = failf(KeystoreTimeout, "the keychain did not answer in time; nothing was lost").
			hint("answer its prompt, or give it longer: AUTHFERRY_KEYCHAIN_TIMEOUT=120s")
	case errors.Is(err, keystore.ErrTooBig):
		e = failf(SecretTooBig, "the secret is too big for the keystore")
	case errors.Is(err, keystore.ErrDenied), errors.Is(err, keystore.ErrDamaged), errors.Is(err, keystore.ErrNotFound):
		e = failf(KeystoreDenied, "the keystore refused").hint("authferry keystore status")
	default:
		e = failf(Internal, "the keystore failed")
	}
	return e.because(err)
}

func unlocking(goos string) string {
	if goos == "darwin" {
		return "security unlock-keychain"
	}
	return "unlock your login keyring, then run the command again"
}

// indexError turns an error of the index or of a lock into one to act on.
func indexError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	if owned, ok := errors.AsType[*atomicfile.OwnerError](err); ok {
		return OwnerError(owned, statusIn(owned.Path))
	}
	if lt, ok := errors.AsType[*lock.TimeoutError](err); ok {
		return failf(LockTimeout, "%s; nothing was changed", lt.Error()).hint("run the command again, or wait longer: AUTHFERRY_LOCK_TIMEOUT=2m")
	}
	switch {
	case errors.Is(err, index.ErrGone):
		return failf(LockTimeout, "the folder was moved, deleted or replaced meanwhile").hint("run the command again").because(err)
	case errors.Is(err, index.ErrTooNew):
		return failf(IndexTooNew, "index.json was written by a newer authferry").hint("install the newer version; the file was left as it is").because(err)
	case errors.Is(err, index.ErrCorrupt):
		return failf(IndexCorrupt, "index.json is damaged; it was left as it is, and the logins are still in the keystore").hint("authferry doctor --fix").because(err)
	case errors.Is(err, fs.ErrNotExist):
		return failf(NoAccount, "there is no account yet").hint("authferry login PROVIDER")
	case errors.Is(err, context.Canceled):
		return failf(Cancelled, "interrupted").because(err)
	}
	return failf(Internal, "the index could not be read or changed").because(err)
}
