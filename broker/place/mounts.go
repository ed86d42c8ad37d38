package place

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
)

// Mounts says which paths are on a file server and which are the same directory, without
// accessing any of them: that alone can hang, or log in somewhere.
type Mounts struct {
	table []mount // nil where the system has none
	top   *mount  // of the root
	own   *mount  // of authferry's own folder, which was accessed already
	home  string  // that folder
}

// mount is one line of the system's table.
type mount struct {
	id, parent string
	device     string // the same for all mounts of one file system
	root       string // the part of it that appears at point
	point      string
	local      bool     // on a disk of this machine, or in its memory
	layers     []string // of an overlay: the directories that it merges
}

// errOnServer is Stat's error for a path on a file server.
var errOnServer = errors.New("it is on a file server, which was not accessed")

// readMounts is a variable for the tests.
var readMounts = mountTable

// Mounted reads the table of mounts. home is authferry's own folder: the server that it is
// on, if any, is accessed in any case.
func Mounted(home string) (*Mounts, error) {
	table, err := readMounts()
	if err != nil {
		return nil, err
	}
	m := &Mounts{table: table, home: home, top: topMount(table)}
	if real, err := index.RealPath(home); err == nil {
		m.own = m.at(real)
	}
	return m, nil
}

// below returns path relative to dir, empty or with a leading separator, and whether it is
// below dir.
func below(dir, path string) (string, bool) {
	if dir == string(filepath.Separator) {
		return strings.TrimRight(path, string(filepath.Separator)), true
	}
	rest, ok := strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == filepath.Separator)
}

// onServer reports whether path, as text, is on a file server other than that of
// authferry's own folder.
func (m *Mounts) onServer(path string) bool {
	if folder.OnShare(path) {
		return !folder.OnShare(m.home) || !strings.EqualFold(filepath.VolumeName(path), filepath.VolumeName(m.home))
	}
	return m.remote(path)
}

// maxLinks is how many links a path may have, as on Linux.
const maxLinks = 40

// Stat is os.Stat, but never accesses a file server: the error is errOnServer, wrapped in a
// *fs.PathError.
func (m *Mounts) Stat(path string) (fs.FileInfo, error) {
	if !filepath.IsAbs(path) && !folder.OnShare(path) {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist} // bindings are made with absolute paths
	}
	links := 0
	real, err := m.resolve(path, &links)
	if err != nil {
		return nil, err
	}
	return os.Stat(real)
}

// resolve is filepath.EvalSymlinks, but never accesses a file server.
func (m *Mounts) resolve(path string, links *int) (string, error) {
	if m.onServer(path) {
		return "", &fs.PathError{Op: "stat", Path: path, Err: errOnServer}
	}
	path = filepath.Clean(path)
	parent := filepath.Dir(path)
	if parent == path {
		return path, nil
	}
	real, err := m.resolve(parent, links)
	if err != nil {
		return "", err
	}
	path = filepath.Join(real, filepath.Base(path))
	if m.onServer(path) {
		return "", &fs.PathError{Op: "stat", Path: path, Err: errOnServer}
	}
	info, err := os.Lstat(path)
	switch {
	case err != nil:
		return "", err
	case info.Mode()&fs.ModeSymlink == 0:
		return path, nil
	}
	if *links++; *links > maxLinks {
		return "", &fs.PathError{Op: "stat", Path: path, Err: errors.New("too many links")}
	}
	target, err := os.Readlink(path)
	if err != nil {
		return "", err
	}
	if !filepath.IsAbs(target) && !folder.OnShare(target) {
		target = filepath.Join(real, target)
	}
	return m.resolve(target, links)
}

// layersOf returns the paths of a directory below an overlay. They may lead anywhere, and
// are not accessed.
func (m *Mounts) layersOf(path string) (names []string) {
	at := m.at(path)
	if at == nil {
		return nil
	}
	rest, _ := below(at.point, path)
	for _, layer := range at.layers {
		names = append(names, filepath.Join(layer, at.root, rest))
	}
	return names
}

// Same reports whether path, from index.json, leads to the directory real.
func (m *Mounts) Same(path, real string) bool {
	if path == real {
		return true
	}
	info, err := m.Stat(path)
	if err != nil {
		return false
	}
	own, err := os.Stat(real)
	return err == nil && os.SameFile(own, info)
}
