package record

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func withBootClock(t *testing.T, f func() Boot) {
	t.Helper()
	old := BootNow
	BootNow = f
	t.Cleanup(func() { BootNow = old })
}

// How long a token is good for, and what a caller who needs it for a minute is
// told, by either clock. T1 to T6 of the fault list are rows here.
func TestJudge(t *testing.T) {
	withBootClock(t, func() Boot { return Boot{} })
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	for _, row := range []struct {
		name     string
		obtained time.Duration // before now
		lifetime time.Duration // 0: unknown
		imported bool
		minTTL   time.Duration
		want     Freshness
	}{
		{"new", 0, time.Hour, false, time.Minute, fresh},
		{"inside the soft margin", 55 * time.Minute, time.Hour, false, time.Minute, Soft},
		{"below min-ttl", 59*time.Minute + 30*time.Second, time.Hour, false, time.Minute, Stale},
		{"T5 at the very end", time.Hour, time.Hour, false, 0, Stale},
		{"unknown lifetime", 100 * time.Hour, 0, false, time.Minute, fresh},
		{"T6 short-lived, more than half left", 10 * time.Second, 30 * time.Second, false, time.Minute, fresh},
		{"T6 short-lived, less than half left", 20 * time.Second, 30 * time.Second, false, time.Minute, Stale},
		{"imported, goes by min-ttl alone", 0, 30 * time.Second, true, time.Minute, Stale},
		{"imported and long", 0, time.Hour, true, time.Minute, fresh},
		{"T2 obtained in the future", -4 * time.Hour, time.Hour, false, time.Minute, Stale},
		{"T2 obtained in the future, lifetime unknown", -4 * time.Hour, 0, false, time.Minute, fresh},
		{"a little clock drift", -time.Minute, time.Hour, false, time.Minute, fresh},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := Access{Account: "acc_aaaaaaaaaaaaaaaa", ObtainedAt: now.Add(-row.obtained), Imported: row.imported}
			if row.lifetime > 0 {
				a.ExpiresAt = a.ObtainedAt.Add(row.lifetime)
			}
			if got := a.Judge(now, row.minTTL, ""); got != row.want {
				t.Errorf("judge = %v, want %v", got, row.want)
			}
		})
	}
}

// T1, T3: setting the wall clock changes nothing on the same boot, and a
// suspended machine's token has aged.
func TestJudgeByBootClock(t *testing.T) {
	uptime := 10 * time.Hour
	withBootClock(t, func() Boot { return Boot{"this", uptime} })
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	a := Access{Account: "acc_aaaaaaaaaaaaaaaa", ObtainedAt: now, ExpiresAt: now.Add(time.Hour), Boot: Boot{"this", uptime}}
	uptime += 10 * time.Minute
	for _, wall := range []time.Time{now.Add(10 * time.Minute), now.Add(-4 * time.Hour)} {
		if got := a.Judge(wall, time.Minute, ""); got != fresh {
			t.Errorf("wall clock %v: judge = %v, want fresh", wall, got)
		}
	}
	// A machine whose boot clock stood still: over by the wall clock is over.
	if got := a.Judge(now.AddDate(0, 0, 1), time.Minute, ""); got != Stale {
		t.Errorf("a day later by the wall clock: judge = %v, want stale", got)
	}
	uptime += time.Hour
	if got := a.Judge(now, time.Minute, ""); got != Stale {
		t.Errorf("after an hour of suspend: judge = %v, want stale", got)
	}
	// T4: after a reboot the wall clock has to do.
	a.Boot.ID = "another"
	if got := a.Judge(now.Add(time.Minute), time.Minute, ""); got != fresh {
		t.Errorf("after a reboot: judge = %v, want fresh", got)
	}
}

// The soft margin is spread by account, and never more than half the lifetime.
func TestSoftMargin(t *testing.T) {
	for _, lifetime := range []time.Duration{time.Second, 30 * time.Second, time.Hour, 8 * time.Hour, 365 * 24 * time.Hour} {
		base := time.Minute + min(5*time.Minute, lifetime/10)
		for _, id := range []string{"acc_aaaaaaaaaaaaaaaa", "acc_bbbbbbbbbbbbbbbb", "acc_cccccccccccccccc"} {
			m := (&Access{Account: id}).softMargin(time.Minute, lifetime, "folder")
			if m > lifetime/2 {
				t.Errorf("%v of %v: more than half", m, lifetime)
			}
			if lifetime/2 > 2*base && (m < base*9/10 || m > base*11/10) {
				t.Errorf("%v is not within 10%% of %v", m, base)
			}
		}
	}
}

// A thousand machines that share an account, each with a request a minute, don't look for
// its new token at once; and each looks while its own token is good.
func TestSoftMarginOfManyMachines(t *testing.T) {
	withBootClock(t, func() Boot { return Boot{} })
	const machines = 1000
	issued := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	busiest := func(generation int) (peak int) {
		looks := map[int]int{}                // in each ten seconds
		random := rand.New(rand.NewPCG(1, 2)) // #nosec G404 -- not a secret
		for machine := range machines {
			a := Access{Account: "acc_aaaaaaaaaaaaaaaa", ObtainedAt: issued, ExpiresAt: issued.Add(time.Hour), PoolGeneration: generation}
			at, state := issued.Add(time.Duration(random.IntN(60_000))*time.Millisecond), fresh
			for ; state == fresh; at = at.Add(time.Minute) {
				state = a.Judge(at, time.Minute, fmt.Sprintf("folder%d", machine))
			}
			if state == Stale {
				t.Fatalf("machine %d looks when its token is over", machine)
			}
			looks[int(at.Sub(issued)/(10*time.Second))]++
		}
		for _, n := range looks {
			peak = max(peak, n)
		}
		return peak
	}
	alone, spread := busiest(0), busiest(1)
	t.Logf("busiest ten seconds: %d of %d machines; without the spread %d", spread, machines, alone)
	if spread*2 > alone {
		t.Errorf("in the busiest ten seconds %d of %d machines look, %d without the spread", spread, machines, alone)
	}
	var margins []time.Duration
	for machine := range machines {
		margins = append(margins, (&Access{Account: "acc_aaaaaaaaaaaaaaaa", PoolGeneration: 1}).softMargin(time.Minute, time.Hour, fmt.Sprintf("folder%d", machine)))
	}
	least, most := slices.Min(margins), slices.Max(margins)
	if least < 210*time.Second || most > 360*time.Second || most-least < 140*time.Second {
		t.Errorf("margins from %v to %v, want all of 3m30s to 6m", least, most)
	}
}
