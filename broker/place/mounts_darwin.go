package place

import (
	"strings"

	"golang.org/x/sys/unix"
)

// mountTable asks the kernel alone, so no file system can block it.
func mountTable() ([]mount, error) {
	stats := make([]unix.Statfs_t, 64)
	n, err := unix.Getfsstat(stats, unix.MNT_NOWAIT)
	for ; err == nil && n == len(stats); n, err = unix.Getfsstat(stats, unix.MNT_NOWAIT) {
		stats = make([]unix.Statfs_t, 2*n) // there may be more
	}
	if err != nil {
		return nil, err
	}
	table := make([]mount, 0, n)
	for _, s := range stats[:n] {
		table = append(table, mount{point: unix.ByteSliceToString(s.Mntonname[:]), local: s.Flags&unix.MNT_LOCAL != 0})
	}
	return table, nil
}

func topMount([]mount) *mount { return nil }

// at returns the mount of path. Names of mounts there differ in more than case.
func (m *Mounts) at(path string) *mount {
	var at *mount
	for i := range m.table {
		e := &m.table[i]
		if _, ok := below(strings.ToLower(e.point), strings.ToLower(path)); ok && (at == nil || len(e.point) >= len(at.point)) {
			at = e
		}
	}
	return at
}

// namesOf is empty: macOS doesn't mount one directory twice.
func (m *Mounts) namesOf(string) []string { return nil }

// remote reports whether path is on a mount that is neither local nor authferry's own.
func (m *Mounts) remote(path string) bool {
	at := m.at(path)
	return at == nil || !at.local && at != m.own
}
