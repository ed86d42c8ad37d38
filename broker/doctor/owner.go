package doctor

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
)

// owner checks who owns the folder and authferry's files in it, and reports whether this
// user may write there.
func (d *examination) owner() bool {
	dir := d.f.Dir
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
	alone, _ := d.f.File().Alone()
	var wrong []string
	for _, path := range ownFiles(d.f, alone) {
		if info, err := os.Lstat(path); err == nil {
			if uid, _ := atomicfile.Owner(info); uid != of && (path != dir || !writable(dir)) {
				wrong = append(wrong, path)
			}
		}
	}
	if len(wrong) > 0 {
		var next []fault.Remedy
		for _, path := range given(dir, alone, wrong) {
			next = append(next, fault.Remedy{Do: fault.GiveBack, Name: ownerAndGroup(of, info), Path: path})
		}
		d.advise("owner", Fail, next, "%s belongs to another user than %s, whose folder this is", inWords(wrong), folder.UserName(of))
	}
	if err := d.f.Mine(); err != nil {
		d.fail("folder", err)
		return false
	}
	return true
}

// ownerAndGroup is an argument for chown: the user with the login group, or with the
// folder's group if no user has that number.
func ownerAndGroup(uid uint32, dir os.FileInfo) string {
	name := folder.UserName(uid)
	if _, err := strconv.Atoi(name); err != nil {
		return name + ":"
	}
	if gid, ok := atomicfile.Group(dir); ok {
		name += ":" + strconv.FormatUint(uint64(gid), 10)
	}
	return name
}

// given lists the paths for chown -R: the folder; or, if other files are in it too, those
// of authferry's that have the wrong owner.
func given(dir string, alone bool, wrong []string) []string {
	if alone {
		return []string{dir}
	}
	var paths []string
	for _, path := range wrong {
		if rel, err := filepath.Rel(dir, path); err == nil {
			top, _, _ := strings.Cut(rel, string(filepath.Separator))
			paths = append(paths, filepath.Join(dir, top))
		}
	}
	return slices.Compact(paths)
}
