package rotation

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// exchange is one request with one refresh token, and what follows from it.
type exchange struct {
	opened   *folder.Opened
	job      *job
	claimed  Claimed // nil: the account isn't shared
	account  *index.Account
	grant    *record.Grant
	endpoint oauth.Endpoint
	wish     Wish

	slot       string // where the new grant is stored
	generation int
	sentAt     time.Time // zero: nothing was sent
	sentBoot   record.Boot
	unknown    bool          // sent, with an unknown outcome
	restored   *record.Grant // stored again in place of a salvaged one that was refused
}

func (e *exchange) run(ctx context.Context, l *folder.Rotation) error {
	e.slot = index.FreeSlot(*e.account, index.GrantRecord)
	e.generation = record.NextGeneration(e.account, e.grant)
	l.SetHolder(folder.Requesting)
	// Steps 4 and 5. The intent is durable before the first byte of the token is sent. The
	// time limit is the HTTP client's, however long the caller waits.
	announce := func() error { return e.announce(ctx, l) }
	client := e.opened.Folder.Client.For(e.grant.Service)
	if e.claimed != nil {
		shared := *client
		shared.Timeout, shared.Sent = min(cmp.Or(client.Timeout, SharedPatience), SharedPatience), e.claimed.Sent
		client = &shared
	}
	var tok *oauth.Token
	var err error
	if e.grant.Kind() == index.KindClient {
		tok, err = client.ServiceToken(ctx, e.endpoint, e.grant.Proof, announce)
	} else {
		tok, err = client.Refresh(ctx, e.endpoint, e.grant.RefreshToken, announce)
	}
	folder.Reached("K11")
	e.job.spare.release()
	if tok == nil {
		return e.fail(ctx, l, err)
	}
	return e.publish(ctx, l, tok, err)
}

// announce records in the index that the refresh token is about to be sent. It runs inside
// the request, when the connection is open and nothing of the body has been sent. A
// client's proof can be sent any number of times, so no intent is written for it.
func (e *exchange) announce(ctx context.Context, l *folder.Rotation) error {
	folder.Reached("K5")
	e.job.spare.stockUp()
	var err error
	if e.claimed != nil && e.spends() {
		err = e.claimed.Announce(ctx, func(mark func(*index.Account)) error { return e.intend(ctx, l, mark) })
	} else {
		err = e.intend(ctx, l, func(*index.Account) {})
	}
	if err != nil {
		return err
	}
	// From here on the caller's time limits don't apply.
	e.opened.Folder.KeychainTimeout = max(e.opened.Folder.KeychainTimeout, folder.LongestWrite)
	e.opened.Folder.LockTimeout = max(e.opened.Folder.LockTimeout, 30*time.Second)
	folder.Reached("K7")
	return nil
}

// spends reports whether a request spends what it sends.
func (e *exchange) spends() bool { return e.grant.Kind() != index.KindClient }

// intend writes the local intent, and what mark changes with it.
func (e *exchange) intend(ctx context.Context, l *folder.Rotation, mark func(*index.Account)) error {
	now := time.Now()
	fp, durability := e.grant.Fingerprint(), index.Durable
	if !e.spends() {
		durability = index.Fast
	}
	var lost error // the lock's file may have been replaced, and another process may hold the new one
	err := e.opened.Folder.Change(ctx, durability, e.account.ID, func(_ *index.Index, a *index.Account) {
		if lost = l.Confirm(); lost == nil && a.UnderWay() != nil {
			lost = lock.ErrLost
		}
		if lost != nil {
			return
		}
		if e.wish.Rejected {
			a.RejectedAt = now
		}
		if e.wish.Now {
			a.ForcedAt = now
		}
		mark(a)
		if !e.spends() {
			return
		}
		attempt := 1
		for _, in := range a.Intents {
			if in.Fingerprint == fp {
				attempt = min(max(attempt, in.Attempt+1), index.MaxCount)
			}
		}
		a.Intents = append(a.Intents, index.Intent{Slot: e.slot, Generation: e.generation, Fingerprint: fp, Attempt: attempt, PID: os.Getpid(), Process: lock.ThisProcess(), StartedAt: now.UTC()})
		if len(a.Intents) > len(record.Slots) {
			a.Intents = a.Intents[len(a.Intents)-len(record.Slots):]
		}
	})
	if err == nil && lost != nil {
		err = fault.Errorf(fault.LockTimeout, "account %s: the lock of this refresh was deleted or replaced; nothing was sent", fault.Quote(e.account.Label)).
			Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(e.opened.Index, e.account)}).Because(lost)
	}
	if err == nil {
		e.sentAt, e.sentBoot = now, record.BootNow()
	}
	return err
}

