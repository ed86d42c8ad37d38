package record

import (
	"context"
	"errors"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/keystore"
)

// Fault turns an error of the keystore into one with a code and a remedy.
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
			Try(fault.Remedy{Do: fault.UnlockKeychain}, fault.Remedy{Do: fault.Again})
	case errors.Is(err, keystore.ErrUnavailable):
		e = fault.Errorf(fault.KeystoreUnavailable, "no keystore is reachable from this session").
			Try(fault.Remedy{Do: fault.ShowKeystore}, fault.Remedy{Do: fault.InitKeystore})
	case errors.Is(err, context.Canceled):
		e = fault.Errorf(fault.Cancelled, "interrupted while waiting for the keystore; nothing was lost")
	case errors.Is(err, keystore.ErrTimeout):
		e = fault.Errorf(fault.KeystoreTimeout, "the keychain did not answer in time; nothing was lost").
			Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_KEYCHAIN_TIMEOUT", Value: "120s"})
	case errors.Is(err, keystore.ErrTooBig):
		e = fault.Errorf(fault.SecretTooBig, "the secret is too big for the keystore")
	case errors.Is(err, keystore.ErrDenied), errors.Is(err, keystore.ErrDamaged), errors.Is(err, keystore.ErrNotFound):
		e = fault.Errorf(fault.KeystoreDenied, "the keystore refused").Try(fault.Remedy{Do: fault.ShowKeystore})
	default:
		e = fault.Errorf(fault.Internal, "the keystore failed")
	}
	return e.Because(err)
}
