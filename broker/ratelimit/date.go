package ratelimit

import (
	"regexp"
	"strings"
	"sync"
	"time"
)

// dates matches the forms of a date, with time of day and zone if there are any: RFC 3339
// and similar ones, those of HTTP, and those in sentences.
var dates = sync.OnceValue(func() *regexp.Regexp {
	const (
		clock = `(?:[T ,]|[ ]at[ ])[ ]*(\d{1,2}:\d{2}(?::\d{2}(?:[.]\d{1,9})?)?)[ ]*([AaPp][Mm])?`
		zone  = `(?:[ ]*[(]?(Z|[A-Z]{2,4}(?:[+-]\d{1,2})?|[+-]\d{2}:?\d{2})\b[)]?)?`
		month = `(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*[.]?`
	)
	return regexp.MustCompile(`^(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,?[ ]+)?` +
		`(?:(\d{4})[-/](\d{2})[-/](\d{2})|(\d{1,2})(?:st|nd|rd|th)?[ -]` + month + `,?[ -](\d{4}|\d{2})\b|` + month + `[ ]+(\d{1,2})(?:st|nd|rd|th)?,?[ ]+(\d{4}))` +
		`(?:` + clock + `)?` + zone)
})

// zones are the names in use, in seconds east of Greenwich. If a name has two meanings, it
// is the later one.
var zones = map[string]int{
	"": -12 * 3600, "Z": 0, "UTC": 0, "GMT": 0,
	"PT": -8 * 3600, "PST": -8 * 3600, "PDT": -7 * 3600, "MST": -7 * 3600, "MDT": -6 * 3600,
	"CST": -6 * 3600, "CDT": -5 * 3600, "ET": -5 * 3600, "EST": -5 * 3600, "EDT": -4 * 3600,
	"CET": 3600, "CEST": 2 * 3600, "JST": 9 * 3600,
}

// date reads the date that s begins with. Without a zone, it is taken in the zone in which
// it is latest, because a wait must not be shorter than stated. Zero: there is none.
func date(s string) (t time.Time, rest string) {
	if t := httpDate(s); !t.IsZero() {
		return t, ""
	}
	m := dates().FindStringSubmatch(s)
	if m == nil {
		return time.Time{}, s
	}
	first := func(names ...string) string {
		for _, n := range names {
			if n != "" {
				return n
			}
		}
		return ""
	}
	year, month, day := first(m[1], m[6], m[9]), first(m[2], m[5], m[7]), first(m[3], m[4], m[8])
	if len(year) == 2 {
		year = "20" + year
	}
	clock, layout := m[10], "15:04"
	switch strings.Count(clock, ":") {
	case 0:
		clock = "00:00"
	case 2:
		layout = "15:04:05"
	}
	if m[11] != "" {
		layout, clock = strings.Replace(layout, "15", "3", 1)+" PM", clock+" "+strings.ToUpper(m[11])
	}
	if len(day) == 1 {
		day = "0" + day
	}
	monthLayout := "Jan"
	if len(month) == 2 {
		monthLayout = "01"
	}
	whole := year + " " + month + " " + day + " " + clock
	rest = s[len(m[0]):]
	east, known := zones[m[12]]
	if m[12] != "" && (m[12][0] == '+' || m[12][0] == '-') { // +02:00
		if t, err := time.Parse("2006 "+monthLayout+" 02 "+layout+" -0700", whole+" "+strings.Replace(m[12], ":", "", 1)); err == nil {
			return t, rest
		}
		return time.Time{}, s
	}
	if !known { // UTC-5, for example
		east = zones[""]
	}
	t, err := time.ParseInLocation("2006 "+monthLayout+" 02 "+layout, whole, time.FixedZone("", east))
	if err != nil {
		return time.Time{}, s
	}
	return t, rest
}
