package ratelimit

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// absurd is how far ahead a time may be and still be believed. Fifty years is less than an
// epoch that was sent in place of a delay.
const absurd = 50 * 365 * 24 * time.Hour

// clock converts a provider's times to this machine's time. All of its methods return the
// zero time if the value is not a time in the future.
type clock struct {
	now  time.Time
	skew time.Duration // how far this machine's clock is ahead of the server's
}

func newClock(now time.Time, date string) clock {
	c := clock{now: now}
	if server := httpDate(date); !server.IsZero() {
		c.skew = now.Sub(server)
	}
	return c
}

// local converts a time of the server's.
func (c clock) local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.after(t.Add(c.skew).Sub(c.now))
}

// in is that many seconds from now.
func (c clock) in(seconds float64) time.Time {
	if !(seconds > 0 && seconds <= absurd.Seconds()) {
		return time.Time{}
	}
	return c.after(nanoseconds(seconds * float64(time.Second)))
}

func (c clock) after(d time.Duration) time.Time {
	if d <= 0 || d > absurd {
		return time.Time{}
	}
	return c.now.Add(d)
}

// epoch reads the server's time since 1970, in seconds; in milli-, micro- or nanoseconds if
// it would be thousands of years ahead otherwise.
func (c clock) epoch(f float64) time.Time {
	switch {
	case f >= 1e17:
		f /= 1e9
	case f >= 1e14:
		f /= 1e6
	case f >= 1e11:
		f /= 1e3
	}
	if !(f > 0 && f < 1e11) { // above this, time.Unix may wrap around
		return time.Time{}
	}
	whole, fraction := math.Modf(f)
	return c.local(time.Unix(int64(whole), int64(math.Ceil(fraction*1e9))))
}

// stamp reads an epoch or a date, however small the number.
func (c clock) stamp(s string) time.Time {
	if f, ok := number(s); ok {
		return c.epoch(f)
	}
	return c.when(s)
}

// smallestEpoch is the smallest number of seconds that is taken for an epoch: 2001, or a
// delay of thirty years.
const smallestEpoch = 1e9

// amount reads a number: a delay in seconds, or an epoch.
func (c clock) amount(f float64) time.Time {
	if f >= smallestEpoch {
		return c.epoch(f)
	}
	return c.in(f)
}

// when reads a value in any of the forms that servers use: a number, a duration, a date; or
// a list of them, of which the longest counts.
func (c clock) when(s string) time.Time {
	s = strings.Trim(s, " \t\"'")
	if t := c.one(s); !t.IsZero() || !strings.Contains(s, ",") {
		return t
	}
	var longest time.Time
	parts := strings.Split(s, ",")
	for i := range parts {
		for _, text := range []string{parts[i], strings.Join(parts[i:min(i+2, len(parts))], ",")} { // a date contains a comma itself
			if t := c.one(strings.TrimSpace(text)); t.After(longest) {
				longest = t
			}
		}
	}
	return longest
}

func (c clock) one(s string) time.Time {
	if f, ok := number(s); ok {
		return c.amount(f)
	}
	if d, rest, ok := span(s); ok && strings.TrimSpace(rest) == "" {
		return c.after(d)
	}
	t, rest := date(s)
	if strings.TrimSpace(rest) != "" {
		return time.Time{}
	}
	return c.local(t)
}

// phrase finds the longest wait in a sentence for people: "… try again in 35.883s.", "…
// resets in 1 hour 30 minutes", "… regain access on 2026-12-01 at 00:00 UTC".
func (c clock) phrase(message string) time.Time {
	var longest time.Time
	for _, at := range waits().FindAllStringIndex(message, maxPhrases) {
		text := message[at[1]:]
		t := time.Time{}
		if d, _, ok := span(text); ok {
			t = c.after(d)
		} else if bare := leading(text, func(b byte) bool { return b >= '0' && b <= '9' || b == '.' }); bare != "" {
			if f, ok := number(strings.TrimRight(bare, ".")); ok {
				t = c.amount(f)
			}
		}
		if on, _ := date(text); !on.IsZero() {
			t = c.local(on)
		}
		if t.After(longest) {
			longest = t
		}
	}
	for _, at := range moments().FindAllStringIndex(message, maxPhrases) {
		if t, _ := date(message[at[1]:]); c.local(t).After(longest) {
			longest = c.local(t)
		}
	}
	return longest
}

// maxPhrases is more than any message has.
const maxPhrases = 16

var (
	// waits matches text before a duration that is a wait, not a window's length.
	waits = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\b(?:(?:again|retry|retrying|retried|resets?|available|replenish(?:ed|es)?|renew(?:ed|s)?|refresh(?:ed|es)?|access|lifted|restored|unblocked|resumes?|recovers?|back)(?:[ ]+[a-z]+){0,3}?[ ]+(?:in|after)|retry[ -]after:?|(?:wait|waiting)(?:[ ]+(?:for|at least|another))*)[ ]+(?:about[ ]+|approximately[ ]+|around[ ]+|another[ ]+|at least[ ]+|~[ ]*)?`)
	})
	// moments matches text before a date.
	moments = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?i)\b(?:on|at|until|till|after|from|resets?|is|date|time)[ :=]+`)
	})
)

// number reads a finite number.
func number(s string) (float64, bool) {
	f, err := strconv.ParseFloat(s, 64)
	return f, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

// httpDate reads the three forms of RFC 9110, section 5.6.7.
func httpDate(s string) time.Time {
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 GMT", time.RFC850, time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
