package rawtext

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

var errNoTime = errors.New("it is not a time")

const lastSecond = 253402300799 // of year 9999

// Moment parses a time as programs write it in JSON: a number since 1970 in seconds, or in
// milli-, micro- or nanoseconds, which its size tells; that number as text; or a date as
// text, in UTC if it names no zone. Null, an empty text, the number 0 and Go's zero time
// are zero. Any other value is an error.
func Moment(raw []byte) (time.Time, error) {
	var text string
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return time.Time{}, nil
	case raw[0] != '"':
		text = string(raw)
	case json.Unmarshal(raw, &text) != nil:
		return time.Time{}, errNoTime
	}
	text = strings.TrimSpace(text)
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return since1970(f)
	}
	if text == "" {
		return time.Time{}, nil
	}
	if raw[0] != '"' {
		return time.Time{}, errNoTime
	}
	return dated(text)
}

func since1970(f float64) (time.Time, error) {
	// Each unit is for dates from 1973 on; a smaller number is in the next larger unit.
	const milli, micro, nano = 1e11, 1e14, 1e17
	switch {
	case math.IsNaN(f) || f < 0:
		return time.Time{}, errNoTime
	case f == 0:
		return time.Time{}, nil
	case f >= nano:
		f /= 1e9
	case f >= micro:
		f /= 1e6
	case f >= milli:
		f /= 1e3
	}
	whole, part := math.Modf(min(f, lastSecond))
	return time.Unix(int64(whole), int64(part*1e3)*1e6).UTC(), nil
}

// The forms of a date in upper case, with a space for the T, and without the name of a zone
// that needs no conversion.
var (
	dates = []string{
		"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02", "20060102 150405", "2006/01/02 15:04:05",
		"Mon, 2 Jan 2006 15:04:05", "Mon, 2-Jan-2006 15:04:05", "Mon Jan 2 15:04:05 2006", "Mon Jan 2 2006 15:04:05", "2 Jan 2006 15:04:05",
	}
	zones = []string{"", "-07:00", "-0700", "-07", " -07:00", " -0700"}
)

func dated(text string) (time.Time, error) {
	text, _, _ = strings.Cut(text, " m=") // as Go prints it
	text, _, _ = strings.Cut(text, " (")  // as JavaScript does
	text = strings.ReplaceAll(strings.ToUpper(text), "GMT+", "+")
	text = strings.ReplaceAll(text, "GMT-", "-")
	for _, utc := range []string{"UTC", "GMT", "Z"} {
		text = strings.TrimSpace(strings.TrimSuffix(text, utc))
	}
	for _, at := range []int{len("20060102"), len("2006-01-02")} {
		if len(text) > at && text[at] == 'T' {
			text = text[:at] + " " + text[at+1:]
		}
	}
	for _, date := range dates {
		for _, zone := range zones {
			t, err := time.Parse(date+zone, text)
			switch {
			case err != nil:
			case t.Year() <= 1:
				return time.Time{}, nil
			case t.Unix() > lastSecond:
				return time.Unix(lastSecond, 0).UTC(), nil
			default:
				return t.UTC(), nil
			}
		}
	}
	return time.Time{}, errNoTime
}
