package broker

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/testenv"
)

// size reads a line of /proc/PID/status, in bytes.
func size(t *testing.T, pid int, field string) uint64 {
	t.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	testenv.Must(t, err)
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if rest, ok := strings.CutPrefix(lines.Text(), field+":"); ok {
			var kB uint64
			testenv.Must(t, testenv.Err(fmt.Sscan(rest, &kB)))
			return kB << 10
		}
	}
	t.Fatalf("no %s", field)
	return 0
}

// Limits that come into force while the provider answers cost no login: what keeping the
// tokens needs is there already, and what a file may not hold now is tried again.
func TestLimitsInTheWindow(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		resource int
		limit    func(t *testing.T, pid int) uint64
		lifted   bool // a moment after the answer
	}{
		"memory":                     {resource: unix.RLIMIT_AS, limit: func(t *testing.T, pid int) uint64 { return size(t, pid, "VmSize") }},
		"memory for data":            {resource: unix.RLIMIT_DATA, limit: func(t *testing.T, pid int) uint64 { return size(t, pid, "VmData") }},
		"files":                      {resource: unix.RLIMIT_NOFILE, limit: func(*testing.T, int) uint64 { return 8 }},
		"files, none for the moment": {resource: unix.RLIMIT_NOFILE, limit: func(*testing.T, int) uint64 { return 0 }, lifted: true},
		"size of files, for a moment": {
			resource: unix.RLIMIT_FSIZE, limit: func(*testing.T, int) uint64 { return 10 }, lifted: true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
			a := w.add("ada", -time.Second)
			release := make(chan struct{})
			w.server.Inject(brokertest.Fault{Until: release, After: true})
			rotator := w.command()
			rotator.Args = []string{"authferry", rotation.Command, a.ID, "1"}
			done := make(chan answer, 1)
			go func() { done <- w.run(rotator) }()
			w.await("the request", func(l brokertest.Ledger) bool { return l.Refreshes("ada") == 1 })
			pid := w.account(a.ID).Intents[0].PID
			var before unix.Rlimit
			testenv.Must(t, unix.Prlimit(pid, test.resource, nil, &before))
			limit := test.limit(t, pid)
			testenv.Must(t, unix.Prlimit(pid, test.resource, &unix.Rlimit{Cur: limit, Max: before.Max}, nil))
			close(release)
			if test.lifted {
				select {
				case got := <-done:
					t.Fatalf("the rotator ended: %+v", got)
				case <-time.After(600 * time.Millisecond):
				}
				testenv.Must(t, unix.Prlimit(pid, test.resource, &before, nil))
			}
			if got := <-done; got.err != nil {
				t.Errorf("%v", got.err)
			}
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Errorf("afterwards: %+v", got)
			}
			if l := w.server.Ledger(); len(l.Reuse) > 0 || l.Refreshes("ada") != 1 {
				t.Errorf("%d refreshes, %d reuses", l.Refreshes("ada"), len(l.Reuse))
			}
		})
	}
}

// Limits that stand from the beginning stop it before anything is sent.
func TestLimitsBeforeTheSend(t *testing.T) {
	for _, limit := range []string{"-f 1", "-n 9"} {
		t.Run(limit, func(t *testing.T) {
			w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
			a := w.add("ada", -time.Second)
			self, err := os.Executable()
			testenv.Must(t, err)
			program := filepath.Join(t.TempDir(), "authferry")
			testenv.Must(t, os.Symlink(self, program))
			cmd := w.command()
			cmd.Path, cmd.Args = "/bin/sh", []string{"sh", "-c", "ulimit " + limit + " && exec " + program + " " + rotation.Command + " " + a.ID + " 1"}
			if got := w.run(cmd); got.err == nil {
				t.Error("refreshed")
			}
			if n := w.server.Refreshes("ada"); n != 0 {
				t.Errorf("%d refresh tokens were sent", n)
			}
			if got := w.ask(); got.err != nil || !w.good(got.token) {
				t.Errorf("afterwards: %+v", got)
			}
			w.noneLost()
		})
	}
}
