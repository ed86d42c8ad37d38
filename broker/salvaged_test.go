package broker

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/brokertest"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/record"
)

// A server that spends each refresh token for good is understood in every dialect,
// at each of two refreshes.
func TestDialects(t *testing.T) {
	for _, spoil := range brokertest.Spelled() {
		t.Run(string(spoil), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: brokertest.Strict})
			a := w.add("ada", -time.Second)
			w.server.Inject(brokertest.Fault{Spoil: spoil, Times: -1})
			for n := 1; n <= 2; n++ {
				if got := w.ask(); got.err != nil || !w.good(got.token) {
					t.Fatalf("refresh %d: %v", n, got.err)
				}
				if sent := sends(w.server.Ledger()); sent != n {
					t.Fatalf("a refresh token was sent %d times at refresh %d", sent, n)
				}
				expireToken(w, a.ID)
			}
		})
	}
}

// What was found in an odd answer may be no refresh token of this login. When it is
// refused, the one before it is tried, once, and only then a login is needed.
func TestSalvagedTokenIsRefused(t *testing.T) {
	const decoy = `{"result":{"access_token":"decoy-at","refresh_token":"decoy-rt"}}`
	for _, row := range []struct {
		name  string
		spent bool // the server had spent the refresh token, and the new one is lost
		kind  brokertest.Rotation
		point string // where the rotator is killed once
		want  fault.Code
	}{
		{name: "unspent", kind: brokertest.Strict},
		{name: "spent, fixed", kind: brokertest.Fixed, spent: true},
		{name: "spent, strict", kind: brokertest.Strict, spent: true, want: fault.LoginNeeded},
		{name: "unspent, killed when it had the refusal", kind: brokertest.Strict, point: "K11"},
		{name: "unspent, killed when it was restored", kind: brokertest.Strict, point: "K14"},
		{name: "unspent, killed when the index had it", kind: brokertest.Strict, point: "K15"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, brokertest.Config{Rotation: row.kind})
			a := w.add("ada", -time.Second)
			old := w.stored(a.ID).RefreshToken
			w.server.Inject(brokertest.Fault{Status: 200, Body: decoy, After: row.spent})
			if got := w.ask(); got.err != nil || got.token != "decoy-at" {
				t.Fatalf("%+v", got)
			}
			if g := w.stored(a.ID); !g.Salvaged || g.RefreshToken.Reveal() != "decoy-rt" {
				t.Fatalf("%+v", g)
			}
			expireToken(w, a.ID)
			before := w.server.TokenRequests()
			var env []string
			if row.point != "" {
				env = []string{"TEST_KILL_AT=" + row.point, "TEST_KILL_ONCE=" + t.TempDir() + "/killed"}
			}
			got := w.askApart(env...)
			requests := w.server.TokenRequests() - before
			if row.want != "" {
				if got.err == nil || got.err.Code != row.want || requests != 2 {
					t.Fatalf("%+v after %d requests, want %s after 2", got, requests, row.want)
				}
				if acc := w.account(a.ID); acc.Dead != acc.Fingerprint || acc.Fingerprint != record.Fingerprint(old) {
					t.Error("the refresh token that is stored is not the one that is marked")
				}
				if again := w.ask(); again.err == nil || again.err.Code != row.want || w.server.TokenRequests() != before+2 {
					t.Errorf("asked again: %+v, %d requests", again, w.server.TokenRequests()-before)
				}
				return
			}
			if got.err != nil || !w.good(got.token) {
				t.Fatalf("%+v", got)
			}
			if max := map[bool]int{false: 2, true: 3}[row.point == "K11"]; requests > max {
				t.Errorf("%d requests, want %d", requests, max)
			}
			if l := w.server.Ledger(); len(l.Reuse) != 0 && !row.spent {
				t.Error("a spent refresh token was sent")
			}
			if g := w.stored(a.ID); g.Salvaged {
				t.Error("the new refresh token is marked as salvaged")
			}
			if acc := w.account(a.ID); acc.Dead != "" || acc.Intents != nil || acc.Failure != nil {
				t.Errorf("%+v", acc)
			}
		})
	}
}
