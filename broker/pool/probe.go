package pool

import (
	"time"

	"github.com/authferry/authferry/broker/index"
)

const (
	// ProbeEvery is how often one caller may use a held account, to see whether the hold is
	// over. The first probe comes this long after the hold began.
	ProbeEvery = 15 * time.Minute
	// worthProbing: only longer holds are probed.
	worthProbing = time.Hour
)

// ProbeCandidate is the held account to probe now: the one probed longest ago. Nil: an
// account of the pool is free, or no probe is due.
func ProbeCandidate(idx *index.Index, sel Selected, now time.Time) *index.Account {
	var best *index.Account
	var oldest time.Time
	for _, a := range sel.Members(idx) {
		if a.Disabled || WantsLogin(a, now) {
			continue
		}
		seen, long := time.Time{}, true
		for _, h := range a.Holds {
			if !h.Until.After(now) || h.Scope != HeldForScope && h.Scope != sel.Scope {
				continue
			}
			if now.Sub(h.ProbedAt).Abs() < ProbeEvery {
				return nil // the pool was probed
			}
			long = long && h.Proven && h.Source != PersonSource && h.Until.Sub(h.ReportedAt) > worthProbing && now.Sub(h.ReportedAt) >= ProbeEvery
			for _, t := range []time.Time{h.ReportedAt, h.ProbedAt} {
				if t.After(seen) {
					seen = t
				}
			}
		}
		if seen.IsZero() {
			return nil // free
		}
		if long && (!sel.Pinned || a.ID == sel.Prefer) && (best == nil || seen.Before(oldest)) {
			best, oldest = a, seen
		}
	}
	return best
}

// NextProbe is the account to which the next caller is let through although it is held, and
// from when on, if nothing is reported until then; nil: nobody is.
func NextProbe(idx *index.Index, sel Selected, now time.Time) (*index.Account, time.Time) {
	pause, first := now, time.Time{}
	var begun []time.Time
	for _, a := range sel.Members(idx) {
		for _, h := range a.Holds {
			if !h.Until.After(now) || h.Scope != HeldForScope && h.Scope != sel.Scope {
				continue
			}
			if again := h.ProbedAt.Add(ProbeEvery); again.After(pause) {
				pause = again
			}
			if h.Until.Sub(h.ReportedAt) > worthProbing {
				begun = append(begun, h.ReportedAt.Add(ProbeEvery))
			}
		}
	}
	for _, at := range begun {
		if at.Before(pause) {
			at = pause
		}
		if (first.IsZero() || at.Before(first)) && ProbeCandidate(idx, sel, at) != nil {
			first = at
		}
	}
	if first.IsZero() {
		return nil, first
	}
	return ProbeCandidate(idx, sel, first), first
}
