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

// Service is the service name of every keychain item of authferry.
const Service = "authferry"

// MaxSize is the largest value in bytes that a store takes; a larger one is
// ErrTooBig. It is far above any token and far below what makes a keychain slow
// for every other program that uses it.
const MaxSize = 256 << 10

// Kind names where a store keeps its items, as recorded in the index.
type Kind string

// The two kinds of keystore.
const (
	Keychain Kind = "keychain"
	File     Kind = "file"
)

// Store keeps named secrets. Every method honours the context's deadline even
// where the keychain itself hangs, and never panics. Implementations are safe
// for concurrent use; a call that ran into its deadline may still be under way
// inside the keychain, so the next call of this process waits for it first
// (a late write must not come after a newer one).
//
// Errors are *Error; match their cause with errors.Is and the Err… values.
type Store interface {
	// Kind is what the index records.
	Kind() Kind
	// Backend describes the store for a person: "Secret Service", "macOS
	// Keychain", "Windows Credential Manager", "age files in <dir>".
	Backend() string
	// Get returns the value that was last Set whole under name. ErrNotFound:
	// there is none. ErrDamaged: what is there was not written whole.
	Get(ctx context.Context, name string) (Secret, error)
	// Set writes value under name and reads it back before it returns nil. A
	// failure leaves the old value, ErrDamaged or the new value. Where two
	// processes set one name at once, one of them may be told ErrDenied.
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

// Error is what every Store method returns. Its text holds no secret.
type Error struct {
	Op    string // "read", "write", "delete", "open" or "make"
	Name  string // of the item, or the path of the key file; holds no secret
	Cause error  // one of the Err… values
	Err   error  // what the operating system or library said; may be nil
}

func (e *Error) Error() string {
	if e.Err == nil {
		return fmt.Sprintf("%s %s: %v", e.Op, e.Name, e.Cause)
	}
	return fmt.Sprintf("%s %s: %v (%v)", e.Op, e.Name, e.Cause, e.Err)
}

// Unwrap makes both the cause and the underlying error reachable.
func (e *Error) Unwrap() []error { return []error{e.Cause, e.Err} }

// named gives err the operation and the item that it belongs to.
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

// checkName keeps names to what every backend takes as it is. '#' is left for
// the parts of a value, and a line break would be a second command on macOS.
func checkName(name string) error {
	stranger := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("/:._-", r)
	}
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, stranger) {
		return &Error{Cause: ErrDenied, Err: errName}
	}
	return nil
}
