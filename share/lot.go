package share

import (
	"math"
	"math/rand/v2"
	"time"
)

// lots is how many steps there are in which the machines that have met a limit may tell it.
// After each step twice as many of them may as before it, and after the last one all. So of
// any number up to a hundred thousand a few may in the step in which the first one may.
const lots = 16

// lot is when this machine may tell the others of a limit: how long it pauses is drawn by
// lot, and grows with how slow the machine and the engine are. A step is longer than it takes
// to look and to write, so the first one has written before the others look, but for those
// few.
type lot struct {
	drawn              float64 // of lots
	wait, step, paused time.Duration
}

// drawLot draws one for pauses of up to wait in all, and of up to 64 times as long where looks
// are slow; 0: none.
func drawLot(wait time.Duration) *lot {
	return &lot{drawn: max(0, lots-rand.ExpFloat64()/math.Ln2), wait: wait, step: wait / lots} // #nosec G404 -- only so that not all come at once
}

// pause is how long to pause and look again, after a look that took so long; 0: what was
// seen may be written now. Long pauses are in parts, as another machine may have written.
func (l *lot) pause(look time.Duration) time.Duration {
	if 2*look > l.step {
		l.step = min(2*max(look, l.step), 4*l.wait)
	}
	left := max(0, time.Duration(l.drawn*float64(l.step))-l.paused)
	part := min(left, max(l.wait, 2*l.step))
	l.paused += part
	return part
}
