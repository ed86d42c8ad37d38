package folder

import (
	"context"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/humantime"
)

// Step is a part of a call that may take long: waiting for another process, for a provider,
// for a prompt of the keychain. Steps can be nested.
type Step struct {
	// Doing says in a few words, without secrets, what is being done. It may be called from
	// any goroutine, any number of times, until the step is over.
	Doing func() string
	// Until is when the call gives up; zero: unknown.
	Until time.Time
}

// Within limits a step to d, and reports it as progress. The returned function ends it.
func (f *Folder) Within(ctx context.Context, d time.Duration, doing func() string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	until, _ := ctx.Deadline()
	over := f.Progress(Step{doing, until})
	return ctx, func() {
		over()
		cancel()
	}
}

// forLock says who holds the lock at path.
func forLock(path string) func() string {
	return func() string {
		h, err := lock.ReadHolder(path)
		if err != nil {
			return "waiting for another authferry"
		}
		text := fmt.Sprintf("waiting for %s, busy for %s", h, humantime.Span(time.Since(h.StartedAt)))
		if h.State != "" {
			text += ", " + h.State
		}
		return text
	}
}
