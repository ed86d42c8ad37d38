package pool

import (
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

const (
	// Straggler is how soon after the last one ended: a guess that comes again this soon is about
	// requests that were under way, not about the time that was guessed.
	Straggler = time.Second
	// guessMemory is for how long a guess that is over makes the next one longer.
	guessMemory = time.Hour
	// MaxHolds bounds what is kept: an account has a handful of models and windows; more is somebody's mistake.
	MaxHolds = 64
	// MaxUsage is likewise.
	MaxUsage = 32
	// usageEvery is how often a quota window that did not change is written again.
	usageEvery = time.Minute
)

// AddHold makes a held as v says, and returns the hold on that scope that is
// then in force. A newer shorter signal never shortens a proven hold, and a
// guess changes nothing while any hold runs: twenty callers that report one
// limit make one guess.
func AddHold(a *index.Account, v ratelimit.Verdict, now time.Time) index.Hold {
	h := index.Hold{Scope: v.Scope, Until: v.Until.UTC(), Source: v.Source, Proven: v.Proven, Cut: v.Cut, ReportedAt: now.UTC()}
	i := slices.IndexFunc(a.Holds, func(o index.Hold) bool { return o.Scope == h.Scope })
	switch {
	case i >= 0:
	case len(a.Holds) < MaxHolds:
		i = len(a.Holds)
		a.Holds = append(a.Holds, index.Hold{Proven: true})
	default: // the one that is over first makes room
		i = 0
		for j, o := range a.Holds {
			if o.Source != PersonSource && (a.Holds[i].Source == PersonSource || o.Until.Before(a.Holds[i].Until)) {
				i = j
			}
		}
		a.Holds[i] = index.Hold{Proven: true}
	}
	old := a.Holds[i]
	switch running := old.Until.After(now); {
	case running && (!h.Proven || old.Proven && !h.Until.After(old.Until)):
		return old
	case !h.Proven:
		h.Guesses = 1
		if since := now.Sub(old.Until); !old.Proven && since < guessMemory {
			h.Guesses = old.Guesses
			if since >= Straggler {
				h.Guesses = min(h.Guesses+1, index.MaxCount)
			}
		}
		var d time.Duration
		d, h.Cut = ratelimit.Guess(h.Guesses - 1)
		h.Until = now.Add(d).UTC()
	case running:
		h.ProbedAt = old.ProbedAt
		if old.Source == PersonSource {
			h.Source, h.Cut = old.Source, false
		}
	}
	h.Extra = old.Extra
	a.Holds[i] = h
	return h
}

// PersonSource is the source of a hold by hand. Such a hold is never probed and never
// cut; it ends at its time, or when it is cleared.
const PersonSource = "person"

// HoldByHand makes a held until then, as a person says, and returns that hold. Where a
// longer one runs that a provider stated, it takes its end. A hold by hand before it is
// replaced, also by a shorter one.
func HoldByHand(a *index.Account, scope string, until, now time.Time) index.Hold {
	h := index.Hold{Scope: scope, Until: until.UTC(), Source: PersonSource, Proven: true, ReportedAt: now.UTC()}
	a.Holds = slices.DeleteFunc(a.Holds, func(old index.Hold) bool {
		if old.Scope != scope {
			return false
		}
		if old.Proven && old.Source != PersonSource && old.Until.After(h.Until) {
			h.Until = old.Until
		}
		h.Extra = old.Extra
		return true
	})
	a.Holds = append(a.Holds, h)
	return h
}

// Refute drops the guesses that a success with this scope proves wrong.
func Refute(a *index.Account, scope string) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Proven && (h.Scope == HeldForScope || h.Scope == scope)
	})
}

// Forget drops what is over and says nothing any more.
func Forget(a *index.Account, now time.Time) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Until.After(now) && (h.Proven || now.Sub(h.Until) >= guessMemory)
	})
	a.Usage = slices.DeleteFunc(a.Usage, func(u index.Usage) bool { return !u.ResetsAt.IsZero() && !u.ResetsAt.After(now) })
}

// Remember notes how full a's quota windows are.
func Remember(a *index.Account, windows []ratelimit.Window, now time.Time) {
	for _, w := range windows {
		u := index.Usage{Window: w.Window, Used: w.Used, ResetsAt: Seconds(w.ResetsAt), ReportedAt: Seconds(now)}
		if w.ResetsAt.IsZero() {
			u.ResetsAt = time.Time{}
		}
		i := slices.IndexFunc(a.Usage, func(o index.Usage) bool { return o.Window == u.Window })
		if i < 0 {
			if len(a.Usage) < MaxUsage {
				a.Usage = append(a.Usage, u)
			}
			continue
		}
		old := a.Usage[i]
		same := old.Used == u.Used && old.ResetsAt.Sub(u.ResetsAt).Abs() <= 2*time.Second
		if same && now.Sub(old.ReportedAt).Abs() < usageEvery {
			continue
		}
		u.Extra, u.Moved = old.Extra, old.Moved && sameWindow(old, u)
		a.Usage[i] = u
	}
}

// LongLived reports that a is a long-lived token.
func LongLived(a *index.Account) bool { return a.TokenFingerprint != "" }

// Fixed reports that a's credential is never refreshed: what the API says against it is
// about the account.
func Fixed(a *index.Account) bool { return a.Kind == index.KindAPIKey || LongLived(a) }

// RejectedForGood reports that the API refused a's long-lived token, and again after the hold.
func RejectedForGood(a *index.Account) bool { return LongLived(a) && a.Dead == a.TokenFingerprint }

// Forgive makes a long-lived token usable again that the API refused: a person knows
// better.
func Forgive(a *index.Account) {
	if LongLived(a) {
		a.RefusedGeneration, a.Dead = 0, ""
	}
}

// AccountHold is a hold with whose it is.
type AccountHold struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	HoldView
}

// maxScope bounds a caller's name for a scope, in runes.
const maxScope = 128

// CheckScope checks a caller's name for what a hold is about.
func CheckScope(scope string) error {
	if utf8.RuneCountInString(scope) > maxScope || !utf8.ValidString(scope) ||
		slices.ContainsFunc([]rune(scope), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fault.Errorf(fault.Usage, "the scope is not a short printable text")
	}
	return nil
}
