package share

import (
	"context"
	"os"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/rotation"
	"github.com/authferry/authferry/share/seal"
)

// notes are what this machine's index says of an account's record at the engine: for people,
// and for this machine's later processes.
type notes struct {
	*local
	*remote
}

// keptNotes is how many notes of claims are kept. Only the outcome of the newest ones can be
// unknown.
const keptNotes = 8

// claim notes in the index, synced, that this machine claims with a nonce. Earlier notes
// stay: a claim whose outcome is unknown may still come.
func (n *notes) claim(ctx context.Context, nonce string) error {
	return n.change(ctx, index.Durable, func(idx *index.Index, a *index.Account) {
		n.show(idx, a)
		if extra := len(a.Share.Claims) - keptNotes + 1; extra > 0 {
			a.Share.Claims = slices.Delete(a.Share.Claims, 0, extra)
		}
		a.Share.Claims = append(a.Share.Claims, ownClaim(nonce))
	})
}

// ownClaim is the note of a claim by this process.
func ownClaim(nonce string) index.Claim {
	return index.Claim{Nonce: nonce, Boot: thisBoot(), Host: thisHost(), PID: os.Getpid(), Process: lock.ThisProcess()}
}

// refused notes in the index, synced, that the provider refused the login for good: if the
// engine can't be told now, the next process of this machine tells it, and doesn't send the
// refresh token once more. The note of the claim may be gone, with an index that was put back.
func (n *notes) refused(ctx context.Context, nonce string) error {
	return n.change(ctx, index.Durable, func(idx *index.Index, a *index.Account) {
		n.show(idx, a)
		i := slices.IndexFunc(a.Share.Claims, func(c index.Claim) bool { return c.Nonce == nonce })
		if i < 0 {
			i = len(a.Share.Claims)
			a.Share.Claims = append(a.Share.Claims, ownClaim(nonce))
		}
		a.Share.Claims[i].Announced, a.Share.Claims[i].Refused = true, true
	})
}

// settle removes the notes about this machine's claims from the index, as nothing is under
// way any more.
func (n *notes) settle(ctx context.Context, known bool) error {
	return n.change(ctx, index.Fast, func(idx *index.Index, a *index.Account) {
		n.show(idx, a)
		a.Share.Claims, a.Share.Sight = nil, nil
		a.Share.Known = a.Share.Known || known
	})
}

// own is the note of this machine's claim with the nonce; nil: there is none that can be
// trusted. The index may be a copy, on this machine or on another, or from a backup; then
// its notes may be old. A process that is alive may still announce.
func (n *notes) own(nonce string) *index.Claim {
	if n.account.Share == nil {
		return nil
	}
	for i := range n.account.Share.Claims {
		c := &n.account.Share.Claims[i]
		if c.Nonce == nonce && c.Boot != "" && c.Boot == thisBoot() && c.Host == thisHost() && !lock.Alive(c.PID, c.Process) {
			return c
		}
	}
	return nil
}

// show sets what people are shown of the record, in the account's entry, and pins what the
// engine must not fall behind.
func (n *notes) show(idx *index.Index, a *index.Account) {
	if p := idx.SharedPool(n.seat.Pool); p != nil {
		p.Revision = max(p.Revision, n.identity.Revision)
	}
	show(a, n.seat.Pool, n.seat.Role, n.rec.State, n.rec.Gen)
	a.Share.Known = a.Share.Known || isNew(n.rec.Access, time.Now())
}

// seenFor is how old the index's note of the engine's last answer may get while nothing
// else changes.
const seenFor = 20 * time.Second

