package broker

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
)

// The caller, or its whole process group (on Windows: its job), is killed at a
// random moment of a rotation against a server that revokes the login when a
// refresh token is used twice. The rotator outlives it: afterwards there is always a valid token.
// (The complaint: a plugin's time-out kills the tool in the middle of a refresh,
// and the login is gone.)
func TestKilledCallers(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config{Rotation: brokertest.Strict, Latency: 20 * time.Millisecond, AccessTTL: time.Hour}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, cfg)
		w.add("ada", -time.Second)
		killCallers(w, rounds(t, proofs.Size(10, 25)))
	})
	t.Run("keychain", func(t *testing.T) {
		t.Parallel()
		killCallers(expiredInKeychain(t, cfg, keystoretest.GnomeKeyring(t).Env), rounds(t, proofs.Size(2, 5)))
	})
}

func killCallers(w *world, count int) {
	w.t.Helper()
	id, interrupted, served := w.only().ID, 0, 0
	span := time.Second // within which the blow falls
	for round := range count {
		cmd := w.command("TEST_REJECTED=" + lease(id, w.account(id).Generation))
		allowRejection(w, id)
		began, done := time.Now(), make(chan error, 1)
		kill := startApart(w.t, cmd)
		go func() { done <- cmd.Wait() }()
		select {
		case <-done:
			span = time.Since(began) * 5 / 4 // a rotation takes that long here
		case <-time.After(rand.N(span)):
			interrupted++
			kill(round%2 == 0)
			<-done
		}
		got := w.ask()
		switch {
		case got.err != nil:
			w.t.Errorf("round %d: %s: %v", round, got.err.Code, got.err)
		case !w.good(got.token):
			w.t.Errorf("round %d: the API refuses the token", round)
		default:
			served++
		}
		w.waitForRotators()
	}
	l := w.server.Ledger()
	if l.Revoked() != 0 || len(l.Reuse) != 0 || l.MaxInflight["ada"] > 1 {
		w.t.Errorf("%d logins revoked, %d reuses, %d requests at once; want 0, 0, at most 1", l.Revoked(), len(l.Reuse), l.MaxInflight["ada"])
	}
	w.t.Logf("%d rounds, %d of them killed: %d token requests, %d reuses, %d logins revoked, %d with a good token afterwards",
		count, interrupted, l.TokenRequests, len(l.Reuse), l.Revoked(), served)
}
