// Package keystore keeps secrets at rest: in the OS keychain (macOS Keychain,
// Windows Credential Manager, Secret Service) or in a folder of sealed age
// files. It knows nothing of OAuth; an item is a name and a value.
//
// Its Go API may change in any release; package broker says what stays stable.
package keystore

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Service is the service name of all authferry's keychain items.
const Service = "authferry"

// MaxSize is the size in bytes of the largest value that a store accepts; for a larger one
// the error is ErrTooBig. It is far above any token, and far below the size that makes a
// keychain slow for other programs.
const MaxSize = 256 << 10

// Kind is the kind of a store, as recorded in the index.
type Kind string

// The two kinds of keystore.
const (
	Keychain Kind = "keychain"
	File     Kind = "file"
)

// Store keeps named secrets. Every method obeys the context's deadline even if the keychain
// itself hangs, and never panics. Implementations are safe for concurrent use. A call that
// has passed its deadline may still be running inside the keychain, so the next call of
// this process waits for it first: a late write must not come after a newer one.
//
// Errors are *Error; match their cause with errors.Is and the Err… values.
type Store interface {
	// Kind is what the index records.
	Kind() Kind
	// Backend describes the store for a person: "Secret Service", "macOS
	// Keychain", "Windows Credential Manager", "age files in <dir>".
	Backend() string
	// Get returns the last value that was Set completely under name. ErrNotFound: there is
	// none. ErrDamaged: the item was not written completely.
	Get(ctx context.Context, name string) (Secret, error)
	// Set writes value under name, and reads it back before it returns nil. After a failure
	// there is the old value, the new value or ErrDamaged. If two processes set one name at
	// once, one of them may get ErrDenied.
	Set(ctx context.Context, name string, value Secret) error
	// Delete removes name and all of its parts. A missing one is no error.
	Delete(ctx context.Context, name string) error
}

// Causes of an *Error.
var (
	ErrNotFound    = errors.New("no such item")
	ErrDamaged     = errors.New("the item was not written whole")
	ErrLocked      = errors.New("the keystore is locked")
	ErrUnavailable = errors.New("no keystore is reachable")
	ErrDenied      = errors.New("the keystore refused")
	ErrTimeout     = errors.New("the keystore did not answer in time")
	ErrTooBig      = errors.New("the secret is too big for the keystore")
)

// Error is the error of every Store method. Its text contains no secret.
type Error struct {
	Op    string // "read", "write", "delete", "open" or "make"
	Name  string // of the item, or the path of the key file; never a secret
	Cause error  // one of the Err… values
	Err   error  // from the operating system or the library; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Cause)
	}
	return fmt.Sprintf("%s %s: %v (%v)", e.Op, e.Name, e.Cause, e.Err)
}

// Unwrap returns the cause and the underlying error.
func (e *Error) Unwrap() []error { return []error{e.Cause, e.Err} }

// named adds the operation and the item to err.
func named(op, name string, err error) error {
	if err == nil {
		return nil
	}
	e := Error{Cause: ErrDenied, Err: err}
	if own, ok := errors.AsType[*Error](err); ok {
		e = *own
	} else if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e.Cause = ErrTimeout
	}
	e.Op, e.Name = op, name
	return &e
}

var (
	errName    = errors.New("names are 1 to 200 letters, digits and any of / : . _ -")
	errMissing = errors.New("written without an error, but not there")
	errDiffers = errors.New("written without an error, but something else is there")
	errStays   = errors.New("deleted without an error, but still there")
)

const maxName = 200

// checkName allows only names that every backend accepts unchanged. '#' is reserved for the
// parts of a value, and a line break would be a second command on macOS.
func checkName(name string) error {
	stranger := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/:._-", r)
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, stranger) {
		return &Error{Cause: ErrDenied, Err: errName}
	}
	return nil
}
