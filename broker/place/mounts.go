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

// Mounts tells which paths lead to a file server, and which to one directory, without
// a look at any of them: that alone can hang, or log in somewhere.
type Mounts struct {
	table []mount // nil where the system has none
	top   *mount  // the one at the root
	own   *mount  // the one that authferry's folder is on, which was asked already
	home  string  // that folder
}

// mount is one line of the system's table.
type mount struct {
	id, parent string
	device     string // the same for all mounts of one file system
	root       string // what of that is to be seen at point
	point      string
	local      bool     // on a disk of this machine, or in its memory
	layers     []string // of an overlay: the directories that are to be seen through it
}

// errOnServer is what stat says of a path that leads to a file server.
var errOnServer = errors.New("it is on a file server, which was not accessed")

// readMounts is a variable for the tests.
var readMounts = mountTable

// Mounted reads the table of mounts; home is authferry's own folder, whose file server
// is asked all the same.
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

// below returns path as seen from dir, beginning with a separator or empty, and
// whether it is there at all.
func below(dir, path string) (string, bool) {
	if dir == string(filepath.Separator) {
		return strings.TrimRight(path, string(filepath.Separator)), true
	}
	rest, ok := strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == filepath.Separator)
}

// onServer reports that path, as it is written, is on a file server that authferry's
// own folder is not on.
func (m *Mounts) onServer(path string) bool {
	if folder.OnShare(path) {
		return !folder.OnShare(m.home) || !strings.EqualFold(filepath.VolumeName(path), filepath.VolumeName(m.home))
	}
	return m.remote(path)
}

// maxLinks is how many links a path may have, as on Linux.
const maxLinks = 40

// Stat is os.Stat that asks no file server: errOnServer, wrapped in a *fs.PathError.
func (m *Mounts) Stat(path string) (fs.FileInfo, error) {
	if !filepath.IsAbs(path) && !folder.OnShare(path) {
		return nil, &fs.PathError{Op: "stat", Path: path, Err: fs.ErrNotExist} // no binding that was made is so
	}
	links := 0
	real, err := m.resolve(path, &links)
	if err != nil {
		return nil, err
	}
	return os.Stat(real)
}

// resolve is filepath.EvalSymlinks that asks no file server.
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

// layersOf returns the paths at which the directory of a path is to be found below an
// overlay. They may lead anywhere, and are not looked at.
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

// Same reports that path, which index.json names, leads to the directory real.
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
