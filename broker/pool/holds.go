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
	// Straggler is how soon after the last guessed hold ended another guess counts as the
	// same one: it is about requests that were under way.
	Straggler = time.Second
	// guessMemory is how long a guess that is over makes the next one longer.
	guessMemory = time.Hour
	// MaxHolds limits the holds of an account. It has a handful of models and windows; more
	// than this is a mistake.
	MaxHolds = 64
	// MaxUsage limits its quota windows likewise.
	MaxUsage = 32
	// usageEvery is how often an unchanged quota window is written again.
	usageEvery = time.Minute
)

// AddHold adds the hold of v to a, and returns the hold on that scope that then applies. A
// newer, shorter signal never shortens a proven hold. A guess changes nothing while any
// hold is running, so twenty callers that report one limit make one guess.
func AddHold(a *index.Account, v ratelimit.Verdict, now time.Time) index.Hold {
	h := index.Hold{Scope: v.Scope, Until: v.Until.UTC(), Source: v.Source, Proven: v.Proven, Cut: v.Cut, ReportedAt: now.UTC()}
	i := room(a, h.Scope)
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

// room is where in a.Holds the hold on this scope is, or can be put.
func room(a *index.Account, scope string) int {
	i := slices.IndexFunc(a.Holds, func(o index.Hold) bool { return o.Scope == scope })
	switch {
	case i >= 0:
	case len(a.Holds) < MaxHolds:
		i = len(a.Holds)
		a.Holds = append(a.Holds, index.Hold{Proven: true})
	default: // the one that ends first makes room
		i = 0
		for j, o := range a.Holds {
			if o.Source != PersonSource && (a.Holds[i].Source == PersonSource || o.Until.Before(a.Holds[i].Until)) {
				i = j
			}
		}
		a.Holds[i] = index.Hold{Proven: true}
	}
	return i
}

// PersonSource is the source of a hold made by hand. Such a hold is never probed or cut: it
// ends at its time, or when it is cleared.
const PersonSource = "person"

// HoldByHand holds a until then, as a person asks, and returns the hold. It replaces an
// earlier hold by hand, even by a shorter one. A longer hold that a provider stated keeps
// its end.
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

// Refute removes the guesses that a success with this scope disproves.
func Refute(a *index.Account, scope string) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Proven && (h.Scope == HeldForScope || h.Scope == scope)
	})
}

// Forget removes holds and usage that are over and no longer matter.
func Forget(a *index.Account, now time.Time) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Until.After(now) && (h.Proven || now.Sub(h.Until) >= guessMemory)
	})
	a.Usage = slices.DeleteFunc(a.Usage, func(u index.Usage) bool { return !u.ResetsAt.IsZero() && !u.ResetsAt.After(now) })
}

// Remember records how full a's quota windows are.
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

// LongLived reports whether a is a long-lived token.
func LongLived(a *index.Account) bool { return a.TokenFingerprint != "" }

// Fixed reports whether a's credential is never refreshed. If the API refuses it, the
// account itself is refused.
func Fixed(a *index.Account) bool { return a.Kind == index.KindAPIKey || LongLived(a) }

// RejectedForGood reports whether the API refused a's long-lived token, and again after the
// hold.
func RejectedForGood(a *index.Account) bool { return LongLived(a) && a.Dead == a.TokenFingerprint }

// Forgive makes a refused long-lived token usable again, because a person says so.
func Forgive(a *index.Account) {
	if LongLived(a) {
		a.RefusedGeneration, a.Dead = 0, ""
	}
}

// AccountHold is a hold with the account that has it.
type AccountHold struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	HoldView
}

// maxScope is the longest name of a scope, in runes.
const maxScope = 128

// CheckScope checks the name that a caller gives to a scope. Error: Usage.
func CheckScope(scope string) error {
	if utf8.RuneCountInString(scope) > maxScope || !utf8.ValidString(scope) ||
		slices.ContainsFunc([]rune(scope), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return fault.Errorf(fault.Usage, "the scope must be a short printable text")
	}
	return nil
}
