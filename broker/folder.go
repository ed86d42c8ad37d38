package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
)

// folder checks who else may read it, and what killed processes left in it.
func (d *doctor) folder() {
	dir := d.b.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		d.say("folder", CheckOK, "%s is not there yet; the first account makes it", dir)
		return
	}
	var open, left []string
	alone, _ := d.b.File().Alone()
	for _, path := range d.b.ownFiles(alone) {
		info, err := os.Lstat(path)
		if err != nil {
			continue // it is gone meanwhile; what can't be read is found by the checks below
		}
		if info.Mode()&fs.ModeSymlink == 0 && runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
			open = append(open, path)
		}
		if temporary(path) && info.Mode().IsRegular() && time.Since(info.ModTime()) > 10*time.Minute {
			left = append(left, path)
		}
	}
	var closed, removed []string
	if d.fix {
		open, closed = mended(open, func(path string) error {
			info, err := os.Lstat(path)
			if err != nil {
				return err
			}
			return os.Chmod(path, info.Mode().Perm()&0o700)
		})
		left, removed = mended(left, os.Remove)
	}
	d.b.eachLeftProxy(func(path string) {
		if d.fix {
			removeProxy(path)
			removed = append(removed, path)
		} else {
			left = append(left, path)
		}
	})
	switch {
	case len(open) > 0:
		d.try("folder", CheckFail, fixing, "others may read %s", inWords(open))
	case len(closed) > 0:
		d.say("folder", CheckOK, "closed to others: %s", inWords(closed))
	case alone:
		d.say("folder", CheckOK, "%s is yours alone", dir)
	default:
		d.say("folder", CheckOK, "what authferry has in %s is yours alone", dir)
	}
	d.disk()
	if len(left) > 0 {
		d.try("leftovers", CheckWarning, fixing, "a process that was killed left %s", inWords(left))
	}
	if len(removed) > 0 {
		d.say("leftovers", CheckOK, "removed what a process that was killed left: %s", inWords(removed))
	}
}

// Names that authferry gives to what it writes, as regular expressions. They are
// compiled where they are needed: not at the start of every command.
const (
	ownInFolder = `^(index\.json.*|config\.toml|providers\.toml|key\.age|\.authferry-.*\.tmp)$`
	ownInLocks  = `^(.+\.(lock|gate|holder|proxy)|serve\.sock|\.authferry-.*\.tmp)$`
	ownInVault  = `^([0-9a-f]{64}\.age|\.authferry-.*\.tmp)$`
)

// ownFiles are the paths of what is authferry's in its folder, the folder itself
// where it is that as a whole. AUTHFERRY_DIR may be a home folder, in which
// anything else is a person's own, also in a folder there that is called vault.
func (b *Broker) ownFiles(alone bool) (paths []string) {
	dir := b.Dir
	if alone {
		paths = append(paths, dir)
	}
	for _, part := range []struct {
		dir, own string
	}{{dir, ownInFolder}, {lock.Folder(dir), ownInLocks}, {b.Vault(), ownInVault}} {
		// What a link leads to is elsewhere.
		if info, err := os.Lstat(part.dir); err != nil || part.dir != dir && !info.IsDir() {
			continue
		}
		own := regexp.MustCompile(part.own)
		entries, err := os.ReadDir(part.dir)
		whole := part.dir != dir && (len(entries) > 0 || alone && err != nil)
		for _, e := range entries {
			if own.MatchString(e.Name()) && !e.IsDir() {
				paths = append(paths, filepath.Join(part.dir, e.Name()))
			} else {
				whole = false
			}
		}
		if whole {
			paths = append(paths, part.dir)
		}
	}
	return paths
}

// mended are the paths for which mend works; left are the others.
func mended(paths []string, mend func(path string) error) (left, done []string) {
	for _, path := range paths {
		if mend(path) == nil {
			done = append(done, path)
		} else {
			left = append(left, path)
		}
	}
	return left, done
}

// temporary files are renamed into place within milliseconds.
func temporary(path string) bool {
	return strings.HasSuffix(path, atomicfile.Suffix)
}

func inWords(paths []string) string {
	if len(paths) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:3], ", "), len(paths)-3)
	}
	return strings.Join(paths, ", ")
}

// place checks that the folder is no copy of another one. With fix, a copy gets a
// store of its own, in which nobody is logged in: the original keeps the grants.
// A folder that was moved keeps its store, also where its new path can't be
// written down at this moment.
func (d *doctor) place(ctx context.Context) bool {
	err := d.b.CheckPlace(d.idx)
	if fault.CodeOf(err) == fault.Fenced && d.fix && !folder.IsIn(d.idx.Path, d.b.Dir) {
		err = d.b.Update(ctx, index.Durable, func(i *index.Index) error {
			if i.Store != d.idx.Store || i.Path != d.idx.Path {
				return fault.Errorf(fault.LockTimeout, "the folder was given another identity meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Doctor})
			}
			real, err := index.RealPath(d.b.Dir)
			i.Store, i.Path = index.NewStoreID(), real
			for n := range i.Accounts {
				a := &i.Accounts[n]
				a.GrantSlot, a.AccessSlot, a.Fingerprint, a.Dead = "", "", "", ""
				a.Intents, a.Failure, a.ExpiresAt, a.ObtainedAt = nil, nil, time.Time{}, time.Time{}
			}
			d.idx = i
			return err
		})
		if err == nil {
			d.say("copy", CheckOK, "this folder was a copy of another one and is one of its own now; the logins stayed there")
		}
	}
	switch {
	case fault.CodeOf(err) == fault.Fenced:
		d.fail("copy", err)
	case err != nil:
		d.fail("folder", err)
	}
	return err == nil
}
