package broker

import (
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

const (
	// A guess that comes again this soon after the last one ended is about
	// requests that were under way, not about the time that was guessed.
	straggler = time.Second
	// guessMemory is for how long a guess that is over makes the next one longer.
	guessMemory = time.Hour
	// An account has a handful of models and windows; more is somebody's mistake.
	maxHolds, maxUsage = 64, 32
	// usageEvery is how often a quota window that did not change is written again.
	usageEvery = time.Minute
)

// addHold makes a held as v says, and returns the hold on that scope that is
// then in force. A newer shorter signal never shortens a proven hold, and a
// guess changes nothing while any hold runs: twenty callers that report one
// limit make one guess.
func addHold(a *index.Account, v ratelimit.Verdict, now time.Time) index.Hold {
	h := index.Hold{Scope: v.Scope, Until: v.Until.UTC(), Source: v.Source, Proven: v.Proven, Cut: v.Cut, ReportedAt: now.UTC()}
	i := slices.IndexFunc(a.Holds, func(o index.Hold) bool { return o.Scope == h.Scope })
	switch {
	case i >= 0:
	case len(a.Holds) < maxHolds:
		i = len(a.Holds)
		a.Holds = append(a.Holds, index.Hold{Proven: true})
	default: // the one that is over first makes room
		i = 0
		for j, o := range a.Holds {
			if o.Until.Before(a.Holds[i].Until) {
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
			if since >= straggler {
				h.Guesses = min(h.Guesses+1, index.MaxCount)
			}
		}
		var d time.Duration
		d, h.Cut = ratelimit.Guess(h.Guesses - 1)
		h.Until = now.Add(d).UTC()
	case running:
		h.ProbedAt = old.ProbedAt
	}
	h.Extra = old.Extra
	a.Holds[i] = h
	return h
}

// refute drops the guesses that a success with this scope proves wrong.
func refute(a *index.Account, scope string) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Proven && (h.Scope == heldForScope || h.Scope == scope)
	})
}

// forget drops what is over and says nothing any more.
func forget(a *index.Account, now time.Time) {
	a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
		return !h.Until.After(now) && (h.Proven || now.Sub(h.Until) >= guessMemory)
	})
	a.Usage = slices.DeleteFunc(a.Usage, func(u index.Usage) bool { return !u.ResetsAt.IsZero() && !u.ResetsAt.After(now) })
}

// remember notes how full a's quota windows are.
func remember(a *index.Account, windows []ratelimit.Window, now time.Time) {
	for _, w := range windows {
		u := index.Usage{Window: w.Window, Used: w.Used, ResetsAt: seconds(w.ResetsAt), ReportedAt: seconds(now)}
		if w.ResetsAt.IsZero() {
			u.ResetsAt = time.Time{}
		}
		i := slices.IndexFunc(a.Usage, func(o index.Usage) bool { return o.Window == u.Window })
		if i < 0 {
			if len(a.Usage) < maxUsage {
				a.Usage = append(a.Usage, u)
			}
			continue
		}
		old := a.Usage[i]
		same := old.Used == u.Used && old.ResetsAt.Sub(u.ResetsAt).Abs() <= 2*time.Second
		if same && now.Sub(old.ReportedAt).Abs() < usageEvery {
			continue
		}
		u.Extra = old.Extra
		a.Usage[i] = u
	}
}

// AccountHold is a hold with whose it is.
type AccountHold struct {
	ID    string `json:"id"`
	Label string `json:"label"`
	HoldView
}

// Holds returns every hold that is not over, by pool and rank.
func (b *Broker) Holds() ([]AccountHold, error) {
	views, err := b.List()
	if err != nil {
		return nil, err
	}
	all := []AccountHold{}
	for _, v := range views {
		for _, h := range v.Holds {
			all = append(all, AccountHold{v.ID, v.Label, h})
		}
	}
	return all, nil
}

// ClearHolds removes the holds of an account, or with scope not empty the one
// on that scope, and returns those that were in force. Without a scope it also
// ends the wait of a refresh that failed, whoever asked for it, and has a long-lived
// token tried again that the API refused: a person knows better. Errors: NoAccount, Ambiguous.
func (b *Broker) ClearHolds(ctx context.Context, account, scope string) ([]AccountHold, error) {
	cleared := []AccountHold{}
	err := b.updateAccount(ctx, account, func(_ *index.Index, a *index.Account) error {
		now := time.Now()
		a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool {
			if scope != "" && h.Scope != scope {
				return false
			}
			if h.Until.After(now) {
				cleared = append(cleared, AccountHold{a.ID, a.Label, viewHold(h)})
			}
			return true
		})
		if scope == "" && a.Failure != nil && a.Failure.NextTryAt.After(now) {
			a.Failure.NextTryAt = now.UTC()
		}
		if scope == "" {
			forgive(a)
		}
		return nil
	})
	return cleared, err
}
