package broker

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/keystore/keystoretest"
	"github.com/authferry/authferry/proofs"
	"github.com/authferry/authferry/testenv"
)

// The one window in which a killed rotator costs a login: from the first byte of
// the refresh token sent (K7) until the new grant is stored (K14). How long it is
// is measured here, not judged; what a random blow does is: it costs the login
// only where the server has seen the spent token again, and the user is told.
func TestWindow(t *testing.T) {
	t.Parallel()
	cfg := brokertest.Config{Rotation: brokertest.Strict, Latency: 100 * time.Millisecond}
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, cfg)
		w.add("ada", -time.Second)
		measureWindow(w, rounds(t, proofs.Size(3, 8)))
		killRandomRotators(t, newWorld, cfg, rounds(t, proofs.Size(4, 8)))
	})
	t.Run("keychain", func(t *testing.T) {
		t.Parallel()
		k := keystoretest.GnomeKeyring(t)
		measureWindow(expiredInKeychain(t, cfg, k.Env), rounds(t, proofs.Size(1, 4)))
		killRandomRotators(t, func(t *testing.T, cfg brokertest.Config) *world {
			return keychainWorld(t, cfg, k.Env)
		}, cfg, rounds(t, proofs.Size(2, 4)))
	})
}

func measureWindow(w *world, count int) {
	w.t.Helper()
	id := w.only().ID
	var whole, ours []time.Duration
	for range count {
		points := filepath.Join(w.t.TempDir(), "points")
		allowRejection(w, id)
		if got := w.askApart("TEST_POINTS="+points, "TEST_REJECTED="+lease(id, w.account(id).Generation)); got.err != nil {
			w.t.Fatal(got.err)
		}
		w.waitForRotators()
		at := pointsIn(w, points)
		sent, answered, stored := at["K7"], at["K11"], at["K14"]
		if sent == 0 || answered < sent || stored < answered {
			w.t.Fatalf("a rotation without the points of the window, or in another order: %v", at)
		}
		whole, ours = append(whole, time.Duration(stored-sent)), append(ours, time.Duration(stored-answered))
	}
	w.t.Logf("%d rotations: sent until stored: median %v, p95 %v; of that after the answer: median %v, p95 %v",
		count, middle(whole, 50), middle(whole, 95), middle(ours, 50), middle(ours, 95))
}

func pointsIn(w *world, path string) map[string]int64 {
	w.t.Helper()
	data, err := os.ReadFile(path)
	testenv.Must(w.t, err)
	at := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		var point string
		var nanos int64
		testenv.Must(w.t, testenv.Err(fmt.Sscan(line, &point, &nanos)))
		at[point] = nanos
	}
	return at
}

// middle is the p-th percentile.
func middle(all []time.Duration, p int) time.Duration {
	slices.Sort(all)
	return all[min(len(all)-1, len(all)*p/100)].Round(10 * time.Microsecond)
}

// killRandomRotators kills the rotator at a random moment of its life, each time
// with a login of its own.
func killRandomRotators(t *testing.T, open func(*testing.T, brokertest.Config) *world, cfg brokertest.Config, count int) {
	t.Helper()
	span, killed, lost := time.Duration(0), 0, 0
	for round := range count + 1 {
		w := open(t, cfg)
		if got := w.addInChild("ada"); got.err != nil {
			t.Fatal(got.err)
		}
		a := w.only()
		rotator := w.command()
		rotator.Args = []string{"authferry", rotation.Command, a.ID, "1"}
		began, done := time.Now(), make(chan error, 1)
		testenv.Must(t, rotator.Start())
		go func() { done <- rotator.Wait() }()
		if round == 0 {
			<-done
			span = time.Since(began)
			continue
		}
		select {
		case <-done:
		case <-time.After(rand.N(span)):
			killed++
			_ = rotator.Process.Kill()
			<-done
		}
		got, reuses := w.ask(), len(w.server.Ledger().Reuse)
		switch {
		case got.err == nil && w.good(got.token) && reuses == 0:
		case got.err != nil && got.err.Code == fault.LoginNeeded && reuses == 1:
			lost++
		default:
			t.Errorf("round %d: %+v, %d reuses", round, got, reuses)
		}
	}
	t.Logf("%d rounds, %d rotators killed at a random moment of %v: %d cost the login, and login_needed was said", count, killed, span.Round(time.Millisecond), lost)
}
