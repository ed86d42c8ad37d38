package broker

import (
	"context"
	"errors"
	"io/fs"
	"runtime"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// storeError turns an error of the keystore into one that a person can act on.
func storeError(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	var e *fault.Error
	switch {
	case errors.Is(err, keystore.ErrLocked):
		e = fault.Errorf(fault.KeystoreLocked, "the keychain is locked; nothing was changed").
			WithHint("%s", unlocking(runtime.GOOS))
	case errors.Is(err, keystore.ErrUnavailable):
		e = fault.Errorf(fault.KeystoreUnavailable, "no keystore is reachable from this session").
			WithHint("authferry keystore status shows what was tried; without a keychain: authferry keystore init --key-file PATH")
	case errors.Is(err, context.Canceled):
		e = fault.Errorf(fault.Cancelled, "interrupted while the keystore was waited for; nothing was lost")
	case errors.Is(err, keystore.ErrTimeout):
		e = fault.Errorf(fault.KeystoreTimeout, "the keychain did not answer in time; nothing was lost").
			WithHint("answer its prompt, or give it longer: AUTHFERRY_KEYCHAIN_TIMEOUT=120s")
	case errors.Is(err, keystore.ErrTooBig):
		e = fault.Errorf(fault.SecretTooBig, "the secret is too big for the keystore")
	case errors.Is(err, keystore.ErrDenied), errors.Is(err, keystore.ErrDamaged), errors.Is(err, keystore.ErrNotFound):
		e = fault.Errorf(fault.KeystoreDenied, "the keystore refused").WithHint("authferry keystore status")
	default:
		e = fault.Errorf(fault.Internal, "the keystore failed")
	}
	return e.Because(err)
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
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if owned, ok := errors.AsType[*atomicfile.OwnerError](err); ok {
		return OwnerError(owned, statusIn(owned.Path))
	}
	if lt, ok := errors.AsType[*lock.TimeoutError](err); ok {
		return fault.Errorf(fault.LockTimeout, "%s; nothing was changed", lt.Error()).WithHint("run the command again, or wait longer: AUTHFERRY_LOCK_TIMEOUT=2m")
	}
	switch {
	case errors.Is(err, index.ErrGone):
		return fault.Errorf(fault.LockTimeout, "the folder was moved, deleted or replaced meanwhile").WithHint("run the command again").Because(err)
	case errors.Is(err, index.ErrTooNew):
		return fault.Errorf(fault.IndexTooNew, "index.json was written by a newer authferry").WithHint("install the newer version; the file was left as it is").Because(err)
	case errors.Is(err, index.ErrCorrupt):
		return fault.Errorf(fault.IndexCorrupt, "index.json is damaged; it was left as it is, and the logins are still in the keystore").WithHint("authferry doctor --fix").Because(err)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Errorf(fault.NoAccount, "there is no account yet").WithHint("authferry login PROVIDER")
	case errors.Is(err, context.Canceled):
		return fault.Errorf(fault.Cancelled, "interrupted").Because(err)
	}
	return fault.Errorf(fault.Internal, "the index could not be read or changed").Because(err)
}