// publish is step 6: the grant first, then the access token, then the index. If something
// refuses, it is tried again for folder.StorePatience, because these tokens exist nowhere
// else. badToken: the access token is unusable, but the refresh token that came with it is
// good.
func (e *exchange) publish(ctx context.Context, l *folder.Rotation, tok *oauth.Token, badToken error) error {
	next := *e.grant
	next.Generation = e.generation
	if !tok.RefreshToken.Empty() {
		next.RefreshToken = tok.RefreshToken
	}
	next.Follow(e.grant)
	next.Salvaged = tok.Salvaged && !tok.RefreshToken.Empty()
	if tok.RefreshExpiresIn > 0 {
		next.RefreshExpiresAt = tok.ArrivedAt.Add(tok.RefreshExpiresIn).UTC()
	}
	if granted := strings.Fields(tok.Scope); len(granted) > 0 {
		next.Scopes = granted
	}
	var acc *record.Access
	if badToken == nil {
		acc = record.NewAccess(&next, tok)
	}
	if e.claimed != nil {
		next.PoolGeneration++
		next.Login = false
		if acc != nil {
			acc.PoolGeneration = next.PoolGeneration
		}
		e.job.told = append(e.job.told, e.claimed.Publish(ctx, &next, acc))
	}
	// Nothing comes between the answer and the write. Only a slow keystore is worth a
	// progress message.
	slow := time.AfterFunc(200*time.Millisecond, func() { l.SetHolder(folder.Storing) })
	defer slow.Stop()
	_, err := e.opened.Commit(ctx, l, folder.Login{Slot: e.slot, Grant: &next, Access: acc, Peers: e.claimed != nil, Patience: folder.Patience{Deadline: time.Now().Add(folder.StorePatience)},
		Enter: func(_ *index.Index, a, before *index.Account) {
			a.RefreshedAt = tok.ArrivedAt.UTC().Truncate(time.Second)
			if badToken != nil {
				a.Failure = nextFailure(before.Failure, badToken, time.Now())
			}
		}})
	folder.Reached("K16")
	if err == nil {
		if err := e.home(ctx, &next, acc); err != nil {
			e.opened.Folder.Log.Warn("the folder at the old place did not get the new tokens", "account", e.account.ID, "error", err)
		}
	}
	if err == nil && badToken != nil {
		return fault.Errorf(fault.ProviderRefused, "account %s: %s; the login is kept", fault.Quote(e.account.Label), badToken)
	}
	return err
}

// fail is step 7: it records what the failure means for the refresh token.
func (e *exchange) fail(ctx context.Context, l *folder.Rotation, cause error) error {
	if e.sentAt.IsZero() {
		if be, ok := errors.AsType[*fault.Error](cause); ok {
			return e.unclaim(ctx, be) // the intent could not be written, so nothing was sent
		}
	}
	oe, ok := errors.AsType[*oauth.Error](cause)
	if !ok {
		return e.unclaim(ctx, fault.Errorf(fault.Internal, "the refresh of account %s failed", fault.Quote(e.account.Label)).Because(cause))
	}
	fp := e.grant.Fingerprint()
	if oe.Class == oauth.Dead {
		// A refusal is final only for the refresh token that is still the stored one.
		stored, err := e.opened.Grants(ctx, e.account.ID)
		if err != nil {
			return err
		}
		if stored.Best != nil && stored.Best.Fingerprint() != fp {
			_, err := e.opened.RollForward(ctx, e.account, stored)
			return err
		}
		if e.grant.Salvaged {
			if restored, err := e.restore(ctx, l); restored || err != nil {
				return err
			}
		}
		if e.claimed != nil {
			if moved, err := e.claimed.Fail(ctx, oe.Class, nil); moved || err != nil {
				return err
			}
		}
	}
	e.unknown = oe.Class == oauth.Unknown
	var after *index.Account
	err := e.opened.Folder.Change(ctx, index.Durable, e.account.ID, func(idx *index.Index, a *index.Account) {
		if oe.Class == oauth.Dead {
			pool.RulesOf(e.opened.Folder).MoveOn(idx, a, time.Now(), func() { a.Intents, a.Dead, a.Failure = nil, fp, nil })
		} else {
			if e.unknown {
				e.giveUp(a)
			} else {
				e.dropIntent(a)
			}
			a.Failure = nextFailure(a.Failure, oe, time.Now())
		}
		after = a
	})
	if err != nil {
		return err
	}
	if oe.Class == oauth.Dead {
		return pool.LoginNeeded(after)
	}
	if e.claimed != nil {
		_, _ = e.claimed.Fail(ctx, oe.Class, after.Failure) // else they find out later
	}
	refused := FailureError(after)
	if next, ok := oe.Remedy(); ok { // said once, to those who waited for this
		refused.Next = []fault.Remedy{next}
	}
	return refused
}

