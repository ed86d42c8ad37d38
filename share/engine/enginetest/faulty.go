package enginetest

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/authferry/authferry/share/engine"
)

// Faulty is one machine's connection to an engine, with the faults a test gives it. All its
// methods may be used at once.
type Faulty struct {
	engine engine.Engine

	mu       sync.Mutex
	calls    []Call
	fault    func(Call) Fault
	cut      chan struct{}           // closed while partitioned
	earlier  map[string]engine.Entry // what each key had before the last Swap won here
	delivery []func()
}

// Call is one use of the connection.
type Call struct {
	Op    string // "get", "list", "swap" or "changed"
	Key   string // or prefix
	Value []byte // of a Swap
	N     int    // how many calls there were before it, of any kind
}

// Outcome is what becomes of a Swap.
type Outcome int

// A Swap is answered, or its outcome is unknown to who asked: it was applied, is applied at
// the next Deliver (if the version is still the expected one then), or never is.
const (
	Answered Outcome = iota
	AppliedNow
	AppliedLater
	NeverApplied
)

// Fault is what goes wrong in a call. The zero value is nothing. The fields come into effect
// in their order.
type Fault struct {
	// Err, engine.ErrUnreachable or engine.ErrRefused, is answered at once and nothing sent.
	Err error
	// Delay is waited first. Where the context cuts it short, the call was sent and won't
	// arrive: a Swap's outcome is unknown.
	Delay time.Duration
	// Outcome of a Swap.
	Outcome Outcome
	// Stale, for a Get or List: each key whose last Swap was won over this connection has what
	// it had before. A replica behind answers so, or an operator who rolled the key back.
	Stale bool
	// Identity, if not nil, is what the engine says that it is.
	Identity *engine.Identity
}

// NewFaulty returns a connection to e without a fault as yet.
func NewFaulty(e engine.Engine) *Faulty {
	return &Faulty{engine: e, cut: make(chan struct{}), earlier: map[string]engine.Entry{}}
}

// Inject makes fault decide about every call from now on; nil ends all faults but a partition.
// fault is called for one call at a time and must not use the connection.
func (f *Faulty) Inject(fault func(Call) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

// Partition makes the engine unreachable from here, also for what waits in Changed.
func (f *Faulty) Partition() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.partitioned() {
		close(f.cut)
	}
}

// Heal ends the partition.
func (f *Faulty) Heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.partitioned() {
		f.cut = make(chan struct{})
	}
}

func (f *Faulty) partitioned() bool {
	select {
	case <-f.cut:
		return true
	default:
		return false
	}
}

// Deliver makes the engine apply all Swaps that were to be AppliedLater, in their order.
func (f *Faulty) Deliver() {
	f.mu.Lock()
	late := f.delivery
	f.delivery = nil
	f.mu.Unlock()
	for _, apply := range late {
		apply()
	}
}

// Calls returns all calls so far in their order.
func (f *Faulty) Calls() []Call {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// Get is Get of the engine, with the faults.
func (f *Faulty) Get(ctx context.Context, key string) (engine.Entry, engine.Identity, error) {
	fault, err := f.begin(ctx, Call{Op: "get", Key: key})
	if err != nil {
		return engine.Entry{}, engine.Identity{}, err
	}
	e, id, err := f.engine.Get(ctx, key)
	if err == nil && fault.Stale {
		e = f.before(e)
	}
	return e, fault.identity(id), err
}

// List is List of the engine, with the faults.
func (f *Faulty) List(ctx context.Context, prefix string) ([]engine.Entry, engine.Identity, error) {
	fault, err := f.begin(ctx, Call{Op: "list", Key: prefix})
	if err != nil {
		return nil, engine.Identity{}, err
	}
	list, id, err := f.engine.List(ctx, prefix)
	if err == nil && fault.Stale {
		list = f.listBefore(list, prefix)
	}
	return list, fault.identity(id), err
}

// Swap is Swap of the engine, with the faults.
func (f *Faulty) Swap(ctx context.Context, key string, expect engine.Version, value []byte) (engine.Entry, bool, error) {
	fault, err := f.begin(ctx, Call{Op: "swap", Key: key, Value: bytes.Clone(value)})
	if err != nil {
		return engine.Entry{}, false, err
	}
	value = bytes.Clone(value) // the caller may use its own again
	apply := func(ctx context.Context) (engine.Entry, bool, error) {
		old, _, readErr := f.engine.Get(ctx, key)
		now, won, err := f.engine.Swap(ctx, key, expect, value)
		if won && readErr == nil {
			f.mu.Lock()
			f.earlier[key] = old
			f.mu.Unlock()
		}
		return now, won, err
	}
	unknown := fmt.Errorf("%w: the connection broke", engine.ErrUnknown)
	switch fault.Outcome {
	case Answered:
		return apply(ctx)
	case AppliedNow:
		if _, _, err := apply(ctx); err != nil {
			return engine.Entry{}, false, err
		}
	case AppliedLater:
		f.mu.Lock()
		f.delivery = append(f.delivery, func() { _, _, _ = apply(context.WithoutCancel(ctx)) }) // nobody is there to be told
		f.mu.Unlock()
	case NeverApplied:
	}
	return engine.Entry{}, false, unknown
}

// Changed is Changed of the engine, with the faults. A partition ends it.
func (f *Faulty) Changed(ctx context.Context, prefix string, after int64) error {
	f.mu.Lock()
	cut := f.cut
	f.mu.Unlock()
	if _, err := f.begin(ctx, Call{Op: "changed", Key: prefix}); err != nil {
		return err
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.engine.Changed(waiting, prefix, after) }()
	select {
	case err := <-done:
		return err
	case <-cut:
		return partition()
	}
}

// Close ends this connection alone, as a partition does.
func (f *Faulty) Close() error {
	f.Partition()
	return nil
}

// begin is a call up to where it reaches the engine.
func (f *Faulty) begin(ctx context.Context, c Call) (Fault, error) {
	fault, cut := f.record(c)
	switch {
	case ctx.Err() != nil:
		return fault, over(ctx)
	case cut:
		return fault, partition()
	case fault.Err != nil:
		return fault, fmt.Errorf("%w: as told", fault.Err)
	case fault.Delay > 0:
		select {
		case <-time.After(fault.Delay):
		case <-ctx.Done():
			if c.Op == "swap" {
				return fault, fmt.Errorf("%w: %w", engine.ErrUnknown, ctx.Err())
			}
			return fault, over(ctx)
		}
	}
	return fault, nil
}

func partition() error { return fmt.Errorf("%w: partitioned", engine.ErrUnreachable) }

func (f *Faulty) record(c Call) (fault Fault, cut bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c.N = len(f.calls)
	f.calls = append(f.calls, c)
	if f.fault != nil {
		fault = f.fault(c)
	}
	return fault, f.partitioned()
}

func (f *Faulty) before(e engine.Entry) engine.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	if old, ok := f.earlier[e.Key]; ok {
		return old
	}
	return e
}

func (f *Faulty) listBefore(list []engine.Entry, prefix string) []engine.Entry {
	f.mu.Lock()
	defer f.mu.Unlock()
	was := map[string]engine.Entry{}
	for _, e := range list {
		was[e.Key] = e
	}
	for key, old := range f.earlier {
		if strings.HasPrefix(key, prefix) {
			was[key] = old
		}
	}
	list = nil
	for _, e := range was {
		if e.Version != 0 {
			list = append(list, e)
		}
	}
	slices.SortFunc(list, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return list
}

func (f Fault) identity(id engine.Identity) engine.Identity {
	if f.Identity != nil {
		return *f.Identity
	}
	return id
}
