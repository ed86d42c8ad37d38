package ratelimit

import (
	"math"
	"strconv"
	"strings"
	"time"
)

// units are those of a duration in a header, a field or a sentence. Month and year have
// their greatest length.
var units = map[string]time.Duration{
	"ns": time.Nanosecond, "nanosecond": time.Nanosecond, "us": time.Microsecond, "µs": time.Microsecond, "μs": time.Microsecond, "microsecond": time.Microsecond,
	"ms": time.Millisecond, "msec": time.Millisecond, "milli": time.Millisecond, "millisecond": time.Millisecond,
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hr": time.Hour, "hour": time.Hour,
	"d": 24 * time.Hour, "day": 24 * time.Hour, "w": 7 * 24 * time.Hour, "wk": 7 * 24 * time.Hour, "week": 7 * 24 * time.Hour,
	"mo": 31 * 24 * time.Hour, "month": 31 * 24 * time.Hour, "y": 366 * 24 * time.Hour, "yr": 366 * 24 * time.Hour, "year": 366 * 24 * time.Hour,
}

// span reads the duration that s begins with: "1m30s", "1.5 hours", "2 days, 3 hours and 1
// minute", "10.10:30:01" (days, then hours, minutes and seconds), "PT1H30M". rest is what
// follows it. One that is too long for a Duration becomes the longest Duration.
func span(s string) (d time.Duration, rest string, ok bool) {
	if d, rest, ok = isoSpan(s); ok {
		return d, rest, true
	}
	if d, rest, ok = colonSpan(s); ok {
		return d, rest, true
	}
	total := 0.0
	for rest = s; ; {
		at := strings.TrimLeft(rest, " ,")
		if after, found := strings.CutPrefix(at, "and "); found {
			at = strings.TrimLeft(after, " ")
		}
		digits := leading(at, func(c byte) bool { return c >= '0' && c <= '9' || c == '.' || c == ',' })
		number, err := strconv.ParseFloat(strings.ReplaceAll(strings.TrimRight(digits, ",."), ",", ""), 64)
		if err != nil {
			break
		}
		after := strings.TrimLeft(at[len(digits):], " -")
		word := leading(after, func(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= 0x80 })
		unit, known := units[strings.ToLower(word)]
		if !known {
			unit, known = units[strings.TrimSuffix(strings.ToLower(word), "s")]
		}
		if !known {
			break
		}
		total += number * float64(unit)
		rest, ok = after[len(word):], true
		if minutes := leading(rest, func(c byte) bool { return c >= '0' && c <= '9' }); unit == time.Hour && len(minutes) == 2 && len(rest) == 2 { // 1h30
			n, _ := strconv.ParseFloat(minutes, 64)
			return nanoseconds(total + n*float64(time.Minute)), "", true
		}
	}
	return nanoseconds(total), rest, ok
}

// nanoseconds rounds up.
func nanoseconds(f float64) time.Duration {
	if f >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(math.Ceil(f))
}

func leading(s string, in func(byte) bool) string {
	i := 0
	for i < len(s) && in(s[i]) {
		i++
	}
	return s[:i]
}

// colonSpan reads "08:56:31" and "2.08:56:31".
func colonSpan(s string) (time.Duration, string, bool) {
	text := leading(s, func(c byte) bool { return c >= '0' && c <= '9' || c == ':' || c == '.' })
	rest := s[len(text):]
	text = strings.TrimRight(text, ".:")
	parts := strings.Split(text, ":")
	if len(parts) != 3 {
		return 0, s, false
	}
	days, hours, found := strings.Cut(parts[0], ".")
	if !found {
		days, hours = "0", parts[0]
	}
	total := 0.0
	for i, field := range []string{days, hours, parts[1], parts[2]} {
		n, err := strconv.ParseFloat(field, 64)
		if err != nil {
			return 0, s, false
		}
		total += n * float64([]time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second}[i])
	}
	return nanoseconds(total), rest, true
}

// isoSpan reads a duration in the form of ISO 8601.
func isoSpan(s string) (d time.Duration, rest string, ok bool) {
	rest, found := strings.CutPrefix(s, "P")
	if !found {
		return 0, s, false
	}
	total, date := 0.0, true
	for {
		if after, found := strings.CutPrefix(rest, "T"); found && date {
			rest, date = after, false
			continue
		}
		digits := leading(rest, func(c byte) bool { return c >= '0' && c <= '9' || c == '.' })
		n, err := strconv.ParseFloat(digits, 64)
		if err != nil || len(digits) == len(rest) {
			return nanoseconds(total), rest, ok
		}
		name := string(rest[len(digits)])
		if date && name == "M" {
			name = "mo"
		}
		unit, known := units[strings.ToLower(name)]
		if !known {
			return nanoseconds(total), rest, ok
		}
		total += n * float64(unit)
		rest, ok = rest[len(digits)+1:], true
	}
}
