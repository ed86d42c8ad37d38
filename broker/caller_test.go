//go:build unix

package broker

import (
	"math/rand/v2"
	"os"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
)

// rounds is how often a random experiment is repeated: a few in every run, more
// with TEST_ROUNDS.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	if n, err := strconv.Atoi(os.Getenv("TEST_ROUNDS")); err == nil {
		return n
	}
	return usual
}

// The caller, or its whole process group, is killed at a random moment of a
// rotation against a server that revokes the login when a refresh token is used
// twice. The rotator outlives it: afterwards there is always a valid token.
// (The complaint: a plugin's time-out kills the tool in the middle of a refresh,
// and the login is gone.)
func TestKilledCallers(t *testing.T) {
	w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict, Latency: 20 * time.Millisecond, AccessTTL: time.Hour})
	a := w.add("ada", -time.Second)
	for round := range rounds(t, 25) {
		gen := w.account(a.ID).Generation
		cmd := w.command("TEST_REJECTED=" + lease(a.ID, gen))
		w.allowRejection(a.ID)
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(rand.IntN(80)) * time.Millisecond)
		target := cmd.Process.Pid
		if round%2 == 0 {
			target = -target // the whole group
		}
		_ = syscall.Kill(target, syscall.SIGKILL)
		_ = cmd.Wait()
		got := w.ask()
		if got.err != nil {
			t.Fatalf("round %d: %s: %v", round, got.err.Code, got.err)
		}
		if !w.good(got.token) {
			t.Fatalf("round %d: the API refuses the token", round)
		}
		w.waitForRotators()
	}
	l := w.server.Ledger()
	if l.Revoked() != 0 || len(l.Reuse) != 0 || l.MaxInflight["ada"] > 1 {
		t.Errorf("%d logins revoked, %d reuses, %d requests at once; want 0, 0, at most 1", l.Revoked(), len(l.Reuse), l.MaxInflight["ada"])
	}
	t.Logf("%d token requests", l.TokenRequests)
}

// Signals that end a process reach the caller only.
func TestSignalledRotator(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
			release := make(chan struct{})
			w.server.Inject(brokertest.Fault{Until: release})
			a := w.add("ada", -time.Second)
			done := make(chan answer, 1)
			go func() { done <- w.ask() }()
			w.await("a refresh", func(l brokertest.Ledger) bool { return l.Inflight["ada"] > 0 })
			pid := w.account(a.ID).Intents[0].PID
			if err := syscall.Kill(pid, sig); err != nil {
				t.Fatal(err)
			}
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
