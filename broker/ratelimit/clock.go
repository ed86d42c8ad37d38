package ratelimit

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// absurd is how far ahead a time is not believed any more. Fifty years is less
// than an epoch that was sent where a delay belongs.
const absurd = 50 * 365 * 24 * time.Hour

// clock turns what a provider says about time into this machine's time. All of
// its methods return the zero time for what is no time ahead.
type clock struct {
	now  time.Time
	skew time.Duration // what this machine's clock is ahead of the server's
}

func newClock(now time.Time, date string) clock {
	c := clock{now: now}
	if server := httpDate(date); !server.IsZero() {
		c.skew = now.Sub(server)
	}
	return c
}

// local takes a time of the server's.
func (c clock) local(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return c.after(t.Add(c.skew).Sub(c.now))
}

// in takes seconds from now.
func (c clock) in(seconds float64) time.Time {
	if !(seconds > 0 && seconds <= absurd.Seconds()) {
		return time.Time{}
	}
	return c.after(time.Duration(seconds * float64(time.Second)))
}

func (c clock) after(d time.Duration) time.Time {
	if d <= 0 || d > absurd {
		return time.Time{}
	}
	return c.now.Add(d)
}

// epoch takes the server's seconds since 1970.
func (c clock) epoch(seconds float64) time.Time {
	if !(seconds > 0 && seconds < 1e12) { // beyond, time.Unix may wrap around
		return time.Time{}
	}
	whole, fraction := math.Modf(seconds)
	return c.local(time.Unix(int64(whole), int64(fraction*1e9)))
}

// stamp takes RFC 3339.
func (c clock) stamp(s string) time.Time {
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}
	}
	return c.local(t)
}

// duration takes "1m30s", or plain seconds.
func (c clock) duration(s string) time.Time {
	if seconds, ok := number(s); ok {
		return c.in(seconds)
	}
	d, err := time.ParseDuration(s)
	if err != nil {
		return time.Time{}
	}
	return c.after(d)
}

// phrase finds a wait in a sentence made for people, "… try again in 35.883s."
// or "… in 17 seconds".
func (c clock) phrase(message string) time.Time {
	message = strings.ToLower(message)
	for _, lead := range []string{"reset after ", "resets in ", "retry in ", "retry after ", "try again in "} {
		_, rest, ok := strings.Cut(message, lead)
		if !ok {
			continue
		}
		wait, unit, _ := strings.Cut(rest, " ")
		for _, word := range []string{"second", "minute", "hour"} {
			if strings.HasPrefix(unit, word) {
				wait += word[:1]
			}
		}
		if d, err := time.ParseDuration(strings.TrimRight(wait, ".,;:!)*")); err == nil {
			return c.after(d)
		}
	}
	return time.Time{}
}

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
