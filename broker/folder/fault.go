package folder

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/user"
	"strconv"

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
func (f *Folder) Fault(err error) error { return Fault(OwnerError(err, f.Dir)) }

// Mine refuses to write in another user's folder, and so also to use up anything that is
// stored there. A command of root's (sudo -E, a container's entry point) would lock the
// user out of the folder, and what it writes could be led elsewhere. Locks check this
// themselves.
func (f *Folder) Mine() error {
	return OwnerError(cmp.Or(atomicfile.Mine(f.Dir), atomicfile.Mine(f.Vault())), f.Dir)
}

// OwnerError turns an *atomicfile.OwnerError into an error with code Fenced that names the
// owner of the folder. Other errors are returned as they are.
func OwnerError(err error, dir string) error {
	e, ok := errors.AsType[*atomicfile.OwnerError](err)
	if !ok {
		return err
	}
	who := UserName(e.UID)
	as := who
	if _, err := strconv.Atoi(who); err == nil {
		as = "#" + who // sudo takes a plain number for a name
	}
	me := UserName(uint32(os.Geteuid())) // #nosec G115 -- never negative where files have owners
	return fault.Errorf(fault.Fenced, "%s belongs to user %s, and this is user %s: nothing was sent and nothing was changed", e.Path, who, me).
		Try(fault.Remedy{Do: fault.AsOwner, Name: as, Path: dir})
}

// UserName is the name of a user; the number if it has none.
func UserName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}
