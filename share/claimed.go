package share

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// claimed is an account that this machine has claimed.
type claimed struct {
	*remote
	turn   *turn
	nonce  string
	before *seal.Record // what the claim replaced
	fence  fence
}

// fence ends this process at a time, even if it is stopped.
type fence interface {
	arm(d time.Duration) error
	disarm()
}

// newFence is replaced by tests whose time isn't the kernel's.
var newFence = func() fence { return &kernelFence{} }

var errTooLate = errors.New("too much time had passed")

// Announce implements rotation.Claimed.
func (c *claimed) Announce(ctx context.Context, intent func(mark func(*index.Account)) error) error {
	armed, within := newWatch(), sendWithin
	if c.turn.resend != nil {
		within = min(within, c.turn.resend.left())
	}
	late := fault.Errorf(fault.EngineUnreachable, "account %s: the engine or this machine was too slow; nothing was sent", c.turn.label()).Because(errTooLate)
	if within <= 0 {
		return late
	}
	if c.seat.Passing {
		if err := c.fence.arm(within); err != nil {
			return fault.Errorf(fault.Internal, "this process could not be given a time limit; nothing was sent").Because(err)
		}
	}
	folder.Reached("S3")
	next, claim := *c.rec, *c.rec.Claim
	claim.Announced, claim.Passing = true, c.seat.Passing
	next.State, next.Claim = seal.Sending, &claim
	won, err := c.swap(ctx, &next)
	switch {
	case err != nil: // also if the outcome is unknown
		return c.turn.explain(ctx, err)
	case !won:
		return fault.Errorf(fault.LockTimeout, "account %s: another machine has taken over this refresh; nothing was sent", c.turn.label()).Because(lock.ErrLost)
	}
	folder.Reached("S4")
	err = intent(func(a *index.Account) {
		for i := range a.Share.Claims {
			if a.Share.Claims[i].Nonce == claim.Nonce {
				a.Share.Claims[i].Announced = true
			}
		}
	})
	if err == nil && armed.elapsed() >= within {
		err = late
	}
	return err
}

// Sent implements rotation.Claimed.
func (c *claimed) Sent() { c.fence.disarm() }

// Publish implements rotation.Claimed.
func (c *claimed) Publish(ctx context.Context, g *record.Grant, acc *record.Access) (wait func() error) {
	told := make(chan error, 1)
	contents := c.contents(g, c.rec.Client, acc)
	go func() { told <- c.tell(ctx, contents) }()
	return sync.OnceValue(func() error {
		err := <-told
		if err == nil {
			_ = c.turn.notes.settle(ctx, true) // only shown, and found out again
		}
		c.seat.close()
		if err != nil {
			return c.turn.failure(ctx, err)
		}
		return nil
	})
}

// Fail implements rotation.Claimed.
func (c *claimed) Fail(ctx context.Context, class oauth.Class, f *index.Failure) (moved bool, err error) {
	defer c.seat.close()
	defer c.fence.disarm()
	if class == oauth.Dead {
		if err := c.turn.notes.refused(ctx, c.nonce); err != nil {
			return false, err
		}
	}
	folder.Reached("S7")
	for try := 0; ; try++ {
		switch {
		case c.rec.Claim != nil && c.rec.Claim.Nonce == c.nonce:
		case c.rec.Gen != c.before.Gen || c.rec.FP != c.before.FP:
			return true, c.turn.reconcile(ctx) // another machine has published meanwhile
		case class == oauth.Dead && c.rec.Claim != nil:
			return false, c.turn.waiting(ctx, c.rec.Claim.Machine) // which sends, or has sent, the same refresh token
		case class == oauth.Dead && c.rec.State != seal.Dead:
			return false, c.turn.explain(ctx, engine.ErrUnreachable)
		default:
			return false, nil // another machine has taken over
		}
		won, err := c.swap(ctx, c.failed(class, f))
		switch {
		case won:
			folder.Reached("S8")
			if c.rec.Claim == nil {
				_ = c.turn.notes.settle(ctx, false) // only shown, and found out again
			}
			return false, nil
		case try == swapTries:
			return false, c.turn.explain(ctx, cmp.Or(err, engine.ErrUnreachable))
		case err != nil:
			if err := c.turn.look(ctx); err != nil {
				return false, err
			}
		}
	}
}

// failed is the record after this machine's claim has brought no token.
func (c *claimed) failed(class oauth.Class, f *index.Failure) *seal.Record {
	next := *c.rec
	if f != nil {
		next.Failure = &seal.Failure{Class: f.Class, Count: f.Count, At: f.At, NextTryAt: f.NextTryAt, Stated: f.Stated}
	}
	switch {
	case class == oauth.Dead:
		next.State, next.Claim = seal.Dead, nil
	case class == oauth.Unknown:
		// Nobody waits for that answer any more, so any machine may try again.
		open := *c.rec.Claim
		open.Announced, open.Passing = false, true
		next.State, next.Claim = seal.Sending, &open
	case class == oauth.Unsent && c.before.State == seal.Sending && c.rec.Claim.Attempt > 1:
		// The attempt before this one has an unknown outcome.
		again := *c.rec.Claim
		again.Announced, again.Passing = false, c.before.Claim.Passing
		next.State, next.Claim = seal.Sending, &again
	default:
		next.State, next.Claim = seal.Idle, nil
	}
	return &next
}

// watch measures time that nobody can set, also while the machine sleeps where the system
// has a clock for that.
type watch struct {
	at   time.Time
	boot record.Boot
}

func newWatch() watch { return watch{time.Now(), record.BootNow()} }

func (w watch) elapsed() time.Duration {
	if b := record.BootNow(); w.boot.ID != "" && b.ID == w.boot.ID {
		return b.At - w.boot.At
	}
	return time.Since(w.at)
}
