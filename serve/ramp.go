package serve

import (
	"context"
	"maps"
	"sync"
	"time"
)

const (
	// recent is for how long an accepted answer says that an account takes many.
	recent = 5 * time.Minute
	// rampEvery is after how long one more is let in though nobody was answered:
	// an answer that isn't streamed begins when it is finished.
	rampEvery = time.Second
	// rampEnd is how many at once need no more care.
	rampEnd = 32
	// maxRamps is more than anybody has of accounts and models.
	maxRamps = 1024
)

// ramps let requests in at an account: all of them, or, at one that is new or whose
// limit was just met, one, and one more with each answer that it accepts.
type ramps struct {
	mu   sync.Mutex
	last map[string]string // account that accepted or refused last, by provider and scope
	by   map[string]*ramp  // by account and scope
}

type ramp struct {
	room     int // how many at once; 0: any number
	inside   int
	accepted time.Time
	admitted time.Time
	refusals int           // so far
	changed  chan struct{} // closed at the next change; nil: nobody waits for it
}

// place is a request's place at an account, until it is known whether the account
// takes it.
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
	neither          // it says nothing about the account
)

// enter waits until one more request may go to the account. A nil place: the account
// refused somebody meanwhile, so the broker is to be asked again, as it is where waited
// is true. The only error is the context's.
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

// leave gives the place back. Only the first time counts.
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
			break // it went in before somebody else was refused
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
