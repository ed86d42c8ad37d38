package share

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/authferry/authferry/share/engine"
)

// eager says at once that everything has changed.
type eager struct{ engine.Engine }

func (eager) Changed(context.Context, string, int64) error { return nil }

// A machine that waits for another one looks as soon as the record has changed, but doesn't ask
// an engine without end that says so of a record that hasn't.
func TestWaitForChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &remote{seat: &Seat{Engine: eager{}}}
		for i, tt := range []struct {
			version engine.Version
			want    time.Duration
		}{{1, 0}, {2, 0}, {2, 10 * time.Millisecond}, {2, 10 * time.Millisecond}, {3, 0}} {
			r.entry.Version = tt.version
			begun := time.Now()
			r.wait(t.Context(), firstPause)
			if took := time.Since(begun); took != tt.want {
				t.Errorf("%d: it waits %v, want %v", i, took, tt.want)
			}
		}
	})
}
