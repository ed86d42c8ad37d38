package rotation

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// Since when it fails stays the moment of the first failure.
func TestFailingSince(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	first := nextFailure(nil, errors.New("x"), now)
	second := nextFailure(first, errors.New("y"), now.Add(time.Hour))
	older := &index.Failure{Count: 3, At: now}
	if !second.Since.Equal(now) || second.Stated || !nextFailure(older, errors.New("y"), now.Add(time.Hour)).Since.Equal(now) {
		t.Errorf("%+v", second)
	}
}

// A count of failures is no way around the back-off.
func TestForgedFailures(t *testing.T) {
	for _, last := range []*index.Failure{{Count: -50}, {Count: -1}, {}, {Count: index.MaxCount}, {Count: math.MaxInt}} {
		f := nextFailure(last, fault.Errorf(fault.Internal, "x"), time.Now())
		if !index.ValidCount(f.Count) || time.Until(f.NextTryAt) > time.Minute {
			t.Errorf("%+v: %+v", last, f)
		}
	}
}
