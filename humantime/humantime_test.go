package humantime_test

import (
	"testing"
	"time"

	"github.com/authferry/authferry/humantime"
)

func TestAt(t *testing.T) {
	now := time.Date(2026, time.November, 30, 23, 10, 20, 0, time.Local)
	for _, test := range []struct {
		t    time.Time
		want string
	}{
		{now, "23:10"},
		{now.Add(-30 * time.Second), "23:09"},
		{now.Add(time.Second), "23:11"},
		{now.Add(40 * time.Second), "23:11"},
		{now.Add(time.Hour), "Tue 1 Dec 00:11"},
		{now.Add(49*time.Minute + 20*time.Second), "Tue 1 Dec 00:00"}, // rounded into the next day
		{now.AddDate(0, 0, -1), "Sun 29 Nov 23:10"},
		{now.AddDate(1, 0, 0), "Tue 30 Nov 2027 23:11"}, // the same day of another year
		{now.AddDate(-1, 0, 0), "Sun 30 Nov 2025 23:10"},
		{now.UTC().Add(time.Second), "23:11"}, // in whatever zone it comes
	} {
		if got := humantime.At(test.t, now); got != test.want {
			t.Errorf("%v: got %q, want %q", test.t, got, test.want)
		}
	}
}

func TestDate(t *testing.T) {
	if got := humantime.Date(time.Date(2026, time.November, 30, 23, 10, 0, 0, time.Local).UTC()); got != "30 Nov 2026" {
		t.Errorf("got %q", got)
	}
}

func TestSpan(t *testing.T) {
	const day = 24 * time.Hour
	for d, want := range map[time.Duration]string{
		-time.Hour: "0s", 0: "0s", 250 * time.Millisecond: "250ms", 30 * time.Second: "30s",
		1499 * time.Millisecond: "1s", 90 * time.Second: "1m 30s", time.Hour: "1h",
		7*time.Hour + 56*time.Minute + 59*time.Second: "7h 56m", time.Hour + time.Second: "1h",
		2 * day: "2d", 40*day + 5*time.Hour + time.Minute: "40d 5h",
	} {
		if got := humantime.Span(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}

func TestRelative(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		0: "now", 400 * time.Millisecond: "now", 600 * time.Millisecond: "in 1s", time.Minute: "in 1m",
		-90 * time.Minute: "1h 30m ago",
	} {
		if got := humantime.Relative(now.Add(d), now); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
