package rotation

import (
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

// exchange is one request with one refresh token, and what comes of it.
type exchange struct {
	*folder.Opened
	spare    *reserve
	account  *index.Account
	grant    *record.Grant
	endpoint oauth.Endpoint
	wish     Wish

	slot       string // where the new grant goes
	generation int
	sentAt     time.Time // zero: nothing was sent
	sentBoot   record.Boot
	unknown    bool          // sent, and what became of it is not known
	restored   *record.Grant // is stored again, in place of a salvaged one that was refused
}

func (e *exchange) run(ctx context.Context, l *folder.Rotation) error {
	e.slot = index.FreeSlot(*e.account, index.GrantRecord)
	e.generation = record.NextGeneration(e.account, e.grant)
	l.SetHolder(folder.Requesting)
	// 4. and 5. The intent is durable before the first byte of the token leaves. How
	// long the provider may take is the client's, whatever the caller's patience.
	tok, err := e.Client.Refresh(ctx, e.endpoint, e.grant.RefreshToken, func() error { return e.announce(ctx, l) })
	folder.Reached("K11")
	e.spare.release()
	if tok == nil {
		return e.fail(ctx, l, err)
	}
	return e.publish(ctx, l, tok, err)
}

// announce says in the index that the refresh token leaves now. It runs inside the
// request, when the connection stands and nothing of the body is sent.
func (e *exchange) announce(ctx context.Context, l *folder.Rotation) error {
	folder.Reached("K5")
	e.spare.stockUp()
	now := time.Now()
	fp := record.Fingerprint(e.grant.RefreshToken)
	var lost error // the lock; somebody else may have taken another one of its name
	err := e.Change(ctx, index.Durable, e.account.ID, func(_ *index.Index, a *index.Account) {
		if lost = l.Confirm(); lost == nil && a.UnderWay() != nil {
			lost = lock.ErrLost
		}
		if lost != nil {
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
		if e.wish.Rejected {
			a.RejectedAt = now
		}
		if e.wish.Now {
			a.ForcedAt = now
		}
	})
	if err == nil && lost != nil {
		err = fault.Errorf(fault.LockTimeout, "account %s: somebody deleted or replaced the lock of this refresh; nothing was sent", fault.Quote(e.account.Label)).
			Try(fault.Remedy{Do: fault.Refresh, Account: pool.Reference(e.Index, e.account)}).Because(lost)
	}
	if err != nil {
		return err
	}
	e.sentAt, e.sentBoot = now, record.BootNow()
	// What its caller would wait for is no measure for what comes now.
	e.KeychainTimeout = max(e.KeychainTimeout, folder.LongestWrite)
	e.LockTimeout = max(e.LockTimeout, 30*time.Second)
	folder.Reached("K7")
	return nil
}

// publish is step 6: the grant before anything else, then the access token, then
// the index. Whatever refuses is asked again for as long as folder.StorePatience:
// these tokens exist nowhere else. badToken: the access token is unusable, but
// the refresh token that came with it counts.
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
	// Nothing comes between the answer and the write; only a keystore that takes
	// its time is worth telling about.
	slow := time.AfterFunc(200*time.Millisecond, func() { l.SetHolder(folder.Storing) })
	defer slow.Stop()
	_, err := e.Commit(ctx, l, folder.Login{Slot: e.slot, Grant: &next, Access: acc, Patience: folder.Patience{Deadline: time.Now().Add(folder.StorePatience)},
		Enter: func(_ *index.Index, a, before *index.Account) {
			a.RefreshedAt = tok.ArrivedAt.UTC().Truncate(time.Second)
			if badToken != nil {
				a.Failure = nextFailure(before.Failure, badToken, time.Now())
			}
		}})
	folder.Reached("K16")
	if err == nil {
		if err := e.home(ctx, &next, acc); err != nil {
			e.Log.Warn("the folder at the old place did not get the new tokens", "account", e.account.ID, "error", err)
		}
	}
	if err == nil && badToken != nil {
		return fault.Errorf(fault.ProviderRefused, "account %s: %s; the login is kept", fault.Quote(e.account.Label), badToken)
	}
	return err
}

// fail is step 7: what the failure means for the refresh token.
func (e *exchange) fail(ctx context.Context, l *folder.Rotation, cause error) error {
	if e.sentAt.IsZero() {
		if be, ok := errors.AsType[*fault.Error](cause); ok {
			return be // the index could not take the intent: nothing was sent
		}
	}
	oe, ok := errors.AsType[*oauth.Error](cause)
	if !ok {
		return fault.Errorf(fault.Internal, "the refresh of account %s failed", fault.Quote(e.account.Label)).Because(cause)
	}
	fp := record.Fingerprint(e.grant.RefreshToken)
	if oe.Class == oauth.Dead {
		// Definitive only for the refresh token that is stored now.
		stored, err := e.Grants(ctx, e.account.ID)
		if err != nil {
			return err
		}
		if stored.Best != nil && record.Fingerprint(stored.Best.RefreshToken) != fp {
			_, err := e.RollForward(ctx, e.account, stored)
			return err
		}
		if e.grant.Salvaged {
			if restored, err := e.restore(ctx, l); restored || err != nil {
				return err
			}
		}
	}
	e.unknown = oe.Class == oauth.Unknown
	var after *index.Account
	err := e.Change(ctx, index.Durable, e.account.ID, func(idx *index.Index, a *index.Account) {
		if oe.Class == oauth.Dead {
			pool.RulesOf(e.Folder).MoveOn(idx, a, time.Now(), func() { a.Intents, a.Dead, a.Failure = nil, fp, nil })
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
	refused := FailureError(after)
	if next, ok := oe.Remedy(); ok { // said once, to those who waited for this
		refused.Next = []fault.Remedy{next}
	}
	return refused
}

// dropIntent forgets this exchange's intent: it spent nothing. The ones before it
// stay; what became of those is as unknown as it was.
func (e *exchange) dropIntent(a *index.Account) {
	a.Intents = slices.DeleteFunc(a.Intents, func(in index.Intent) bool { return in.Slot == e.slot && in.Generation == e.generation })
}

// giveUp notes in this exchange's intent that nobody waits for the answer any more.
func (e *exchange) giveUp(a *index.Account) {
	for i := range a.Intents {
		if in := &a.Intents[i]; in.Slot == e.slot && in.Generation == e.generation {
			in.Process = ""
		}
	}
}

// lookForAll looks whether the access token is over, and notes it in the failure
// that is recorded by now, so that not everyone in the herd that is about to hear
// of it asks the keystore. Where that can't be told, everyone does.
func (e *exchange) lookForAll(ctx context.Context) {
	if !pool.SeemsOver(e.account, time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	acc, err := e.Access(ctx, e.Index, e.account)
	if err != nil || acc == nil {
		return
	}
	if left, known := acc.Remaining(time.Now()); !known || left > 0 {
		return
	}
	_ = e.Change(ctx, index.Fast, e.account.ID, func(_ *index.Index, a *index.Account) {
		if a.Failure != nil && a.Generation == acc.Generation {
			a.Failure.TokenOver = true
		}
	})
}
