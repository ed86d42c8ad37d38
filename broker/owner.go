package broker

import (
	"cmp"
	"errors"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
)

// mine refuses to write in another user's folder, and so to spend anything that is
// kept there: root's command (sudo -E, a container's entry point) would lock that user
// out of it, and what it writes could be led elsewhere. Locks look for themselves.
func (b *Broker) mine() error {
	return b.ownerError(cmp.Or(atomicfile.Mine(b.opt.Dir), atomicfile.Mine(b.vaultDir())))
}

func (b *Broker) ownerError(err error) error { return OwnerError(err, statusIn(b.opt.Dir)) }

// OwnerError makes of an *atomicfile.OwnerError an *Error with code Fenced, whose hint
// runs the command as the owner. Any other error it leaves as it is.
func OwnerError(err error, command string) error {
	e, ok := errors.AsType[*atomicfile.OwnerError](err)
	if !ok {
		return err
	}
	who := userName(e.UID)
	as := who
	if _, err := strconv.Atoi(who); err == nil {
		as = "#" + who // to sudo a number is a name
	}
	me := userName(uint32(os.Geteuid())) // #nosec G115 -- never negative where there are owners
	return fault.Errorf(fault.Fenced, "%s belongs to user %s, and this is user %s: nothing was sent and nothing was changed", e.Path, who, me).
		WithHint("sudo -u %s %s", Arg(as), command)
}

// statusIn looks at another folder.
func statusIn(dir string) string { return "env AUTHFERRY_DIR=" + Arg(dir) + " authferry status" }

// userName is the name of a user, else the number.
func userName(uid uint32) string {
	id := strconv.FormatUint(uint64(uid), 10)
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return id
}

// owner checks whose the folder is and what authferry has in it, and reports whether
// that is a folder to write in.
func (d *doctor) owner() bool {
	dir := d.b.opt.Dir
	info, err := os.Stat(dir)
	if err != nil {
		return true
	}
	of, known := atomicfile.Owner(info)
	if !known {
		return true
	}
	me := uint32(os.Geteuid()) // #nosec G115 -- never negative where there are owners
	if of == 0 {
		of = me // a volume of a container, say
	}
	alone, _ := d.b.index.Alone()
	var wrong []string
	for _, path := range d.b.ownFiles(alone) {
		if info, err := os.Lstat(path); err == nil {
			if uid, _ := atomicfile.Owner(info); uid != of && (path != dir || !writable(dir)) {
				wrong = append(wrong, path)
			}
		}
	}
	if len(wrong) > 0 {
		d.say("owner", CheckFail, "sudo chown -R "+ownerAndGroup(of, info)+" "+given(dir, alone, wrong),
			"%s belongs to another user than %s, whose folder this is", inWords(wrong), userName(of))
	}
	if err := d.b.mine(); err != nil {
		d.fail("folder", err)
		return false
	}
	return true
}

// ownerAndGroup is what chown takes: the user with the login group, or, where nobody
// has that number, with the folder's.
func ownerAndGroup(uid uint32, dir os.FileInfo) string {
	name := userName(uid)
	if _, err := strconv.Atoi(name); err != nil {
		return Arg(name) + ":"
	}
	if gid, ok := atomicfile.Group(dir); ok {
		name += ":" + strconv.FormatUint(uint64(gid), 10)
	}
	return name
}

// given are the arguments of chown -R: the folder, or where it has more in it than
// authferry's, what is authferry's and wrong.
func given(dir string, alone bool, wrong []string) string {
	if alone {
		return Arg(dir)
	}
	var paths []string
	for _, path := range wrong {
		if rel, err := filepath.Rel(dir, path); err == nil {
			top, _, _ := strings.Cut(rel, string(filepath.Separator))
			paths = append(paths, Arg(filepath.Join(dir, top)))
		}
	}
	return strings.Join(slices.Compact(paths), " ")
}
