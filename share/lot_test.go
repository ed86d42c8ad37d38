package share

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// Of any number of machines that meet a limit at the same moment few write, however long it
// takes them to look and to write.
func TestFewMachinesTellALimit(t *testing.T) {
	t.Parallel()
	for _, machines := range []int{1, 2, 50, 1000, 50_000} {
		for _, look := range []time.Duration{0, 5 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second} {
			t.Run(fmt.Sprint(machines, look), func(t *testing.T) {
				t.Parallel()
				const wait = 2 * time.Second
				last := make([]time.Duration, machines) // when each begins its last look
				first := time.Hour
				for i := range last {
					l := drawLot(wait)
					for pause := l.pause(look); pause > 0; pause = l.pause(look) {
						last[i] += look + pause
					}
					first = min(first, last[i])
				}
				if longest, most := slices.Max(last), max(wait, 4*look*lots)+lots*look; longest > most {
					t.Errorf("one waits %v, more than %v", longest, most)
				}
				writers := 0
				for _, at := range last {
					if at <= first+look+look/2 { // when the first one has written
						writers++
					}
				}
				if writers > 20 {
					t.Errorf("%d of %d machines write", writers, machines)
				}
			})
		}
	}
}

// A machine for which a person waits tells a limit at once.
func TestNoLot(t *testing.T) {
	t.Parallel()
	if pause := drawLot(0).pause(time.Minute); pause != 0 {
		t.Error(pause)
	}
}
