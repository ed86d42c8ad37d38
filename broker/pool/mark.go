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
	// unstatedEnd is how long a report about a quota window counts if it didn't say when the
	// window ends.
	unstatedEnd = time.Hour
	// inexact makes up for rounding: 0.29 as a percentage is a little less than 29.
	inexact = 1e-9
)

// reached returns the fullest quota window of a in which at least mark percent are used; nil:
// none, or mark is 0. Windows of one model and windows past their reset don't count. Those
// that moved the pool already count only with again.
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

// Percent is a fraction of a quota in whole percent. It is 100 only if all is used.
func Percent(used float64) int {
	n := int(math.Round(min(used, 9.99) * 100))
	if used < 1 {
		n = min(n, 99)
	}
	return n
}

// fresher returns the accounts that are under the mark, or all of them if none is. The
// preferred account counts as under it if that window moved the pool already.
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

// InsteadOf says why chosen is used and not a; empty: no reason is known.
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

// Remember records how full a's quota windows are. If a reaches the mark by that, its pool
// moves on to an account that is under it.
func (r Rules) Remember(idx *index.Index, a *index.Account, windows []ratelimit.Window, now time.Time) {
	if r.SwitchAt == 0 {
		Remember(a, windows, now)
		return
	}
	r.MoveOn(idx, a, now, func() { Remember(a, windows, now) })
}

// Heed marks the windows in which a has reached the mark: they don't move the pool again.
// That is for when it moved on, and for a person who uses a in spite of them.
func (r Rules) Heed(a *index.Account, now time.Time) {
	if a == nil {
		return
	}
	for u := reached(a, r.SwitchAt, false, now); u != nil; u = reached(a, r.SwitchAt, false, now) {
		u.Moved = true
	}
}

// sameWindow reports whether u is about the same window as old. In the next one less is
// used, and it ends later.
func sameWindow(old, u index.Usage) bool {
	return u.Used >= old.Used || !u.ResetsAt.IsZero() && u.ResetsAt.Sub(old.ResetsAt) <= time.Minute
}

// Use makes a the current account of its pool, whatever it has used.
func (r Rules) Use(idx *index.Index, a *index.Account, now time.Time) {
	idx.Use(a)
	r.Heed(a, now)
}
