package serve

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// recent is how long an accepted answer shows that an account takes many requests.
	recent = 5 * time.Minute
	// rampEvery is when one more request is let in although none was answered: an answer
	// that isn't streamed begins only when it is complete.
	rampEvery = time.Second
	// rampEnd is the number of parallel requests from which on no ramp is needed.
	rampEnd = 32
	// maxRamps is more than anybody has accounts and models.
	maxRamps = 1024
)

// ramps decide how many requests may be at an account at once: any number; or, if it is new
// or its limit was just met, one, and one more with each answer that it accepts.
type ramps struct {
	mu   sync.Mutex
	last map[string]string // the account that accepted or refused last, by provider and scope
	by   map[string]*ramp  // by account and scope
}

type ramp struct {
	room     int // the limit; 0: none
	inside   int
	accepted time.Time
	admitted time.Time
	refusals int           // so far
	changed  chan struct{} // closed at the next change; nil: nobody waits for it
}

// place is a request's place at an account, until the account has accepted or refused it.
type place struct {
	all      *ramps
	at       *ramp
	who      string // the key of all.last
	account  string
	refusals int
}

// outcome is what became of a request at an account.
type outcome int

const (
	accepted outcome = iota
	refused          // by a limit
	neither          // it doesn't tell anything about the account
)

// enter waits until one more request may go to the account. A nil place: the account
// refused another request meanwhile, so the broker must be asked again, as it must if
// waited is true. The only error is the context's.
func (all *ramps) enter(ctx context.Context, provider, scope, account string) (p *place, waited bool, err error) {
	all.mu.Lock()
	defer all.mu.Unlock()
	if all.by == nil {
		all.by, all.last = map[string]*ramp{}, map[string]string{}
	}
	who, key := provider+" "+scope, account+" "+scope
	r := all.by[key]
	if r == nil {
		if len(all.by) >= maxRamps {
			maps.DeleteFunc(all.by, func(_ string, r *ramp) bool { return r.inside == 0 && r.changed == nil })
			clear(all.last)
		}
		r = &ramp{}
		all.by[key] = r
	}
	now := time.Now()
	if last := all.last[who]; r.room == 0 && last != "" && last != account && now.Sub(r.accepted) > recent {
		r.room = 1
	}
	refusals := r.refusals
	for r.room > 0 && r.inside >= r.room && now.Sub(r.admitted) < rampEvery {
		waited = true
		if err := all.wait(ctx, r, rampEvery-now.Sub(r.admitted)); err != nil {
			return nil, true, err
		}
		if r.refusals != refusals {
			return nil, true, nil
		}
		now = time.Now()
	}
	r.inside++
	r.admitted = now
	return &place{all, r, who, account, refusals}, waited, nil
}

// wait returns when r has changed, or after d.
func (all *ramps) wait(ctx context.Context, r *ramp, d time.Duration) error {
	if r.changed == nil {
		r.changed = make(chan struct{})
	}
	changed := r.changed
	all.mu.Unlock()
	defer all.mu.Lock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-changed:
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}

// leave returns the place. Only the first call counts.
func (p *place) leave(how outcome) {
	if p == nil || p.at == nil {
		return
	}
	all, r := p.all, p.at
	p.at = nil
	all.mu.Lock()
	defer all.mu.Unlock()
	r.inside--
	switch how {
	case refused:
		all.last[p.who] = p.account
		r.room = 1
		r.refusals++
	case accepted:
		all.last[p.who] = p.account
		if r.refusals != p.refusals {
			break // it was sent before another one was refused
		}
		r.accepted = time.Now()
		if r.room > 0 {
			if r.room++; r.room > rampEnd {
				r.room = 0
			}
		}
	}
	if r.changed != nil {
		close(r.changed)
		r.changed = nil
	}
}
