package pool

import (
	"fmt"
	"math"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

const (
	// unstatedEnd is for how long what was said of a quota window counts whose end was not.
	unstatedEnd = time.Hour
	// inexact is how far a percentage that came as a fraction may be off: 0.29 is 29.
	inexact = 1e-9
)

// reached is the fullest quota window of a that is used up to the mark, a percentage; nil:
// there is none, or no mark. It has to be one of the whole account, and not past its reset.
// With again, one that moved the pool already counts as well.
func reached(a *index.Account, mark int, again bool, now time.Time) *index.Usage {
	var fullest *index.Usage
	for i := range a.Usage {
		u := &a.Usage[i]
		end := u.ResetsAt
		if end.IsZero() {
			end = u.ReportedAt.Add(unstatedEnd)
		}
		switch {
		case mark == 0, !end.After(now), u.Used*100 < float64(mark)-inexact, ratelimit.OfOneModel(u.Window), u.Moved && !again:
		case fullest == nil || u.Used > fullest.Used:
			fullest = u
		}
	}
	return fullest
}

// Percent is a fraction of a quota in whole percents; never 100 of what is not used up.
func Percent(used float64) int {
	n := int(math.Round(min(used, 9.99) * 100))
	if used < 1 {
		n = min(n, 99)
	}
	return n
}

// fresher leaves those accounts that are under the mark; where all have reached it, it
// leaves all. The preferred one stays among them if the pool moved on from it within that
// window already.
func (sel Selected) fresher(free []*index.Account, prefer string, now time.Time) (left []*index.Account) {
	if sel.switchAt == 0 {
		return free
	}
	for _, a := range free {
		if reached(a, sel.switchAt, a.ID != prefer, now) == nil {
			left = append(left, a)
		}
	}
	if left == nil {
		return free
	}
	return left
}

// InsteadOf says why a is not the one, but chosen; empty: it could be.
func (sel Selected) InsteadOf(a, chosen *index.Account, now time.Time) string {
	if a == nil {
		return ""
	}
	if why := insteadOf(a, sel.Scope, now); why != "" {
		return why
	}
	if u := reached(a, sel.switchAt, true, now); u != nil && reached(chosen, sel.switchAt, true, now) == nil {
		return fmt.Sprintf("%s has used %d%% of its %s, and switch_at is %d%%; ", fault.Quote(a.Label), Percent(u.Used), ratelimit.WindowName(u.Window), sel.switchAt)
	}
	return ""
}

// Remember notes how full a's quota windows are. If that takes a to the mark, its pool moves
// on to an account that is under it.
func (r Rules) Remember(idx *index.Index, a *index.Account, windows []ratelimit.Window, now time.Time) {
	if r.SwitchAt == 0 {
		Remember(a, windows, now)
		return
	}
	r.MoveOn(idx, a, now, func() { Remember(a, windows, now) })
}

// Heed notes of the windows in which a reached the mark that they move the pool no more:
// it moved on, or a person uses a in spite of them.
func (r Rules) Heed(a *index.Account, now time.Time) {
	if a == nil {
		return
	}
	for u := reached(a, r.SwitchAt, false, now); u != nil; u = reached(a, r.SwitchAt, false, now) {
		u.Moved = true
	}
}

// sameWindow reports that u speaks of the window that old speaks of, and not of the next
// one, whose end is later and of which less is used.
func sameWindow(old, u index.Usage) bool {
	return u.Used >= old.Used || !u.ResetsAt.IsZero() && u.ResetsAt.Sub(old.ResetsAt) <= time.Minute
}

// Use makes a the current one of its pool, whatever it has used.
func (r Rules) Use(idx *index.Index, a *index.Account, now time.Time) {
	idx.Use(a)
	r.Heed(a, now)
}
