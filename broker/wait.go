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
// why none can; its RetryAt is when one will probably be free.
func (b *Broker) WaitToken(ctx context.Context, req TokenRequest, longest time.Duration, waiting func(why *fault.Error)) (*Token, error) {
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
			waiting(e)
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
			return nil, fault.Errorf(fault.Cancelled, "interrupted; no account is free yet").Because(ctx.Err())
		case <-time.After(pause):
		}
	}
}
