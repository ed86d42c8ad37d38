package ratelimit

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// maxValue is above the length of any header about a limit, in bytes.
const maxValue = 4 << 10

// signal is one thing that an answer says about a limit.
type signal struct {
	kind    Kind          // Spent or Throttle
	at      time.Time     // when it ends; zero: not stated
	longest time.Duration // the longest hold that may be based on it
	model   bool          // it is about one model, not about the account
	window  bool          // a quota's window, with an end of its own: Retry-After doesn't extend it
	bucket  bool          // a bucket that is full again by then: Retry-After says when there is enough
	source  string
}

// reading is all that one answer says.
type reading struct {
	clock
	header  map[string]string // by lower-case name
	failure *failure          // nil: the body has none
	signals []signal
	usage   []Window
}

func read(r Response) *reading {
	h := flatten(r.Header)
	said := &reading{
		clock:   newClock(r.Now, h["date"]),
		header:  h,
		failure: findFailure(r.Body[:min(len(r.Body), maxBody)], r.Status >= 400),
	}
	said.body()
	said.anthropic()
	said.openAI()
	said.codex()
	said.gitHub()
	said.ietf()
	said.kin()
	slices.SortFunc(said.usage, func(a, b Window) int { return strings.Compare(a.Window, b.Window) })
	return said
}

// flatten joins the values of each header with a comma (RFC 9110, section 5.3). Names that
// differ only in case are one header. Values are cut at maxValue.
func flatten(header map[string][]string) map[string]string {
	flat := make(map[string]string, len(header))
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lower := strings.ToLower(name)
		for _, value := range header[name] {
			if value = strings.TrimSpace(value[:min(len(value), maxValue)]); len(flat[lower]) > maxValue {
				break
			}
			if value != "" && flat[lower] != "" && flat[lower] != value {
				value = flat[lower] + ", " + value
			}
			flat[lower] = cmp.Or(value, flat[lower])
		}
	}
	return flat
}

func (said *reading) add(s signal) {
	s.longest = WindowCap
	said.signals = append(said.signals, s)
}

// use records how full a window is.
func (said *reading) use(window string, used float64, resets time.Time) {
	if window != "" && used >= 0 {
		said.usage = append(said.usage, Window{Window: window, Used: used, ResetsAt: resets})
	}
}

// last returns the signal of a kind that ends last; one of the whole account comes before
// any of a single model. found is false if there is none.
func (said *reading) last(kind Kind) (best signal, found bool) {
	for _, s := range said.signals {
		switch {
		case s.kind != kind:
		case !found, best.model && !s.model, best.model == s.model && s.at.After(best.at):
			best, found = s, true
		}
	}
	return best, found
}

// told returns the throttle that ends last, buckets excluded.
func (said *reading) told() (best signal, found bool) {
	for _, s := range said.signals {
		if s.kind == Throttle && !s.bucket && (!found || s.at.After(best.at)) {
			best, found = s, true
		}
	}
	return best, found
}

// later returns s with the time of t if that ends later, caps included.
func (s signal) later(t signal, now time.Time) signal {
	end := func(s signal) time.Time {
		if last := now.Add(s.longest); s.at.After(last) {
			return last
		}
		return s.at
	}
	if end(t).After(end(s)) {
		return s.until(t)
	}
	return s
}

// until returns s with the time of t, if t has one.
func (s signal) until(t signal) signal {
	if !t.at.IsZero() {
		s.at, s.longest, s.source = t.at, t.longest, t.source
	}
	return s
}

// RetryAfter returns how long Retry-After or Retry-After-Ms asks to wait, in any form, for
// an answer that came at now; 0: not to wait, or nothing usable.
func RetryAfter(header map[string][]string, now time.Time) time.Duration {
	h := flatten(header)
	maps.DeleteFunc(h, func(_, value string) bool { f, ok := number(value); return ok && f == 0 })
	said := reading{clock: newClock(now, h["date"]), header: h}
	if at := said.retryAfter().at; !at.IsZero() {
		return at.Sub(now)
	}
	return 0
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3: seconds or a date; other forms
// occur) and Retry-After-Ms. If both say the same, the latter is more precise; otherwise
// the longer one counts.
func (said *reading) retryAfter() signal {
	seconds := signal{longest: RetryAfterCap, at: said.wait(said.header["retry-after"], time.Second), source: "retry-after"}
	for _, name := range []string{"retry-after-ms", "x-ms-retry-after-ms"} {
		fine := signal{longest: RetryAfterCap, at: said.wait(said.header[name], time.Millisecond), source: name}
		if apart := seconds.at.Sub(fine.at); !fine.at.IsZero() && (seconds.at.IsZero() || apart < time.Second) {
			seconds = fine
		}
	}
	return seconds
}

// wait is when, with a unit; but a limit that ends "now" ends soon.
func (c clock) wait(s string, unit time.Duration) time.Time {
	if f, ok := number(s); ok {
		if f == 0 {
			return c.in(1)
		}
		if f < smallestEpoch {
			return c.in(f * unit.Seconds())
		}
	}
	return c.when(s)
}
