package broker

import (
	"os"
	"time"

	"github.com/authferry/authferry/broker/index"
)

func newIntent(slot string, generation int, fp string, attempt int, now time.Time) index.Intent {
	return index.Intent{Slot: slot, Generation: generation, Fingerprint: fp, Attempt: attempt, PID: os.Getpid(), StartedAt: now.UTC()}
}
