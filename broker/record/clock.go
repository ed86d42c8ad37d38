package record

import (
	"hash/fnv"
	"time"
)

// Boot is a moment on the clock that counts from boot, including suspend, and can't be set.
// ID names the boot. It is empty where the system has no such clock; then wall-clock time
// is used.
type Boot struct {
	ID string        `json:"id,omitempty"`
	At time.Duration `json:"at,omitempty"`
}

// BootNow reads the boot clock. Only tests replace it.
var BootNow = readBootClock

// Remaining returns how long the token is still valid, and whether its expiry is known. It
// uses the boot clock if the machine has not been restarted since, so that setting the wall
// clock doesn't matter; else the wall clock. It is never more than the token's whole
// lifetime.
func (acc *Access) Remaining(now time.Time) (left time.Duration, known bool) {
	if acc.ExpiresAt.IsZero() {
		return 0, false
	}
	lifetime := acc.ExpiresAt.Sub(acc.ObtainedAt)
	if b := BootNow(); acc.Boot.ID != "" && b.ID == acc.Boot.ID && b.At >= acc.Boot.At {
		return lifetime - (b.At - acc.Boot.At), true
	}
	return min(acc.ExpiresAt.Sub(now), lifetime), true
}

// Elapsed is the time since a moment: by the boot clock, which goes on while the machine
// sleeps, if that was in this boot; else by the wall clock.
func Elapsed(at time.Time, boot Boot) time.Duration {
	if b := BootNow(); boot.ID != "" && b.ID == boot.ID {
		return b.At - boot.At
	}
	return time.Now().Round(0).Sub(at.Round(0))
}

// ClockTolerance is how far in the future a token may seem to have been obtained before the
// clock, and with it the expiry, is in doubt.
const ClockTolerance = 2 * time.Minute

// suspect reports whether the token was obtained in the future, by the clock: then it was
// set back since, and only a refresh can tell how old the token is.
func (acc *Access) suspect(now time.Time) bool {
	b := BootNow()
	return acc.ObtainedAt.After(now.Add(ClockTolerance)) && (acc.Boot.ID == "" || b.ID != acc.Boot.ID)
}

// Freshness is what to do with an access token.
type Freshness int

// The answers of Judge.
const (
	fresh Freshness = iota // hand it out
	Soft                   // hand it out, and have it refreshed in the background
	Stale                  // refresh first
)

// Judge says what to do with an access token for a caller that needs it for minTTL. A token
// with more than half of its lifetime left is always good enough, so that short-lived
// tokens are not refreshed with each call; but only if authferry saw its issue. folder is the
// id of this machine's folder (index.Index.Store).
func (acc *Access) Judge(now time.Time, minTTL time.Duration, folder string) Freshness {
	left, known := acc.Remaining(now)
	switch {
	case !known:
		return fresh
	case acc.suspect(now), now.After(acc.ExpiresAt.Add(ClockTolerance)):
		// By one of the clocks it has expired. It is still served if a refresh fails.
		return Stale
	}
	lifetime := acc.ExpiresAt.Sub(acc.ObtainedAt)
	if left > lifetime/2 && !acc.Imported {
		return fresh
	}
	if left < minTTL || left <= 0 {
		return Stale
	}
	if left < acc.softMargin(minTTL, lifetime, folder) {
		return Soft
	}
	return fresh
}

// softMargin is how long before its end a token is refreshed in the background. Earlier
// would do harm: on some servers each refresh ends the access token that other programs
// still use. It differs between accounts by up to 10% either way. For an account that
// machines share, it differs between the machines instead, by up to half of the time before
// minTTL, so that not all of them look at the pool's engine at once. In the other half, a
// machine whose calls are rare still comes in time.
func (acc *Access) softMargin(minTTL, lifetime time.Duration, folder string) time.Duration {
	window := min(5*time.Minute, lifetime/10)
	margin := minTTL + window
	h := fnv.New32a()
	_, _ = h.Write([]byte(acc.Account))
	if acc.PoolGeneration > 0 {
		_, _ = h.Write([]byte(folder))
		margin -= window / 2 / 1000 * time.Duration(h.Sum32()%1000)
	} else {
		spread := int64(h.Sum32()%201) - 100 // -100 … 100 thousandths
		margin += time.Duration(int64(margin) / 1000 * spread)
	}
	return min(margin, lifetime/2)
}
