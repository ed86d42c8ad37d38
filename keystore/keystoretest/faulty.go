package keystoretest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Faulty is a store that has the faults a test gives it. All its methods may be
// used at once.
type Faulty struct {
	store keystore.Store

	mu      sync.Mutex
	calls   []Call
	fault   func(Call) Fault
	earlier map[string]*keystore.Secret // the value before the last Set; nil: none
}

// Call is one use of the store.
type Call struct {
	Op   string // "read", "write" or "delete"
	Name string
	N    int // how many calls there were before it, of any kind
}

// Fault is what goes wrong in a call. The zero value is nothing. The fields come
// into effect in their order.
type Fault struct {
	// Delay is waited first; the context cuts it short.
	Delay time.Duration
	// Hang waits until the context is over.
	Hang bool
	// Late, for a Set: it hangs, and the value is written after all once the
	// channel is closed.
	Late <-chan struct{}
	// Cause, one of keystore's Err… values, is answered and nothing done.
	Cause error
	// Lose, for a Set or Delete: success is answered and nothing done.
	Lose bool
	// Stale, for a Get: the value before the last Set is answered.
	Stale bool
}

// NewFaulty wraps s, without a fault as yet.
func NewFaulty(s keystore.Store) *Faulty {
	return &Faulty{store: s, earlier: map[string]*keystore.Secret{}}
}

// Inject makes fault decide about every call from now on; nil ends all faults.
// fault is called for one call at a time and must not use the store.
func (f *Faulty) Inject(fault func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Calls returns all calls so far in their order.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Kind is that of the wrapped store.
func (f *Faulty) Kind() keystore.Kind { return f.store.Kind() }

// Backend is that of the wrapped store.
func (f *Faulty) Backend() string { return f.store.Backend() }

// Get is Get of the wrapped store, with the faults.
func (f *Faulty) Get(ctx context.Context, name string) (keystore.Secret, error) {
	fault, err := f.begin(ctx, "read", name)
	if err != nil {
		return keystore.Secret{}, err
	}
	if fault.Stale {
		if old, ok := f.before(name); ok {
			if old == nil {
				return keystore.Secret{}, &keystore.Error{Op: "read", Name: name, Cause: keystore.ErrNotFound}
			}
			return *old, nil
		}
	}
	return f.store.Get(ctx, name)
}

// Set is Set of the wrapped store, with the faults.
func (f *Faulty) Set(ctx context.Context, name string, value keystore.Secret) error {
	fault, err := f.begin(ctx, "write", name)
	if fault.Late != nil {
		go func() {
			<-fault.Late
			_ = f.store.Set(context.WithoutCancel(ctx), name, value) // nobody is there to be told
		}()
		<-ctx.Done()
		return &keystore.Error{Op: "write", Name: name, Cause: keystore.ErrTimeout, Err: ctx.Err()}
	}
	if err != nil || fault.Lose {
		return err
	}
	f.remember(ctx, name)
	return f.store.Set(ctx, name, value)
}

// Delete is Delete of the wrapped store, with the faults.
func (f *Faulty) Delete(ctx context.Context, name string) error {
	fault, err := f.begin(ctx, "delete", name)
	if err != nil || fault.Lose {
		return err
	}
	return f.store.Delete(ctx, name)
}

func (f *Faulty) begin(ctx context.Context, op, name string) (Fault, error) {
	fault := f.record(op, name)
	wait := ctx.Done()
	if fault.Delay > 0 {
		select {
		case <-time.After(fault.Delay):
		case <-wait:
		}
	}
	if fault.Hang {
		<-wait
	}
	switch {
	case ctx.Err() != nil:
		return fault, &keystore.Error{Op: op, Name: name, Cause: keystore.ErrTimeout, Err: ctx.Err()}
	case fault.Cause != nil:
		return fault, &keystore.Error{Op: op, Name: name, Cause: fault.Cause}
	}
	return fault, nil
}

func (f *Faulty) record(op, name string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	call := Call{Op: op, Name: name, N: len(f.calls)}
	f.calls = append(f.calls, call)
	if f.fault == nil {
		return Fault{}
	}
	return f.fault(call)
}

func (f *Faulty) remember(ctx context.Context, name string) {
	var old *keystore.Secret
	if s, err := f.store.Get(ctx, name); err == nil {
		old = &s
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.earlier[name] = old
}

func (f *Faulty) before(name string) (*keystore.Secret, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	old, ok := f.earlier[name]
	return old, ok
}
