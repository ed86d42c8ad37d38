package place

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// mountTable reads /proc/self/mountinfo, whose format is in proc_pid_mountinfo(5).
func mountTable() ([]mount, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return parseMounts(string(text))
}

func parseMounts(text string) ([]mount, error) {
	var table []mount
	for line := range strings.Lines(text) {
		before, after, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(before), strings.Fields(after)
		if !ok || len(fields) < 5 || len(kind) < 1 {
			return nil, errors.New("the table of mounts can't be read")
		}
		e := mount{id: fields[0], parent: fields[1], device: fields[2],
			root: unescaped(fields[3]), point: unescaped(fields[4]), local: localMount(fields[2], kind[0])}
		if kind[0] == "overlay" && len(kind) > 2 {
			e.layers = layersIn(kind[2])
		}
		table = append(table, e)
	}
	return table, nil
}

// layersIn finds the directories of an overlay in its mount options (the kernel's
// overlayfs.rst). One whose name has a comma or a colon is not found.
func layersIn(options string) (layers []string) {
	for option := range strings.SplitSeq(options, ",") {
		name, value, _ := strings.Cut(option, "=")
		switch name {
		case "upperdir", "lowerdir+":
			layers = append(layers, unescaped(value))
		case "lowerdir":
			for dir := range strings.SplitSeq(value, ":") {
				layers = append(layers, unescaped(dir))
			}
		}
	}
	return slices.DeleteFunc(layers, func(dir string) bool { return !filepath.IsAbs(dir) })
}

// unescaped undoes the octal numbers for white space and backslashes.
func unescaped(s string) string {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(s, `\`)
		b.WriteString(before)
		if !ok {
			return b.String()
		}
		if c, err := strconv.ParseUint(after[:min(3, len(after))], 8, 8); err == nil && len(after) >= 3 {
			b.WriteByte(byte(c))
			after = after[3:]
		} else {
			b.WriteByte('\\')
		}
		s = after
	}
}

// localMount reports whether a file system is on a block device or, by its kind, in memory
// or on a disk of this machine. Of other kinds, such as FUSE, it can't be told.
func localMount(device, kind string) bool {
	return !strings.HasPrefix(device, "0:") ||
		slices.Contains([]string{"tmpfs", "ramfs", "rootfs", "devtmpfs", "overlay", "aufs", "btrfs", "bcachefs", "zfs", "ecryptfs"}, kind)
}

// topMount returns the mount that is on no other; nil in a root that is no mount.
func topMount(table []mount) *mount {
	ids := map[string]bool{}
	for _, e := range table {
		ids[e.id] = true
	}
	for i, e := range table {
		if e.point == "/" && (e.parent == e.id || !ids[e.parent]) {
			return &table[i]
		}
	}
	return nil
}

// at returns the mount of path; nil where the table doesn't say. Of two mounts at one point
// the later hides the earlier, with all that is mounted below it.
func (m *Mounts) at(path string) *mount {
	at := m.top
	for above := at; above != nil; {
		at, above = above, nil
		for i := range m.table {
			e := &m.table[i]
			if _, ok := below(e.point, path); ok && e.parent == at.id && e.id != at.id && (above == nil || len(e.point) < len(above.point)) {
				above = e
			}
		}
	}
	return at
}

// namesOf returns the other paths at which the directory of a path is mounted.
func (m *Mounts) namesOf(path string) (names []string) {
	at := m.at(path)
	if at == nil {
		return nil
	}
	rest, _ := below(at.point, path)
	inside := filepath.Join(at.root, rest)
	for i := range m.table {
		e := &m.table[i]
		rest, ok := below(e.root, inside)
		if !ok || e.device != at.device {
			continue
		}
		if name := filepath.Join(e.point, rest); name != path && m.at(name) == e {
			names = append(names, name)
		}
	}
	return names
}

// remote reports whether path is on a mount that is neither local nor authferry's own.
func (m *Mounts) remote(path string) bool {
	at := m.at(path)
	return at == nil || !at.local && at != m.own
}
