package ratelimit

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"
)

// signal is one thing that a provider said about a limit.
type signal struct {
	kind    Kind          // Spent or Throttle
	at      time.Time     // when it ends; zero: not said
	longest time.Duration // the cap for a hold that rests on it
	model   bool          // it is about one model, not about the account
	source  string
}

// reading is all that one response says.
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
		failure: findFailure(r.Body[:min(len(r.Body), maxBody)]),
	}
	said.body()
	said.anthropic()
	said.openAI()
	said.codex()
	said.gitHub()
	slices.SortFunc(said.usage, func(a, b Window) int { return strings.Compare(a.Window, b.Window) })
	return said
}

// flatten keeps the first value of every header. Names that differ in case
// alone are one header.
func flatten(header map[string][]string) map[string]string {
	flat := make(map[string]string, len(header))
	for _, name := range slices.Sorted(maps.Keys(header)) {
		lower := strings.ToLower(name)
		for _, value := range header[name] {
			flat[lower] = cmp.Or(flat[lower], strings.TrimSpace(value))
		}
	}
	return flat
}

func (said *reading) add(s signal) {
	s.longest = WindowCap
	said.signals = append(said.signals, s)
}

// use notes how full a window is.
func (said *reading) use(window string, used float64, resets time.Time) {
	if window != "" && used >= 0 {
		said.usage = append(said.usage, Window{Window: window, Used: used, ResetsAt: resets})
	}
}

// last returns the signal of a kind that ends last, one of the whole account
// before any of one model. found is false where there is none.
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

// until returns s with the time of t, if t has one.
func (s signal) until(t signal) signal {
	if !t.at.IsZero() {
		s.at, s.longest, s.source = t.at, t.longest, t.source
	}
	return s
}

// retryAfter reads Retry-After (RFC 9110, section 10.2.3: seconds or a date;
// fractions occur) and Retry-After-Ms, which is finer and therefore first.
func (said *reading) retryAfter() signal {
	s := signal{longest: RetryAfterCap}
	if ms, ok := number(said.header["retry-after-ms"]); ok {
		s.at, s.source = said.wait(ms/1000), "retry-after-ms"
	}
	if s.at.IsZero() {
		s.source = "retry-after"
		value := said.header["retry-after"]
		if seconds, ok := number(value); ok {
			s.at = said.wait(seconds)
		} else {
			s.at = said.local(httpDate(value))
		}
	}
	return s
}

// wait is in, but "now", said of a limit, means soon.
func (c clock) wait(seconds float64) time.Time {
	if seconds == 0 {
		seconds = 1
	}
	return c.in(seconds)
}
