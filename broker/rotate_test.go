package broker

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/proofs"
)

// Several processes at the moment of expiry cause one token request, and every
// one of them is served. (The complaint: N agents refresh at once, the provider
// sees a replay, and everyone is logged out.)
func TestStampede(t *testing.T) {
	t.Parallel()
	for _, n := range herds(t) {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			stampede(t, n, func() *world {
				w := newWorld(t, slowAndStrict)
				w.add("ada", -time.Second)
				return w
			})
		})
	}
}

// slowAndStrict leaves a herd time to gather.
var slowAndStrict = brokertest.Config{Rotation: brokertest.Strict, Latency: 100 * time.Millisecond}

// herds are the numbers of processes at once; TEST_HERDS ("16 256") replaces
// the usual ones.
func herds(t *testing.T) []int {
	t.Helper()
	sizes := []int{2, 16, 64}[:proofs.Size(2, 3)]
	if fields := strings.Fields(os.Getenv("TEST_HERDS")); len(fields) > 0 {
		sizes = sizes[:0]
		for _, f := range fields {
			n, err := strconv.Atoi(f)
			if err != nil {
				t.Fatalf("TEST_HERDS: %v", err)
			}
			sizes = append(sizes, n)
		}
	}
	return sizes
}

// rounds is how often an experiment is repeated: usual times in every run,
// TEST_ROUNDS times where that is set.
func rounds(t *testing.T, usual int) int {
	t.Helper()
	v := os.Getenv("TEST_ROUNDS")
	if v == "" {
		return usual
	}
	n, err := strconv.Atoi(v)
	if err != nil {
		t.Fatalf("TEST_ROUNDS: %v", err)
	}
	return n
}

// stampede starts n processes at once where one login has expired.
func stampede(t *testing.T, n int, expired func() *world) {
	t.Helper()
	requests, reuses, good, count := 0, 0, 0, rounds(t, 1)
	for range count {
		w := expired()
		answers := make([]answer, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { answers[i] = w.askApart() })
		}
		wg.Wait()
		for i, got := range answers {
			switch {
			case got.err != nil:
				t.Errorf("process %d: %s: %v", i, got.err.Code, got.err)
			case got.token != answers[0].token || !w.good(got.token):
				t.Errorf("process %d got another token, or one that the API refuses", i)
			default:
				good++
			}
		}
		l := w.server.Ledger()
		if l.TokenRequests != 1 || len(l.Reuse) != 0 || l.Revoked() != 0 {
			t.Errorf("%d token requests, %d reuses, %d logins revoked; want 1, 0, 0", l.TokenRequests, len(l.Reuse), l.Revoked())
		}
		if got := w.only(); got.Generation != 2 || got.Intents != nil {
			t.Errorf("generation %d, intents %v; want 2, none", got.Generation, got.Intents)
		}
		noSecretInFiles(w)
		requests, reuses = requests+l.TokenRequests, reuses+len(l.Reuse)
	}
	t.Logf("%d processes, %d rounds: %d token requests, %d reuses, %d of %d with a good token", n, count, requests, reuses, good, count*n)
}

// sends is how often any refresh token arrived. A request whose body never came
// is none: the token had not left.
func sends(l brokertest.Ledger) int {
	n := 0
	for _, f := range l.Families {
		for _, t := range f.RefreshTokens {
			n += len(t.Sends)
		}
	}
	return n
}

// The rotator is killed at each point once. What the next call finds is in
// rotation/doc.go; here is the same table as a check, by server.
func TestKillPoints(t *testing.T) {
	t.Parallel()
	kinds := []brokertest.Rotation{brokertest.Strict, brokertest.GraceNew, brokertest.Fixed, brokertest.Rotate, brokertest.GraceSame}
	killRotators(t, newWorld, kinds[:proofs.Size(2, len(kinds))]...)
}

func killRotators(t *testing.T, open func(*testing.T, brokertest.Config) *world, kinds ...brokertest.Rotation) {
	const window = "window" // the irreducible one
	points := []struct {
		at   string
		want string // "one": a single send in all; "two": one more, of another token; window
	}{
		{"K2", "one"}, {"K3", "one"}, {"K4", "one"}, {"K5", "one"},
		{"K7", "one"}, {"K11", window}, {"K14", "two"}, {"K15", "one"}, {"K16", "one"},
	}
	for _, kind := range kinds {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			for _, p := range points {
				t.Run(p.at, func(t *testing.T) {
					t.Parallel()
					w := open(t, brokertest.Config{Rotation: kind})
					a := w.add("ada", -time.Second)
					got := w.askApart("TEST_KILL_AT="+p.at, "TEST_KILL_ONCE="+filepath.Join(t.TempDir(), "killed"))
					l := w.server.Ledger()
					if p.want == window && (kind == brokertest.Rotate || kind == brokertest.Strict) {
						if got.err == nil || got.err.Code != fault.LoginNeeded {
							t.Fatalf("got %+v; want login_needed, because the provider refused the stored refresh token", got)
						}
						if acc := w.account(a.ID); acc.Dead != acc.Fingerprint {
							t.Error("the refused refresh token is not marked")
						}
						t.Log("came of it: a login")
						return
					}
					if got.err != nil {
						t.Fatalf("the next rotator did not recover: %s: %v", got.err.Code, got.err)
					}
					if !w.good(got.token) {
						t.Error("the API refuses the token")
					}
					want := map[string]int{"one": 1, "two": 2, window: 2}[p.want]
					if sent := sends(l); sent != want {
						t.Errorf("a refresh token was sent %d times, want %d", sent, want)
					}
					if reuse := len(l.Reuse); p.want != window && reuse != 0 {
						t.Errorf("a spent refresh token was sent %d times", reuse)
					}
					if acc := w.account(a.ID); acc.Intents != nil {
						t.Errorf("an intent is left: %+v", acc.Intents)
					}
					if again := w.ask(); again.token != got.token {
						t.Error("the next call gets another token")
					}
					t.Logf("came of it: a token, %d sent", sends(l))
				})
			}
		})
	}
}
