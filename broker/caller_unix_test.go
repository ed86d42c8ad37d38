//go:build unix

package broker

import (
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// startApart starts cmd in a process group of its own; kill ends it, or the
// whole group.
func startApart(t *testing.T, cmd *exec.Cmd) (kill func(whole bool)) {
	t.Helper()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	testenv.Must(t, cmd.Start())
	return func(whole bool) {
		target := cmd.Process.Pid
		if whole {
			target = -target
		}
		_ = syscall.Kill(target, syscall.SIGKILL)
	}
}

// Signals that end a process reach the caller only.
func TestSignalledRotator(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
			release := make(chan struct{})
			w.server.Inject(brokertest.Fault{Until: release})
			a := w.add("ada", -time.Second)
			done := make(chan answer, 1)
			go func() { done <- w.askApart() }()
			w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] > 0 })
			pid := w.account(a.ID).Intents[0].PID
			testenv.Must(t, syscall.Kill(pid, sig))
			close(release)
			if got := <-done; got.err != nil || !w.good(got.token) {
				t.Fatalf("%v after %v to the rotator", got.err, sig)
			}
			if l := w.server.Ledger(); l.TokenRequests != 1 {
				t.Errorf("%d token requests, want 1", l.TokenRequests)
			}
		})
	}
}
