package rawtext

import (
	"strconv"
	"testing"
	"time"
)

func TestMoment(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 23, 17, 0, 0, 0, time.UTC)
	for _, raw := range []string{
		"1795453200", "1795453200.0", "1.7954532e9", "1795453200000", "1795453200000000", "1795453200000000000",
		`"1795453200"`, `"1795453200000"`, `" 1795453200 "`, `"1795453200.0"`,
		`"2026-11-23T17:00:00Z"`, `"2026-11-23t17:00:00z"`, `"2026-11-23T17:00:00.000Z"`, `"2026-11-23T17:00:00.000000000Z"`,
		`"2026-11-23T18:00:00+01:00"`, `"2026-11-23T18:00:00+0100"`, `"2026-11-23T18:00:00+01"`, `"2026-11-23T12:00:00.0-05:00"`,
		`"2026-11-23 17:00:00"`, `"2026-11-23T17:00:00"`, `"2026-11-23 17:00"`, `"2026-11-23T17:00Z"`, `"2026-11-23 17:00:00Z"`,
		`"2026-11-23 17:00:00 UTC"`, `"2026-11-23 17:00:00 +0000 UTC"`, `"20261123T170000Z"`,
		`"Mon, 23 Nov 2026 17:00:00 GMT"`, `"Mon, 23-Nov-2026 17:00:00 GMT"`, `"Mon Nov 23 17:00:00 2026"`,
		`"Mon Nov 23 2026 18:00:00 GMT+0100 (Central European Standard Time)"`, `"2026/11/23 17:00:00"`,
	} {
		if got, err := Moment([]byte(raw)); err != nil || !got.Equal(at) {
			t.Errorf("%s: got %v, %v", raw, got, err)
		}
	}
	for raw, want := range map[string]time.Time{
		`"2026-11-23"`:                time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC),
		`"1999-12-31T23:59:59Z"`:      time.Date(1999, 12, 31, 23, 59, 59, 0, time.UTC),
		`"1970-01-01T00:00:00Z"`:      time.Unix(0, 0),
		"1":                           time.Unix(1, 0),
		`"1"`:                         time.Unix(1, 0),
		"1e300":                       time.Unix(253402300799, 0),
		`"1795453200.5"`:              time.Unix(1795453200, 5e8),
		`"0001-01-01T00:00:00Z"`:      {},
		`"0001-01-01T00:00:00+05:00"`: {},
		"0":                           {},
		`"0"`:                         {},
		`""`:                          {},
		"null":                        {},
		"":                            {},
	} {
		got, err := Moment([]byte(raw))
		if err != nil || !got.Equal(want) {
			t.Errorf("%s: got %v, %v, want %v", raw, got, err, want)
		}
		if _, err := got.MarshalJSON(); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
	}
}

// A time that can't be read is an error, so that nobody takes it for none.
func TestMomentUnknown(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`"soon"`, `"11/23/2026"`, `"23.11.2026"`, `"2026-11-23T17:00:00 EST"`, `"2026-11-23 18:00:00.0 +0100 CET m=+0.1"`,
		`"2026-13-01"`, "-1", `"-1"`, `"NaN"`, "true", "{}", "[1795453200]", `"1795453200s"`,
	} {
		if got, err := Moment([]byte(raw)); err == nil {
			t.Errorf("%s: got %v", raw, got)
		}
	}
}

func FuzzMoment(f *testing.F) {
	for _, seed := range []string{"0", "1795453200000", `"2026-11-23T17:00:00Z"`, `"Mon, 23 Nov 2026 17:00:00 GMT"`, `"0000-01-01T00:00:00+23:59"`, `"9999-12-31T23:59:59-23:59"`, `"inf"`, "1e400"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		for _, raw := range []string{raw, strconv.Quote(raw)} {
			if got, err := Moment([]byte(raw)); err == nil {
				if _, err := got.MarshalJSON(); err != nil {
					t.Fatalf("%s: %v can't be kept: %v", raw, got, err)
				}
			}
		}
	})
}
