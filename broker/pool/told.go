package pool

import (
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/ratelimit"
)

// TakeHold adds a hold that another machine has met, by the rules of AddHold and HoldByHand:
// one that is running is never made shorter by it, but for one by hand, which replaces one
// by hand. Cap says how long such a hold may last.
func TakeHold(a *index.Account, h index.Hold, now time.Time) {
	i := room(a, h.Scope)
	old := a.Holds[i]
	running := old.Until.After(now)
	byHand := h.Source == PersonSource
	switch {
	case !running:
	case byHand:
		if old.Proven && old.Source != PersonSource && old.Until.After(h.Until) {
			h.Until = old.Until
		}
	case !h.Proven, old.Proven && !h.Until.After(old.Until):
		return
	case old.Source == PersonSource:
		h.Source, h.Cut = old.Source, false
	}
	if running && !byHand {
		h.ProbedAt = old.ProbedAt
	}
	h.Extra = old.Extra
	a.Holds[i] = h
}

// Cap is how long a hold that another machine has met may last here, from now on: as long as
// one that was met here. One by hand, which nothing caps here, lasts as long as the longest
// of those.
func Cap(h index.Hold) time.Duration {
	switch {
	case !h.Proven:
		return ratelimit.GuessCap
	case strings.HasSuffix(strings.TrimSuffix(h.Source, "-ms"), "retry-after"):
		return ratelimit.RetryAfterCap
	}
	return ratelimit.WindowCap
}

// TakeUsage records quota windows that another machine was told, where they are newer.
func (r Rules) TakeUsage(idx *index.Index, a *index.Account, windows []index.Usage, now time.Time) {
	take := func() {
		for _, u := range windows {
			i := slices.IndexFunc(a.Usage, func(o index.Usage) bool { return o.Window == u.Window })
			switch {
			case i < 0 && len(a.Usage) < MaxUsage:
				a.Usage = append(a.Usage, u)
			case i >= 0 && u.ReportedAt.After(a.Usage[i].ReportedAt):
				u.Extra, u.Moved = a.Usage[i].Extra, a.Usage[i].Moved && sameWindow(a.Usage[i], u)
				a.Usage[i] = u
			}
		}
	}
	if r.SwitchAt == 0 {
		take()
		return
	}
	r.MoveOn(idx, a, now, take)
}

// renewed is how long before another machine's hold by hand ends there it is told again of
// one that lasts longer.
const renewed = ratelimit.WindowCap - 24*time.Hour

// Untold reports whether h, a hold of a, is running and has yet to be told to the machines
// that share a.
func Untold(a *index.Account, h index.Hold, now time.Time) bool {
	if a.Share == nil || !h.Until.After(now) {
		return false
	}
	told := toldOf(a, h.Told)
	switch {
	case told == nil:
		return true
	case h.Source != PersonSource:
		return false
	}
	until := h.Until
	if most := now.Add(renewed); most.Before(until) {
		until = most
	}
	return until.After(told.Until)
}

// AnyUntold reports whether a has such a hold.
func AnyUntold(a *index.Account, now time.Time) bool {
	return slices.ContainsFunc(a.Holds, func(h index.Hold) bool { return Untold(a, h, now) })
}

// toldOf is the entry with this name of what all machines know of a; nil: there is none.
func toldOf(a *index.Account, id string) *index.ToldHold {
	if id == "" || a.Share.Told == nil {
		return nil
	}
	for i := range a.Share.Told.Holds {
		if a.Share.Told.Holds[i].ID == id {
			return &a.Share.Told.Holds[i]
		}
	}
	return nil
}
