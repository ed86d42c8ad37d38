package record

import (
	"hash/fnv"
	"time"
)

// Boot is a moment on the clock that counts from boot, suspend included,
// and that nobody sets. ID tells one boot from the next; empty where the
// system has no such clock, and then wall-clock time has to do.
type Boot struct {
	ID string        `json:"id,omitempty"`
	At time.Duration `json:"at,omitempty"`
}

// BootNow is the boot clock; only tests replace it.
var BootNow = readBootClock

// Remaining returns how long the token is still good for, and whether anything is known
// of its expiry. By the boot clock where that has run on since (then no setting
// of the wall clock matters), else by the wall clock, never more than the
// token's whole lifetime.
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

// Elapsed is how long ago a moment was: by the boot clock, which goes on while the
// machine sleeps, where it was that boot, else by the wall clock.
func Elapsed(at time.Time, boot Boot) time.Duration {
	if b := BootNow(); boot.ID != "" && b.ID == boot.ID {
		return b.At - boot.At
	}
	return time.Now().Round(0).Sub(at.Round(0))
}

// ClockTolerance is how far in the future a token may have been obtained before
// the clock, and with it the expiry, is in doubt.
const ClockTolerance = 2 * time.Minute

// suspect reports that the token was obtained in the future: the clock was set back
// since, and only a refresh tells how old the token is.
func (acc *Access) suspect(now time.Time) bool {
	b := BootNow()
	return acc.ObtainedAt.After(now.Add(ClockTolerance)) && (acc.Boot.ID == "" || b.ID != acc.Boot.ID)
}

// Freshness is what to do with an access token.
type Freshness int

// What Judge says.
const (
	fresh Freshness = iota // hand it out
	Soft                   // hand it out, and have it refreshed in the background
	Stale                  // refresh first
)

// Judge says what to do with an access token for a caller who needs it for
// minTTL. Short-lived tokens: one with more than half of its lifetime left is
// always good enough, where authferry saw its issue.
func (acc *Access) Judge(now time.Time, minTTL time.Duration) Freshness {
	left, known := acc.Remaining(now)
	switch {
	case !known:
		return fresh
	case acc.suspect(now), now.After(acc.ExpiresAt.Add(ClockTolerance)):
		// One clock says that it is over. It is still served if a refresh fails.
		return Stale
	}
	lifetime := acc.ExpiresAt.Sub(acc.ObtainedAt)
	if left > lifetime/2 && !acc.Imported {
		return fresh
	}
	if left < minTTL || left <= 0 {
		return Stale
	}
	if left < softMargin(acc.Account, minTTL, lifetime) {
		return Soft
	}
	return fresh
}

// softMargin is how long before its end a token is refreshed in the background.
// Earlier would be harmful: on some servers every refresh kills the access
// token that other programs still use. The account's id spreads it by ±10%.
func softMargin(account string, minTTL, lifetime time.Duration) time.Duration {
	margin := minTTL + min(5*time.Minute, lifetime/10)
	h := fnv.New32a()
	_, _ = h.Write([]byte(account))
	spread := int64(h.Sum32()%201) - 100 // -100 … 100 thousandths
	margin += time.Duration(int64(margin) / 1000 * spread)
	return min(margin, lifetime/2)
}
