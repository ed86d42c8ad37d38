package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
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

// within bounds a step, and tells whoever waits for it.
func (b *Broker) within(ctx context.Context, d time.Duration, doing func() string) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(ctx, d)
	until, _ := ctx.Deadline()
	over := b.opt.Progress(Step{doing, until})
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
		text := fmt.Sprintf("waiting for %s, at work for %v", h, time.Since(h.StartedAt).Round(time.Second))
		if h.State != "" {
			text += ", " + h.State
		}
		return text
	}
}

func forProvider(name string) func() string {
	return func() string { return "waiting for " + name + " to answer" }
}

// forStore thinks of a prompt: nothing else makes a keystore take long.
func (b *Broker) forStore() func() string {
	kind, backend := b.store.Kind(), b.store.Backend()
	return func() string {
		if kind == keystore.Keychain {
			return "waiting for the " + backend + ", which may be asking you something"
		}
		return "waiting for the " + backend
	}
}

// forRotation says what the rotator of a is busy with.
func (b *Broker) forRotation(a *index.Account) func() string {
	path := lock.Rotation(a.ID).In(b.index.Dir())
	return func() string {
		if h, err := lock.ReadHolder(path); err == nil && h.State == stateStoring {
			return "waiting for the keystore to take the new tokens of account " + quote(a.Label)
		}
		return fmt.Sprintf("waiting for %s to refresh account %s", a.Provider, quote(a.Label))
	}
}
