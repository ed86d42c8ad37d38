package pool

import (
	"testing"
	"time"

	"github.com/authferry/authferry/broker/index"
)

func TestWhyHeld(t *testing.T) {
	now := time.Date(2026, time.November, 30, 23, 0, 0, 0, time.Local)
	for _, test := range []struct {
		hold index.Hold
		want string
	}{
		{index.Hold{Source: "anthropic-ratelimit-unified-5h-reset", Proven: true, Until: now.Add(3 * time.Hour)}, "5-hour limit, resets Tue 1 Dec 02:00"},
		{index.Hold{Source: "anthropic-ratelimit-unified-7d-reset", Proven: true, Cut: true, Until: now.Add(time.Minute)}, "7-day limit until 23:01"},
		{index.Hold{Source: "retry-after", Proven: true, Until: now.Add(20 * time.Second)}, "the API asked to wait until 23:01"},
		{index.Hold{Source: "status 429", Until: now.Add(time.Minute)}, "too many requests, next try 23:01"},
		{index.Hold{Source: RefusedSource, Until: now.Add(time.Minute)}, "refused by the API, next try 23:01"},
		{index.Hold{Source: RejectedSource, Until: now.Add(time.Minute)}, "refused by the API, next try 23:01"},
		{index.Hold{Source: PersonSource, Proven: true, Until: now.Add(30 * time.Minute)}, "by hand until 23:30"},
	} {
		if got := ViewHold(test.hold).Why(now); got != test.want {
			t.Errorf("%s: got %q, want %q", test.hold.Source, got, test.want)
		}
	}
}
