//go:build unix

package broker

import (
	"syscall"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/testenv"
)

// A rotator that is stopped (SIGSTOP, docker pause, a laptop's lid) for longer than it
// would wait reads what lies in its socket when it goes on. (The complaint: the timer
// ended the request in the instant of waking up, the new token was lost, and the next
// refresh sent the spent one.)
func TestFrozenRotator(t *testing.T) {
	const patience = time.Second
	w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
	a := w.add("ada", -time.Second)
	release := make(chan struct{})
	w.server.Inject(brokertest.Fault{Until: release})
	got := make(chan answer, 1)
	go func() { got <- w.askApart("TEST_PATIENCE=" + patience.String()) }()
	w.await("the request", func(l brokertest.Ledger) bool { return l.TokenRequests == 1 })
	pid := 0
	for deadline := time.Now().Add(patience); pid == 0; time.Sleep(time.Millisecond) {
		if intents := w.account(a.ID).Intents; len(intents) > 0 {
			pid = intents[0].PID
		} else if time.Now().After(deadline) {
			t.Fatal("no request is under way")
		}
	}
	testenv.Must(t, syscall.Kill(pid, syscall.SIGSTOP))
	close(release)
	time.Sleep(patience + patience/2)
	testenv.Must(t, syscall.Kill(pid, syscall.SIGCONT))
	if got := <-got; got.err != nil || !w.good(got.token) {
		t.Errorf("%+v", got)
	}
	if n := sends(w.server.Ledger()); n != 1 {
		t.Errorf("the refresh token was sent %d times", n)
	}
	if acc := w.account(a.ID); acc.Failure != nil || acc.Intents != nil || acc.Generation != 2 {
		t.Errorf("%+v", acc)
	}
}
