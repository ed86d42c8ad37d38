package setup

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/authferry/authferry/atomicfile"
)

// Some clients find their helper by its name only. Authferry gets that name: by a link, or
// on Windows, where links need a privilege, by a copy. Here the content of such a file is
// its target.

// anotherProgram stands for the target of a copy that is no longer one.
const anotherProgram = "another version of authferry"

// readLink returns the target of the link at path; nil: there is none.
func readLink(path, target string) ([]byte, error) {
	if runtime.GOOS == "windows" {
		copied, err := os.ReadFile(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if own, err := os.ReadFile(target); err == nil && bytes.Equal(copied, own) {
			return []byte(target), nil
		}
		return []byte(anotherProgram), nil
	}
	found, err := os.Readlink(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		if _, statErr := os.Lstat(path); statErr == nil {
			return nil, refuse("it is not a link, so it is not authferry's").instead("move %s away", path)
		}
		return nil, err
	}
	return []byte(found), nil
}

// writeLink replaces what is there by a link, or a copy.
func writeLink(path, target string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	temp := filepath.Join(dir, atomicfile.Prefix+filepath.Base(path))
	_ = os.Remove(temp) // of an interrupted write
	if runtime.GOOS == "windows" {
		program, err := os.ReadFile(target)
		if err != nil {
			return err
		}
		if err := os.WriteFile(temp, program, 0o700); err != nil { // #nosec G306 -- a program
			return err
		}
	} else if err := os.Symlink(target, temp); err != nil {
		return err
	}
	if err := atomicfile.Patiently(func() error { return os.Rename(temp, path) }, atomicfile.InUse); err != nil {
		return errors.Join(err, os.Remove(temp))
	}
	return nil
}

// link is the file by which a client finds authferry under another name.
func link(m Machine, path string) File {
	return File{
		Path: path, Link: m.Binary,
		Put: func(now []byte) ([]byte, error) {
			if now != nil && !ourLink(now) {
				return nil, refuse("it links to another program, %s", now).instead("move %s away", path)
			}
			return []byte(m.Binary), nil
		},
		Take: func(now []byte) ([]byte, error) {
			if now != nil && ourLink(now) {
				return nil, nil
			}
			return now, nil
		},
		Current: func(now []byte) bool { return string(now) == m.Binary },
	}
}

// keptFor is f, but it stays while the file at path still has authferry after the origins
// are removed.
func (f File) keptFor(path string, origins []string, take func(now []byte, origins []string) ([]byte, error)) File {
	if len(origins) == 0 {
		return f
	}
	remove := f.Take
	f.Take = func(now []byte) ([]byte, error) {
		config, err := read(path, "")
		if err != nil {
			return nil, err
		}
		rest, err := take(config, origins)
		if err != nil {
			return nil, err
		}
		none, err := take(rest, nil)
		if err != nil || !same(rest, none) {
			return now, err
		}
		return remove(now)
	}
	return f
}

// owner is the owner of a link.
type owner int

const (
	nobodys owner = iota // there is none, or there are no owners
	mine
	roots // and this user is not root
	anothers
)

func ownerOf(path string) owner {
	info, err := os.Lstat(path)
	if err != nil {
		return nobodys
	}
	switch uid, ok := atomicfile.Owner(info); {
	case !ok:
		return nobodys
	case int64(uid) == int64(os.Geteuid()):
		return mine
	case uid == 0:
		return roots
	}
	return anothers
}

func ourLink(target []byte) bool {
	return string(target) == anotherProgram || isOurs(string(target))
}

// onPath returns the place of the program called name, or where to put it: a folder on the
// PATH that belongs to the person, preferably the one with authferry.
func onPath(m Machine, name string) string {
	if m.OS == "windows" {
		name += ".exe"
	}
	own := filepath.Dir(m.Binary)
	folders := filepath.SplitList(m.Getenv("PATH"))
	for _, dir := range append(folders, own) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && exists(path) && ownerOf(path) != anothers { // its target may be gone
			return path
		}
	}
	var chosen string
	for _, dir := range folders {
		if dir == own {
			return filepath.Join(own, name)
		}
		if below, err := filepath.Rel(m.Home, dir); err == nil && filepath.IsAbs(dir) && chosen == "" && !strings.HasPrefix(below, "..") {
			if info, err := os.Stat(dir); err == nil && info.IsDir() {
				chosen = dir
			}
		}
	}
	if chosen == "" {
		chosen = own
	}
	return filepath.Join(chosen, name)
}