// seen notes in the index what the engine has, for people and for later processes.
func (n *notes) seen(ctx context.Context) error {
	state := index.EngineOK
	if n.restored {
		state = index.EngineRestored
	}
	s, p := n.account.Share, n.o.Index.SharedPool(n.seat.Pool)
	alone := n.account.Failure != nil && n.account.Failure.Class == rotation.ClassEngine
	dead := n.rec.State == seal.Dead // callers count on how new that is
	if !alone && !dead && s != nil && s.State == string(n.rec.State) && s.Generation == n.rec.Gen && time.Since(s.SeenAt).Abs() < seenFor &&
		(p == nil || p.Engine == state && time.Since(p.SeenAt).Abs() < seenFor) {
		return nil
	}
	return n.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
		a := idx.Account(n.id)
		if a == nil {
			return folder.Removed()
		}
		n.show(idx, a)
		if alone {
			a.Failure = nil
		}
		if p := idx.SharedPool(n.seat.Pool); p != nil {
			p.SeenAt, p.Engine = time.Now().UTC(), state
		}
		n.account, n.o.Index = a, idx
		return nil
	})
}

// see notes when this machine first saw the record's claim in its phase. name is what
// people call its machine.
func (n *notes) see(ctx context.Context, name func() string) error {
	nonce, phase, boot := n.rec.Claim.Nonce, phase(n.rec), record.BootNow()
	firstSeen.LoadOrStore(nonce+" "+phase, time.Now())
	if s := n.sight(); s != nil && s.Boot == boot.ID {
		return nil
	}
	called := name()
	return n.change(ctx, index.Fast, func(idx *index.Index, a *index.Account) {
		n.show(idx, a)
		a.Share.Machine = called
		a.Share.Sight = &index.Sight{Nonce: nonce, Phase: phase, Boot: boot.ID, At: boot.At, Wall: time.Now().UTC()}
	})
}

// sight is the note about the record's claim in its phase; nil: there is none.
func (n *notes) sight() *index.Sight {
	if n.account.Share == nil || n.rec.Claim == nil {
		return nil
	}
	if s := n.account.Share.Sight; s != nil && s.Nonce == n.rec.Claim.Nonce && s.Phase == phase(n.rec) {
		return s
	}
	return nil
}

// failed notes that another machine's refresh failed. Its pause is counted from when this
// machine first saw it.
func (n *notes) failed(ctx context.Context) error {
	f := n.rec.Failure
	if f == nil || n.account.Share != nil && n.account.Share.FailedAt.Equal(f.At) {
		return nil
	}
	now := time.Now().UTC()
	return n.change(ctx, index.Fast, func(_ *index.Index, a *index.Account) {
		if a.Share != nil {
			a.Share.FailedAt = f.At.UTC()
		}
		if a.Failure == nil || a.Failure.NextTryAt.Before(now) {
			a.Failure = &index.Failure{Class: f.Class, Message: "another machine's refresh failed", Count: max(f.Count, 1), At: now, Since: now, NextTryAt: now.Add(max(0, f.NextTryAt.Sub(f.At))), Stated: f.Stated}
		}
	})
}

// dead notes that the provider refused the login for good, as another machine found.
func (n *notes) dead(ctx context.Context) error {
	if n.account.Dead == n.account.Fingerprint {
		return nil
	}
	return n.change(ctx, index.Durable, func(idx *index.Index, a *index.Account) {
		pool.RulesOf(n.o.Folder).MoveOn(idx, a, time.Now(), func() { a.Intents, a.Dead, a.Failure = nil, a.Fingerprint, nil })
	})
}

// backOff notes in the index that the engine can't be reached, so that not every caller
// waits for it.
func (n *notes) backOff(ctx context.Context) {
	_ = n.change(ctx, index.Fast, func(_ *index.Index, a *index.Account) { // it is found out again
		if !pool.BackingOff(a, time.Now()) {
			a.Failure = rotation.EngineFailure(a.Failure, time.Now())
		}
	})
}

// engine notes in the index how the engine is. That it was restored stays until a
// person has confirmed its state.
func (n *notes) engine(ctx context.Context, state string) {
	p := n.o.Index.SharedPool(n.seat.Pool)
	if p == nil || p.Engine == state || p.Engine == index.EngineRestored {
		return
	}
	_ = n.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error { // it is only shown, or found out again
		if p := idx.SharedPool(n.seat.Pool); p != nil && p.Engine != index.EngineRestored {
			p.Engine = state
		}
		return nil
	})
}
