package folder

import (
	"cmp"
	"errors"
	"os"
	"os/user"
	"strconv"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
)

// Mine refuses to write in another user's folder, and so also to use up anything that is
// stored there. A command of root's (sudo -E, a container's entry point) would lock the
// user out of the folder, and what it writes could be led elsewhere. Locks check this
// themselves.
func (f *Folder) Mine() error {
	return f.ownerError(cmp.Or(atomicfile.Mine(f.Dir), atomicfile.Mine(f.Vault())))
}

func (f *Folder) ownerError(err error) error { return OwnerError(err, f.Dir) }

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
