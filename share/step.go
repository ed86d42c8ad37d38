package share

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// step takes the next step towards a claim, once folder and engine agree. It returns the
// claim, or the error that there is if waiting doesn't help, or neither: then it is to look
// again.
func (t *turn) step(ctx context.Context) (c *claimed, waits, err error) {
	r := t.rec
	if r.State == seal.Dead {
		if err := t.notes.dead(ctx); err != nil {
			return nil, nil, err
		}
		return nil, nil, pool.LoginNeeded(t.account)
	}
	if t.seat.Role == seal.Consumer {
		waits, err = t.want(ctx)
		return nil, waits, err
	}
	if t.restored {
		return nil, nil, t.forgotten()
	}
	if err := t.notes.failed(ctx); err != nil {
		return nil, nil, err
	}
	if err := rotation.Refusal(t.account, t.wish, time.Now()); err != nil {
		return nil, nil, err
	}
	if err := t.tooYoung(); err != nil {
		return nil, nil, err
	}
	if strange, err := t.stranger(ctx); strange || err != nil {
		if err == nil {
			err = fault.Errorf(fault.EngineRestored, "account %s: this machine has never seen its newest login alive, and the engine may have been restored from a backup; nothing was sent", t.label()).
				ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
		}
		return nil, nil, err
	}
	next, waits, err := t.next(ctx)
	if next == nil || err != nil {
		return nil, waits, err
	}
	c, err = t.take(ctx, next)
	return c, nil, err
}

// rejectedEvery is how often refused tokens may cause a refresh, over all machines.
const rejectedEvery = 30 * time.Second

// tooYoung refuses to replace a generation because the API refuses its token, if it came
// just now, here or from another machine.
func (t *turn) tooYoung() error {
	s := t.account.Share
	if !t.wish.Rejected || s == nil || s.Generation != t.rec.Gen || time.Since(s.Since) >= rejectedEvery || s.Since.After(time.Now().Add(record.ClockTolerance)) {
		return nil
	}
	e := fault.Errorf(fault.ProviderRefused, "account %s: the API refuses a token that a machine of the pool has just got; the next refresh for that reason waits", t.label()).ItsOwn()
	e.RetryAt = s.Since.Add(rejectedEvery)
	return e
}

// next is the record with this machine's claim, if it may claim now (rules 4, 5 and 12 to
// 15); else the error to wait with.
func (t *turn) next(ctx context.Context) (next *seal.Record, waits, err error) {
	r := *t.rec
	t.resend = nil
	claim := seal.Claim{Machine: t.seat.Machine, Nonce: newNonce(), Attempt: 1}
	was := r.Claim
	if r.State == seal.Idle {
		r.State, r.Claim = seal.Claimed, &claim
		return &r, nil, nil
	}
	own, note := was.Machine == t.seat.Machine, t.notes.own(was.Nonce)
	if !own || note == nil {
		if err := t.notes.see(ctx, func() string { return t.called(ctx, was.Machine) }); err != nil {
			return nil, nil, err
		}
	}
	unclear := t.waiting(ctx, was.Machine)
	switch {
	case r.State == seal.Claimed:
		// Its owner fails when it announces, so this is safe at any time.
		if !own && sighted(t.notes.sight()) < claimLasts {
			return nil, unclear, nil
		}
		r.Claim = &claim
		return &r, nil, nil
	case !was.Announced:
		// An earlier attempt was announced and may be sent again; this one wasn't.
		if !(own && note != nil) && !(was.Passing && (own || sighted(t.notes.sight()) >= claimLasts)) {
			return nil, unclear, nil
		}
		claim.Attempt, claim.Passing = was.Attempt, was.Passing
	case own && note != nil && !note.Announced:
		// It was never sent (rule 12).
		if was.Attempt == 1 {
			r.State, r.Claim = seal.Claimed, &claim
			return &r, nil, nil
		}
		claim.Attempt, claim.Passing = was.Attempt, was.Passing
	case own && note != nil:
		// Recovery by the machine itself (rule 13).
		claim.Attempt, claim.Passing = min(was.Attempt+1, index.MaxCount), was.Passing
	case was.Passing && passed(t.notes.sight()) >= respected(t.mine) && !t.lives():
		claim.Attempt, claim.Passing = min(was.Attempt+1, index.MaxCount), true
	case !was.Passing && t.inGrace() != nil && !t.lives():
		t.resend = t.inGrace()
		claim.Attempt = was.Attempt + 1
	default:
		if was.Passing {
			unclear.RetryAt = time.Now().Add(respected(t.mine) - passed(t.notes.sight())).UTC()
		}
		return nil, unclear, nil
	}
	r.Claim = &claim
	return &r, nil, nil
}

// lives reports whether the account has an access token that is of use.
func (t *turn) lives() bool { return pool.Lives(t.account, time.Now()) && !t.wish.Rejected }

// take writes the claim of next: first into the index, so that a later process knows that
// nothing was sent for it, then into the engine. Nil without an error: look again.
func (t *turn) take(ctx context.Context, next *seal.Record) (*claimed, error) {
	before := t.rec
	if err := t.notes.claim(ctx, next.Claim.Nonce); err != nil {
		return nil, err
	}
	folder.Reached("S1")
	won, err := t.swap(ctx, next)
	if errors.Is(err, engine.ErrUnknown) {
		if err = t.look(ctx); err == nil {
			won = t.rec.Gen == next.Gen && t.rec.Claim != nil && t.rec.Claim.Nonce == next.Claim.Nonce
		}
	}
	switch {
	case err != nil:
		return nil, t.explain(ctx, err)
	case !won:
		return nil, nil
	}
	folder.Reached("S2")
	return &claimed{remote: t.remote, turn: t, nonce: next.Claim.Nonce, before: before, fence: newFence()}, nil
}
