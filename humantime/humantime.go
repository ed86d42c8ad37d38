// Package humantime writes times and durations as people read them: in local time, no
// longer than needed, and in one form wherever authferry shows one. JSON and files
// have RFC 3339 instead.
package humantime

import (
	"strconv"
	"time"
)

// At is a moment as seen from now: "15:04", with the day where that isn't today ("Mon 2
// Jan 15:04"), and with the year where that isn't this one. Minutes are whole: one to
// come is rounded up, so that nobody tries too early, and one that is past is rounded down.
func At(t, now time.Time) string {
	minute := t.Truncate(time.Minute)
	if t.After(now) && minute.Before(t) {
		minute = minute.Add(time.Minute)
	}
	at, today := minute.Local(), now.Local()
	switch {
	case at.Year() != today.Year():
		return at.Format("Mon 2 Jan 2006 15:04")
	case at.YearDay() != today.YearDay():
		return at.Format("Mon 2 Jan 15:04")
	}
	return at.Format("15:04")
}

// Date is the day of t: "2 Jan 2006".
func Date(t time.Time) string { return t.Local().Format("2 Jan 2006") }

// Span is a duration in its two largest units: "7h 56m", "2d", "30s"; below a second in
// milliseconds. A negative one is "0s".
func Span(d time.Duration) string {
	if d > 0 && d < time.Second {
		return strconv.FormatInt(d.Milliseconds(), 10) + "ms"
	}
	d = d.Round(time.Second)
	units := []struct {
		name string
		d    time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}}
	for i, u := range units {
		if d < u.d {
			continue
		}
		text := strconv.FormatInt(int64(d/u.d), 10) + u.name
		if i+1 < len(units) {
			if rest := d % u.d / units[i+1].d; rest > 0 {
				text += " " + strconv.FormatInt(int64(rest), 10) + units[i+1].name
			}
		}
		return text
	}
	return "0s"
}

// Left is the time from now until t, in whole seconds: "7h 56m"; "0s" once t is past.
func Left(t, now time.Time) string { return Span(t.Sub(now).Round(time.Second)) }

// Relative is t as seen from now: "in 7h 56m", "3d ago", or "now".
func Relative(t, now time.Time) string {
	if t.Sub(now).Abs() < time.Second/2 {
		return "now"
	}
	if t.After(now) {
		return "in " + Left(t, now)
	}
	return Left(now, t) + " ago"
}
