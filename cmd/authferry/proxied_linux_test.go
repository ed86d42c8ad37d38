package main

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// SIGKILL of run itself takes its command along on Linux; what it leaves is no proxy any
// more, and the next one or doctor removes it. Nothing else is hurt.
func TestRunKilled(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	for _, sweep := range [][]string{{"doctor", "--fix"}, {"run", "sim", "--", "ask-proxy"}} {
		r := s.startRun()
		_ = r.cmd.Process.Kill()
		if code := r.end(); code != -1 {
			t.Errorf("exit code %d", code)
		}
		r.gone("SIGKILL")
		if left, _ := filepath.Glob(filepath.Join(s.Dir, "locks", "run-*.proxy")); len(left) != 1 {
			t.Errorf("left: %q", left)
		}
		if p := s.proxies(); len(p) != 0 {
			t.Errorf("still known: %+v", p)
		}
		_ = s.Run("", sweep...)
		s.nothingLeft(strings.Join(sweep, " "))
		s.Must("", "token")
	}
}

// A command that stops itself stops its job too, and goes on with it.
func TestRunStops(t *testing.T) {
	t.Parallel()
	s := newRunScene(t)
	r := s.startRun()
	state := func(pid int, want string) {
		t.Helper()
		for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if got := stateOf(pid); got == want {
				return
			} else if time.Now().After(deadline) {
				t.Fatalf("process %d is %s, want %s", pid, got, want)
			}
		}
	}
	_ = syscall.Kill(r.child, syscall.SIGSTOP)
	state(r.child, "stopped")
	state(r.cmd.Process.Pid, "stopped")
	_ = syscall.Kill(-r.cmd.Process.Pid, syscall.SIGCONT)
	state(r.child, "running")
	state(r.cmd.Process.Pid, "running")
	_ = r.stdin.Close()
	if code := r.end(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// stateOf says whether a process runs.
func stateOf(pid int) string {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "gone"
	}
	_, rest, _ := strings.Cut(string(data), ") ")
	switch rest[:1] {
	case "T":
		return "stopped"
	case "Z":
		return "gone"
	}
	return "running"
}
