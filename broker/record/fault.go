package record

import (
	"context"
	"errors"
	"runtime"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
)

// Fault turns an error of the keystore into one that a person can act on.
func Fault(err error) error {
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
