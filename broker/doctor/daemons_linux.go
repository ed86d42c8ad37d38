package doctor

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// keyringDaemons returns the process ids of this user's gnome-keyring daemons that have the
// same files. Each has the whole keyring in memory and writes all of it, so what one stores
// the other overwrites.
func keyringDaemons() (pids []int) {
	const name = "gnome-keyring-d" // the kernel cuts names to this length
	files, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, path := range files {
		comm, err := os.ReadFile(path)
		if err != nil || strings.TrimSpace(string(comm)) != name {
			continue
		}
		dir := filepath.Dir(path)
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err == nil && mine(dir) && sameHome(dir) {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids
}

// mine looks at the owner of the process's folder in /proc: the files of a daemon that
// protects its memory belong to root.
func mine(dir string) bool {
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return false
	}
	_, uids, _ := bytes.Cut(status, []byte("\nUid:\t"))
	uid, _, _ := bytes.Cut(uids, []byte("\t"))
	return string(uid) == strconv.Itoa(syscall.Getuid())
}

// sameHome is true if it can't be read, except for a process that has ended or is just
// starting.
func sameHome(dir string) bool {
	env, err := os.ReadFile(filepath.Join(dir, "environ"))
	if err != nil || len(env) == 0 {
		return errors.Is(err, fs.ErrPermission)
	}
	for v := range bytes.SplitSeq(env, []byte{0}) {
		for _, name := range []string{"HOME", "XDG_DATA_HOME"} {
			if value, ok := bytes.CutPrefix(v, []byte(name+"=")); ok && string(value) != os.Getenv(name) {
				return false
			}
		}
	}
	return true
}
