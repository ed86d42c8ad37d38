package share

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
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
		return nil, nil, t.deadHere(ctx)
	}
	if t.seat.Role == seal.Consumer {
		waits, err = t.want(ctx)
		return nil, waits, err
	}
	if t.restored {
		return nil, nil, t.forgotten(ctx)
	}
	if err := t.shareFailure(ctx); err != nil {
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
	own, note := was.Machine == t.seat.Machine, t.note(was.Nonce)
	if !own || note == nil {
		if err := t.noteSight(ctx); err != nil {
			return nil, nil, err
		}
	}
	unclear := t.waiting(ctx, was.Machine)
	switch {
	case r.State == seal.Claimed:
		// Its owner fails when it announces, so this is safe at any time.
		if !own && t.sighted() < claimLasts {
			return nil, unclear, nil
		}
		r.Claim = &claim
		return &r, nil, nil
	case !was.Announced:
		// An earlier attempt was announced and may be sent again; this one wasn't.
		if !(own && note != nil) && !(was.Passing && (own || t.sighted() >= claimLasts)) {
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
	case was.Passing && t.passed() >= t.respected() && !t.lives():
		claim.Attempt, claim.Passing = min(was.Attempt+1, index.MaxCount), true
	case !was.Passing && t.inGrace() != nil && !t.lives():
		t.resend = t.inGrace()
		claim.Attempt = was.Attempt + 1
	default:
		if was.Passing {
			unclear.RetryAt = time.Now().Add(t.respected() - t.passed()).UTC()
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
	if err := t.noteClaim(ctx, next.Claim.Nonce); err != nil {
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
		return nil, t.swapFailed(ctx, err)
	case !won:
		return nil, nil
	}
	folder.Reached("S2")
	return &claimed{turn: t, nonce: next.Claim.Nonce, before: before, fence: newFence()}, nil
}

// keptNotes is how many notes of claims are kept. Only the outcome of the newest ones can be
// unknown.
const keptNotes = 8

// noteClaim notes in the index, synced, that this machine claims with a nonce. Earlier notes
// stay: a claim whose outcome is unknown may still come.
func (t *turn) noteClaim(ctx context.Context, nonce string) error {
	return t.o.Folder.Change(ctx, index.Durable, t.l.Account, func(idx *index.Index, a *index.Account) {
		t.show(idx, a)
		if extra := len(a.Share.Claims) - keptNotes + 1; extra > 0 {
			a.Share.Claims = slices.Delete(a.Share.Claims, 0, extra)
		}
		a.Share.Claims = append(a.Share.Claims, ownClaim(nonce))
		t.account = a
	})
}

// ownClaim is the note of a claim by this process.
func ownClaim(nonce string) index.Claim {
	return index.Claim{Nonce: nonce, Boot: thisBoot(), Host: thisHost(), PID: os.Getpid(), Process: lock.ThisProcess()}
}

// note is the note of this machine's claim with the nonce; nil: there is none that can be
// trusted. The index may be a copy, on this machine or on another, or from a backup; then
// its notes may be old. A process that is alive may still announce.
func (t *turn) note(nonce string) *index.Claim {
	if t.account.Share == nil {
		return nil
	}
	for i := range t.account.Share.Claims {
		c := &t.account.Share.Claims[i]
		if c.Nonce == nonce && c.Boot != "" && c.Boot == thisBoot() && c.Host == thisHost() && !lock.Alive(c.PID, c.Process) {
			return c
		}
	}
	return nil
}

// show sets what people are shown of the record, in the account's entry, and pins what the
// engine must not fall behind.
func (t *turn) show(idx *index.Index, a *index.Account) {
	if p := idx.SharedPool(t.seat.Pool); p != nil {
		p.Revision = max(p.Revision, t.id.Revision)
	}
	if a.Share == nil {
		a.Share = &index.Share{}
	}
	s, now := a.Share, time.Now().UTC()
	if s.State != string(t.rec.State) || s.Generation != t.rec.Gen || s.Since.IsZero() {
		s.Since, s.Machine = now, ""
	}
	s.Pool, s.Role, s.State, s.Generation, s.SeenAt = t.seat.Pool, string(t.seat.Role), string(t.rec.State), t.rec.Gen, now
	s.Known = s.Known || isNew(t.rec.Access, now)
}

// isNew reports whether the newest access token of an engine is alive, or has been not long
// ago. Then the engine wasn't restored from an old backup.
func isNew(acc *record.Access, now time.Time) bool {
	return acc != nil && (acc.ExpiresAt.IsZero() || now.Before(acc.ExpiresAt.Add(max(oldest, acc.ExpiresAt.Sub(acc.ObtainedAt)))))
}

// seenFor is how old the index's note of the engine's last answer may get while nothing
// else changes.
const seenFor = 20 * time.Second

// seen notes in the index what the engine has, for people and for later processes.
func (t *turn) seen(ctx context.Context) error {
	state := index.EngineOK
	if t.restored {
		state = index.EngineRestored
	}
	s, p := t.account.Share, t.o.Index.SharedPool(t.seat.Pool)
	alone := t.account.Failure != nil && t.account.Failure.Class == rotation.ClassEngine
	dead := t.rec.State == seal.Dead // callers count on how new that is
	if !alone && !dead && s != nil && s.State == string(t.rec.State) && s.Generation == t.rec.Gen && time.Since(s.SeenAt).Abs() < seenFor &&
		(p == nil || p.Engine == state && time.Since(p.SeenAt).Abs() < seenFor) {
		return nil
	}
	return t.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		a := idx.Account(t.l.Account)
		if a == nil {
			return folder.Removed()
		}
		t.show(idx, a)
		if alone {
			a.Failure = nil
		}
		if p := idx.SharedPool(t.seat.Pool); p != nil {
			p.SeenAt, p.Engine = time.Now().UTC(), state
		}
		t.account, t.o.Index = a, idx
		return nil
	})
}

// backOff notes in the index that the engine can't be reached, so that not every caller
// waits for it.
func (t *turn) backOff(ctx context.Context) {
	if t.quiet {
		return
	}
	_ = t.o.Folder.Change(ctx, index.Fast, t.l.Account, func(_ *index.Index, a *index.Account) { // it is found out again
		if !pool.BackingOff(a, time.Now()) {
			a.Failure = rotation.EngineFailure(a.Failure, time.Now())
		}
	})
}

// noteEngine notes in the index how the engine is. That it was restored stays until a
// person has confirmed its state.
func (t *turn) noteEngine(ctx context.Context, state string) {
	p := t.o.Index.SharedPool(t.seat.Pool)
	if t.quiet || p == nil || p.Engine == state || p.Engine == index.EngineRestored {
		return
	}
	_ = t.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error { // it is only shown, or found out again
		if p := idx.SharedPool(t.seat.Pool); p != nil && p.Engine != index.EngineRestored {
			p.Engine = state
		}
		return nil
	})
}