// dropIntent removes this exchange's intent, because nothing was spent. Earlier intents
// stay: their outcome is still unknown.
func (e *exchange) dropIntent(a *index.Account) {
	a.Intents = slices.DeleteFunc(a.Intents, func(in index.Intent) bool { return in.Slot == e.slot && in.Generation == e.generation })
}

// giveUp records in this exchange's intent that nobody waits for the answer any more.
func (e *exchange) giveUp(a *index.Account) {
	for i := range a.Intents {
		if in := &a.Intents[i]; in.Slot == e.slot && in.Generation == e.generation {
			in.Process = ""
		}
	}
}

// lookForAll checks whether the access token has expired and records that with the failure,
// so that the callers that are waiting need not each ask the keystore. If it can't be told,
// each of them looks.
func (e *exchange) lookForAll(ctx context.Context) {
	if !pool.SeemsOver(e.account, time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	acc, err := e.opened.Folder.Access(ctx, e.opened.Index, e.account)
	if err != nil || acc == nil {
		return
	}
	if left, known := acc.Remaining(time.Now()); !known || left > 0 {
		return
	}
	_ = e.opened.Folder.Change(ctx, index.Fast, e.account.ID, func(_ *index.Index, a *index.Account) {
		if a.Failure != nil && a.Generation == acc.Generation {
			a.Failure.TokenOver = true
		}
	})
}

// restore stores the grant before a salvaged one again, as the newest, because the provider
// refused the salvaged refresh token: what was found in its answer may not have been one.
// The grant before it is tried once more, by the usual rules. If this process is killed
// meanwhile, the next one goes on from there. False: that grant is gone.
func (e *exchange) restore(ctx context.Context, l *folder.Rotation) (bool, error) {
	before, err := e.before(ctx)
	if before == nil || err != nil {
		return false, err
	}
	next := *before
	next.Generation, next.Salvaged = e.generation, false
	next.Spent = slices.DeleteFunc(slices.Clone(e.grant.Spent), func(fp string) bool { return fp == record.Fingerprint(before.RefreshToken) })
	next.Spent = record.AddSpent(next.Spent, record.Fingerprint(e.grant.RefreshToken))
	if e.claimed != nil {
		next.PoolGeneration, next.Login = e.grant.PoolGeneration+1, false
		if err := e.claimed.Publish(ctx, &next, nil)(); err != nil {
			return false, err
		}
	}
	if _, err := e.opened.Commit(ctx, l, folder.Login{Slot: e.slot, Grant: &next, Peers: e.claimed != nil}); err != nil {
		return false, err
	}
	e.restored = &next
	return true, nil
}

// before finds the grant that e's replaced; nil: it is gone.
func (e *exchange) before(ctx context.Context) (*record.Grant, error) {
	if len(e.grant.Spent) == 0 {
		return nil, nil
	}
	var before *record.Grant
	for _, slot := range record.Slots {
		g, err := e.opened.Store.Grant(ctx, e.account.ID, slot)
		if err != nil {
			return nil, err
		}
		if g != nil && g.Generation < e.grant.Generation && record.Fingerprint(g.RefreshToken) == e.grant.Spent[len(e.grant.Spent)-1] &&
			(before == nil || g.Generation > before.Generation) {
			before = g
		}
	}
	return before, nil
}

// home also stores the new tokens in the folder's old place, if a copy was put back there
// while the rotation ran: the refresh token in that copy is spent.
func (e *exchange) home(ctx context.Context, next *record.Grant, acc *record.Access) error {
	if e.opened.Folder.File().Home() == e.opened.Folder.File().Dir() {
		return nil
	}
	opt := e.opened.Folder.Options
	opt.Dir = e.opened.Folder.File().Home()
	f, release, err := folder.New(opt).Hold()
	if err != nil {
		return err
	}
	defer release()
	idx, err := f.Read()
	if err != nil {
		return err
	}
	a := idx.Account(e.account.ID)
	if idx.Store != e.opened.Index.Store || a == nil {
		return nil // another folder
	}
	l, err := f.TryLock(lock.Rotation(a.ID))
	if err != nil {
		return err
	}
	defer l.Release()
	o, err := f.Open(idx)
	if err != nil {
		return err
	}
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return err
	}
	if stored.Best == nil || !slices.Contains(next.Spent, record.Fingerprint(stored.Best.Secret())) {
		return nil
	}
	_, err = o.Commit(ctx, &folder.Rotation{Lock: l, Account: a.ID}, folder.Login{Slot: index.FreeSlot(*a, index.GrantRecord), Grant: next, Access: acc, Peers: e.claimed != nil})
	return err
}
