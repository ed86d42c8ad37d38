package folder

import (
	"context"
	"errors"
	"io/fs"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
)

// Fault turns an error of the index or of a lock into one with a code and a remedy.
func Fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	if owned, ok := errors.AsType[*atomicfile.OwnerError](err); ok {
		return OwnerError(owned, owned.Path)
	}
	if lt, ok := errors.AsType[*lock.TimeoutError](err); ok {
		return fault.Errorf(fault.LockTimeout, "%s; nothing was changed", lt.Error()).Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_LOCK_TIMEOUT", Value: "2m"})
	}
	switch {
	case errors.Is(err, index.ErrGone):
		return fault.Errorf(fault.LockTimeout, "the folder was moved, deleted or replaced meanwhile").Try(fault.Remedy{Do: fault.Again}).Because(err)
	case errors.Is(err, index.ErrTooNew):
		return fault.Errorf(fault.IndexTooNew, "index.json was written by a newer authferry; it was left as it is").Try(fault.Remedy{Do: fault.ShowVersion}).Because(err)
	case errors.Is(err, index.ErrCorrupt):
		return fault.Errorf(fault.IndexCorrupt, "index.json is damaged; it was left as it is, and the logins are still in the keystore").Try(fault.Remedy{Do: fault.Fix}).Because(err)
	case errors.Is(err, fs.ErrNotExist):
		return fault.Errorf(fault.NoAccount, "there is no account yet").Try(fault.Remedy{Do: fault.Login})
	case errors.Is(err, context.Canceled):
		return fault.Errorf(fault.Cancelled, "interrupted").Because(err)
	}
	return fault.Errorf(fault.Internal, "the index could not be read or changed").Because(err)
}

// Fault is like the function Fault, and knows the folder.
func (f *Folder) Fault(err error) error { return Fault(f.ownerError(err)) }
