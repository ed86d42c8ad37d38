package share

import (
	"cmp"
	"crypto/rand"
	"math"
	"slices"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

const (
	// nearly is how much later a hold may end than one that all machines know: no two of
	// them read the same end out of one answer.
	nearly = 5 * time.Second
	// kept is how long an entry that is over stays, by the clock of whoever writes: that
	// clock may be hours ahead of the others'.
	kept = 24 * time.Hour
	// sooner is by how much of it the fill of a quota window must have changed to be told
	// when it is next looked at, usageEvery how often a smaller change is told.
	sooner     = 0.05
	usageEvery = 5 * time.Minute
	// oldestNews bounds the age of what is told.
	oldestNews = 30 * 24 * time.Hour
)

// take does here what the engine has of a's limits. A nil doc is one that is not there, or
// no machine's: then the machines know nothing, and nothing here ends by that. It changes a
// alone, but for current.
func take(r pool.Rules, idx *index.Index, a *index.Account, version engine.Version, doc *seal.Holds, now time.Time) {
	told := index.Told{}
	if a.Share.Told != nil {
		told = *a.Share.Told
		if told.Version == int64(version) {
			return
		}
	}
	told.Version = int64(version)
	if doc == nil {
		told.Holds, told.Usage = nil, ""
		setTold(a, &told)
		return
	}
	known := told.Holds
	told.Holds = nil
	fresh := map[string]index.Hold{} // by name, what wasn't known
	for _, e := range doc.Holds {
		i := slices.IndexFunc(known, func(k index.ToldHold) bool { return k.ID == e.ID })
		if i >= 0 {
			told.Holds = append(told.Holds, known[i])
			continue
		}
		h := believed(e, now)
		told.Holds = append(told.Holds, index.ToldHold{ID: e.ID, Until: h.Until})
		mine := slices.IndexFunc(a.Holds, func(o index.Hold) bool { return o.Scope == e.Scope && o.Source == e.Source && o.Until.Equal(e.Until) })
		switch {
		case mine >= 0: // this machine wrote it and got no answer, or another has told of it again
			a.Holds[mine].Told = e.ID
		case pool.CheckScope(h.Scope) == nil && h.Scope != "" && h.Until.After(now):
			fresh[e.ID] = h
		}
	}
	setTold(a, &told)
	r.MoveOn(idx, a, now, func() {
		a.Holds = slices.DeleteFunc(a.Holds, func(h index.Hold) bool { // ended by a person, or replaced
			named := func(k index.ToldHold) bool { return k.ID == h.Told }
			return slices.ContainsFunc(known, named) && !slices.ContainsFunc(told.Holds, named)
		})
		for _, e := range doc.Holds {
			if h, ok := fresh[e.ID]; ok {
				pool.TakeHold(a, h, now)
			}
		}
	})
	for i, e := range doc.Holds {
		for j := range a.Holds {
			if h := &a.Holds[j]; h.Scope == e.Scope && h.Told != e.ID && covers(e, told.Holds[i].Until, *h, now) {
				h.Told = e.ID
			}
		}
	}
	if doc.Probe != "" && doc.Probe != told.Probe {
		told.Probe = doc.Probe
		for i := range a.Holds {
			if a.Holds[i].Until.After(now) {
				a.Holds[i].ProbedAt = now.UTC()
			}
		}
	}
	if u := doc.Usage; u != nil && u.ID != told.Usage {
		told.Usage, told.UsageAt = u.ID, now.UTC()
		r.TakeUsage(idx, a, windows(u, now), now)
	}
	setTold(a, &told)
}

// setTold replaces what a points to, which earlier readers of the index may have too.
func setTold(a *index.Account, told *index.Told) {
	s, t := *a.Share, *told
	s.Told = &t
	a.Share = &s
}

// believed is what an entry that is seen for the first time means here: see the package
// comment.
func believed(e seal.Hold, now time.Time) index.Hold {
	h := index.Hold{
		Scope: e.Scope, Source: printable(e.Source), Proven: e.Proven, Cut: e.Cut, Guesses: min(max(e.Guesses, 0), index.MaxCount),
		ReportedAt: now.Add(-min(max(e.Age, 0), oldestNews)).UTC(), Told: e.ID,
	}
	left := min(e.Left, e.Until.Sub(now))
	if most := pool.Cap(h); left > most {
		left, h.Cut = most, true
	}
	h.Until = now.Add(left).UTC()
	return h
}

// covers reports whether the machines that know of e, which meant until here, need not be
// told of h as well.
func covers(e seal.Hold, until time.Time, h index.Hold, now time.Time) bool {
	switch {
	case !until.After(now):
		return false
	case !h.Proven:
		return true
	}
	return e.Proven && !h.Until.After(until.Add(nearly))
}

// windows are the quota windows of an entry that is seen for the first time.
func windows(u *seal.Usage, now time.Time) []index.Usage {
	var all []index.Usage
	for _, w := range u.Windows {
		if w.Window != printable(w.Window) || w.Window == "" || w.Used < 0 || w.Used > 1000 {
			continue
		}
		n := index.Usage{Window: w.Window, Used: w.Used, ReportedAt: pool.Seconds(now.Add(-min(max(w.Age, 0), oldestNews)))}
		if !w.ResetsAt.IsZero() {
			left := min(w.Left, w.ResetsAt.Sub(now), oldestNews)
			if left <= 0 {
				continue
			}
			n.ResetsAt = pool.Seconds(now.Add(left))
		}
		all = append(all, n)
	}
	return all
}

// printable is a short text without what a terminal would act on.
func printable(s string) string {
	const most = 128
	if len(s) > most || !utf8.ValidString(s) || slices.ContainsFunc([]rune(s), func(c rune) bool { return !unicode.IsPrint(c) }) {
		return "another machine"
	}
	return s
}

// news is what the engine should have of a's limits in place of doc, which was taken; nil:
// nothing that the machines don't know.
func news(a *index.Account, doc *seal.Holds, now time.Time) *seal.Holds {
	if doc == nil {
		doc = &seal.Holds{}
	}
	next := &seal.Holds{Usage: doc.Usage, Probe: doc.Probe, Settings: doc.Settings}
	changed := false
	scopes := map[string]bool{}
	for _, h := range a.Holds {
		if pool.Untold(a, h, now) {
			changed, scopes[h.Scope] = true, true
			next.Holds = append(next.Holds, entry(h, now))
		}
	}
	for _, e := range doc.Holds {
		if !scopes[e.Scope] && now.Sub(e.Until) < kept {
			next.Holds = append(next.Holds, e)
		}
	}
	if len(next.Holds) > pool.MaxHolds {
		slices.SortStableFunc(next.Holds, func(a, b seal.Hold) int { return b.Until.Compare(a.Until) })
		next.Holds = next.Holds[:pool.MaxHolds]
	}
	if filled(a, doc.Usage, now) {
		changed, next.Usage = true, usage(a, now)
	}
	if !changed {
		return nil
	}
	return next
}

// newEntry names an entry.
func newEntry() string { return rand.Text() }

// entry is a hold of this machine as the others are told of it.
func entry(h index.Hold, now time.Time) seal.Hold {
	return seal.Hold{
		ID: newEntry(), Scope: h.Scope, Source: h.Source, Proven: h.Proven, Cut: h.Cut, Guesses: h.Guesses,
		Until: h.Until, Left: h.Until.Sub(now), Age: max(0, now.Sub(h.ReportedAt)),
	}
}

// filled reports whether this machine was told more of a's quota windows than the others
// know.
func filled(a *index.Account, known *seal.Usage, now time.Time) bool {
	var told index.Told
	if a.Share.Told != nil {
		told = *a.Share.Told
	}
	if known == nil {
		return len(a.Usage) > 0
	}
	again := now.Sub(told.UsageAt).Abs() >= usageEvery
	return slices.ContainsFunc(a.Usage, func(u index.Usage) bool {
		if !u.ReportedAt.After(told.UsageAt) {
			return false
		}
		i := slices.IndexFunc(known.Windows, func(w seal.Window) bool { return w.Window == u.Window })
		if i < 0 {
			return true
		}
		more := math.Abs(u.Used - known.Windows[i].Used)
		return more >= sooner || more > 0 && again
	})
}

// usage are a's quota windows as the others are told of them.
func usage(a *index.Account, now time.Time) *seal.Usage {
	u := &seal.Usage{ID: newEntry()}
	for _, w := range a.Usage {
		n := seal.Window{Window: w.Window, Used: w.Used, ResetsAt: w.ResetsAt, Age: max(0, now.Sub(w.ReportedAt))}
		if !w.ResetsAt.IsZero() {
			if n.Left = w.ResetsAt.Sub(now); n.Left <= 0 {
				continue
			}
		}
		u.Windows = append(u.Windows, n)
	}
	return u
}

// tell notes in a that the machines know doc now, which this one has written as that
// version.
func tell(r pool.Rules, idx *index.Index, a *index.Account, version engine.Version, doc *seal.Holds, now time.Time) {
	told := index.Told{}
	if a.Share.Told != nil {
		told = *a.Share.Told
	}
	told.Holds = slices.Clone(told.Holds)
	for _, e := range doc.Holds {
		if slices.ContainsFunc(told.Holds, func(k index.ToldHold) bool { return k.ID == e.ID }) {
			continue
		}
		known := index.ToldHold{ID: e.ID, Until: e.Until}
		if most := now.Add(pool.Cap(index.Hold{Source: e.Source, Proven: e.Proven})); most.Before(e.Until) {
			known.Until = most.UTC()
		}
		told.Holds = append(told.Holds, known)
		for i := range a.Holds {
			if h := &a.Holds[i]; h.Scope == e.Scope && h.Until.Equal(e.Until) && h.Source == e.Source {
				h.Told = e.ID
			}
		}
	}
	if doc.Usage != nil && doc.Usage.ID != told.Usage {
		told.Usage, told.UsageAt = doc.Usage.ID, now.UTC()
	}
	told.Probe = cmp.Or(doc.Probe, told.Probe)
	setTold(a, &told)
	take(r, idx, a, version, doc, now)
}
