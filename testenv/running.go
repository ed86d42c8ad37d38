package testenv

import (
	"bytes"
	"os"
)

// Working are the ids of the processes that have AUTHFERRY_DIR at dir, or at a path that
// begins so, where the system has a /proc that tells.
func Working(dir string) (pids []string) {
	proc, err := os.Open("/proc")
	if err != nil {
		return nil
	}
	defer func() { _ = proc.Close() }()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' { // no process
			continue
		}
		environ, err := os.ReadFile("/proc/" + name + "/environ")
		if err == nil && bytes.Contains(append([]byte{0}, environ...), []byte("\x00AUTHFERRY_DIR="+dir)) {
			pids = append(pids, name)
		}
	}
	return pids
}
