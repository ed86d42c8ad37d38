package share

import (
	"errors"
	"testing"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/rotation"
)

// A passing machine vanishes with its request at a provider that takes a refresh token
// again for a while: another machine goes on after 20 s, not 90. A grace of less than 30 s
// is too short for that.
func TestGraceAfterAPassingMachine(t *testing.T) {
	for grace, waits := range map[time.Duration]time.Duration{30 * time.Second: graceLasts, 29 * time.Second: sendingLasts} {
		t.Run(grace.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModelWithGrace(t, 2, grace)
				a, b := m.all[0], m.all[1]
				a.passing = true
				killed := a.start()
				killed.crashAt = "K11"
				if err := killed.rotate(rotation.Wish{}); !errors.Is(err, errKilled) {
					t.Fatalf("not killed: %v", err)
				}
				begin := time.Now()
				err := b.start().rotate(rotation.Wish{})
				for fault.CodeOf(err) == fault.WaitingForMachine && time.Since(begin) < 2*sendingLasts {
					time.Sleep(time.Second)
					err = b.start().rotate(rotation.Wish{})
				}
				if took := time.Since(begin); took < waits || took > waits+5*time.Second {
					t.Errorf("went on after %v, want %v", took, waits)
				}
				inTime := grace >= leastGrace
				if (err == nil) != inTime || (m.server.reuse == 0) != inTime || m.server.sends["rt-1"] != 2 {
					t.Errorf("%v, %d reuses, %d sends", err, m.server.reuse, m.server.sends["rt-1"])
				}
			})
		})
	}
}

// After a lasting machine another one goes on only if it has seen the announcement come, so
// that the grace surely isn't over.
func TestGraceAfterALastingMachine(t *testing.T) {
	for name, watches := range map[string]bool{"watched": true, "came later": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T) {
				m := newModelWithGrace(t, 2, 45*time.Second)
				a, b := m.all[0], m.all[1]
				killed := a.start()
				killed.crashAt = "K11"
				killed.pause["S2"] = 5 * time.Second // it has claimed, and not announced yet
				done := make(chan error, 1)
				go func() { done <- killed.rotate(rotation.Wish{}) }()
				if watches {
					time.Sleep(time.Second)
				} else {
					time.Sleep(10 * time.Second)
				}
				err := b.start().rotate(rotation.Wish{})
				if killed := <-done; !errors.Is(killed, errKilled) {
					t.Fatalf("not killed: %v", killed)
				}
				sends := m.server.sends["rt-1"]
				switch {
				case m.server.reuse > 0:
					t.Error("the refresh token was used when the grace was over")
				case watches && (err != nil || sends != 2):
					t.Errorf("%v, %d sends", err, sends)
				case !watches && (fault.CodeOf(err) != fault.WaitingForMachine || sends != 1):
					t.Errorf("%v, %d sends; want to wait for a person", err, sends)
				}
			})
		})
	}
}
