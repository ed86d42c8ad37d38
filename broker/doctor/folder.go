package doctor

import (
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
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
)

// folder checks who else can read the folder, and what killed processes left in it.
func (d *examination) folder() {
	dir := d.f.Dir
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		d.say("folder", OK, "%s doesn't exist yet; the first account makes it", dir)
		return
	}
	var open, left []string
	alone, _ := d.f.File().Alone()
	for _, path := range ownFiles(d.f, alone) {
		info, err := os.Lstat(path)
		if err != nil {
			continue // gone meanwhile; what can't be read is found by the checks below
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
	folder.EachLeftProxy(d.f, func(path string) {
		if d.fix {
			folder.RemoveProxy(path)
			removed = append(removed, path)
		} else {
			left = append(left, path)
		}
	})
	switch {
	case len(open) > 0:
		d.try("folder", Fail, fixing, "others can read %s", inWords(open))
	case len(closed) > 0:
		d.say("folder", OK, "others can no longer read %s", inWords(closed))
	case alone:
		d.say("folder", OK, "only you can read %s", dir)
	default:
		d.say("folder", OK, "only you can read what authferry has in %s", dir)
	}
	d.disk()
	if len(left) > 0 {
		d.try("leftovers", Warning, fixing, "a killed process left %s", inWords(left))
	}
	if len(removed) > 0 {
		d.say("leftovers", OK, "removed what a killed process left: %s", inWords(removed))
	}
}

// Regular expressions for the names of files that authferry writes. They are compiled when
// needed, not at the start of every command.
const (
	ownInFolder = `^(index\.json.*|config\.toml|providers\.toml|key\.age|\.authferry-.*\.tmp)$`
	ownInLocks  = `^(.+\.(lock|gate|holder|proxy)|serve\.sock|\.authferry-.*\.tmp)$`
	ownInVault  = `^([0-9a-f]{64}\.age|\.authferry-.*\.tmp)$`
)

// ownFiles lists the paths in the folder that are authferry's; the folder itself if all of
// it is. AUTHFERRY_DIR may be a home folder, in which everything else is the person's own,
// even a folder called vault.
func ownFiles(f *folder.Folder, alone bool) (paths []string) {
	dir := f.Dir
	if alone {
		paths = append(paths, dir)
	}
	for _, part := range []struct {
		dir, own string
	}{{dir, ownInFolder}, {lock.Folder(dir), ownInLocks}, {f.Vault(), ownInVault}} {
		// The target of a link is somewhere else.
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

// mended are the paths for which mend succeeds; left are the others.
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

// temporary reports whether path is a temporary file, which is renamed within milliseconds.
func temporary(path string) bool {
	return strings.HasSuffix(path, atomicfile.Suffix)
}

func inWords(paths []string) string {
	if len(paths) > 3 {
		return fmt.Sprintf("%s and %d more", strings.Join(paths[:3], ", "), len(paths)-3)
	}
	return strings.Join(paths, ", ")
}

func (d *examination) settings() {
	_, err := folder.LoadConfig(d.f)
	var ps *oauth.Providers
	if err == nil {
		ps, err = d.f.Providers()
	}
	if err != nil {
		d.fail("settings", err)
		return
	}
	for name, keys := range ps.Unknown() {
		d.try("settings", Warning, fault.Remedy{Do: fault.ShowProvider, Provider: name}, "%s", folder.Ignored(name, keys))
		return
	}
	d.say("settings", OK, "config.toml and providers.toml are readable")
}
