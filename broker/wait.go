package broker

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
)

// waitStep is how often a waiting caller checks whether an account became free early.
const waitStep = 2 * time.Second

// WaitToken is Token, but waits while every account is held or the others can't serve now:
// until one can, at most for longest (zero: without limit). waiting is called once, with
// the time at which one will probably be free.
func (b *Broker) WaitToken(ctx context.Context, req TokenRequest, longest time.Duration, waiting func(until time.Time)) (*Token, error) {
	var deadline time.Time
	if longest > 0 {
		deadline = time.Now().Add(longest)
	}
	want := b.wanted(ctx, req)
	for told := false; ; told = true {
		tok, err := b.handOut(ctx, want, req.MinTTL)
		e, ok := errors.AsType[*fault.Error](err)
		if !ok || e.Code != fault.AllHeld && !e.SomeHeld {
			return tok, err
		}
		now, until := time.Now(), e.RetryAt
		if !told {
			waiting(until)
		}
		if !deadline.IsZero() && !now.Before(deadline) {
			return nil, err
		}
		pause := max(min(until.Sub(now), waitStep), 10*time.Millisecond)
		if !deadline.IsZero() {
			pause = min(pause, deadline.Sub(now))
		}
		select {
		case <-ctx.Done():
			return nil, fault.Errorf(fault.Cancelled, "interrupted").Because(ctx.Err())
		case <-time.After(pause):
		}
	}
}
