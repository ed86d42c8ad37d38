package ratelimit

import "testing"

func TestWindowName(t *testing.T) {
	for window, want := range map[string]string{
		"5h": "5-hour limit", "7d": "7-day limit", "30m": "30-minute limit", "7d_opus": "7-day opus limit", "1d_a_b": "1-day a b limit",
		"primary": "primary limit", "seven_day": "seven day limit", "h": "h limit", "-1h": "-1h limit", "": "limit",
	} {
		if got := WindowName(window); got != want {
			t.Errorf("%q: got %q, want %q", window, got, want)
		}
	}
}
