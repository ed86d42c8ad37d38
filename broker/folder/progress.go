package folder

import (
	"context"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/lock"
)

// Step is something that a call does and that may take long: waiting for another
// process, for a provider, for a prompt of the keychain. One may be a part of
// another.
type Step struct {
	// Doing says in a few words, without a secret, what is being done. It may be
	// called from any goroutine, any number of times, until the step is over.
	Doing func() string
	// Until is when the call gives up; zero: not known.
	Until time.Time
}

// Within bounds a step, and tells whoever waits for it.
func (f *Folder) Within(ctx context.Context, d time.Duration, doing func() string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	until, _ := ctx.Deadline()
	over := f.Progress(Step{doing, until})
	return ctx, func() {
		over()
		cancel()
	}
}

// forLock says whose the lock at path is.
func forLock(path string) func() string {
	return func() string {
		h, err := lock.ReadHolder(path)
		if err != nil {
			return "waiting for another authferry"
		}
		text := fmt.Sprintf("waiting for %s, busy for %v", h, time.Since(h.StartedAt).Round(time.Second))
		if h.State != "" {
			text += ", " + h.State
		}
		return text
	}
}
