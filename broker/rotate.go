package broker

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
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

const (
	// recoveryWindow is how long after a send with unknown outcome the same
	// refresh token may be sent again at once: servers with a grace period
	// grant 30 s (RFC 9700 §4.14.2 leaves it to them).
	recoveryWindow = 25 * time.Second
	// lookPatience is how long callers who will hear of a failure wait for a look
	// into the keystore that only spares them theirs.
	lookPatience = 2 * time.Second
)

// Failure classes, as the index records them.
const (
	classUnsent        = string(oauth.Unsent)
	classUnknown       = string(oauth.Unknown)
	classMisconfigured = string(oauth.Misconfigured)
	classRefused       = string(oauth.Refused)
)

// Rotation is why the rotator was started, and how.
type Rotation struct {
	Rejected   bool // the API refused the token
	Background bool // leave at once if another rotator is at work
	Person     bool // a person asks: no back-off of our own counts
	Now        bool // nor one that the provider asked for
}

// Rotate is the rotator: it makes the generation of account id greater than
// beyond, and writes one line about the outcome to out. It must have a process
// of its own, started by the Broker of a caller: it ignores the signals that
// end one.
func (b *Broker) Rotate(ctx context.Context, id string, beyond int, how Rotation, out io.Writer) error {
	deafen()
	var err error
	if b.spare, err = newReserve(); err == nil {
		defer b.spare.release()
		err = b.rotate(ctx, id, renewal{beyond: beyond, rejected: how.Rejected, person: how.Person, now: how.Now, since: time.Now()}, how.Background)
	}
	// Whoever waited may be gone; the outcome is stored all the same.
	_ = json.NewEncoder(out).Encode(newReport(err))
	return err
}

func (b *Broker) rotate(ctx context.Context, id string, r renewal, background bool) error {
	held, release, err := b.Hold()
	if err != nil {
		return err
	}
	defer release()
	b = b.in(held)
	for range 2 {
		// Nothing was sent: whoever came meanwhile is waited for.
		if err := b.rotateOnce(ctx, id, r, background); !errors.Is(err, lock.ErrLost) {
			return err
		}
	}
	return b.rotateOnce(ctx, id, r, background)
}

func (b *Broker) rotateOnce(ctx context.Context, id string, r renewal, background bool) (err error) {
	var l *folder.Rotation
	if background {
		l, err = b.TryLockAccount(id)
	} else {
		l, err = b.LockAccount(ctx, id, 0)
	}
	if err != nil {
		return err
	}
	defer l.Release()
	folder.Reached("K2")
	return b.rotateLocked(ctx, l, r)
}

// rotateLocked is the rotation protocol, under the account's rotation lock; doc.go has
// its steps and what a crash leaves at each.
func (b *Broker) rotateLocked(ctx context.Context, l *folder.Rotation, r renewal) error {
	idx, err := b.Read()
	if err != nil {
		return err
	}
	a, err := folder.Living(idx, l.Account)
	if err != nil {
		return err
	}
	o, err := b.OpenForChange(ctx, idx)
	if err != nil {
		return err
	}
	// 1. The keystore is the truth, the index a pointer to it.
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return err
	}
	if stored.Best == nil {
		if err := o.Missing(ctx); err != nil {
			return err
		}
		return lost(a)
	}
	if a, err = o.RollForward(ctx, a, stored); err != nil {
		return err
	}
	folder.Reached("K3")
	if a.Generation > r.beyond && a.AccessSlot != "" {
		return nil
	}
	// 2. Not now, or never again with this refresh token?
	if err := refusal(a, r, time.Now()); err != nil {
		return err
	}
	endpoint, err := o.Store.Endpoint(ctx, stored.Best)
	if err != nil {
		return err
	}
	// 3. Preflight: a keystore that refuses now ends it here, nothing spent.
	if err := o.Store.Preflight(ctx, stored.Best, a.AccessSlot); err != nil {
		return err
	}
	folder.Reached("K4")

	letGo := holdFast()
	defer letGo()
	ctx = context.WithoutCancel(ctx) // from here on only the end of the work ends it
	for attempt := 1; ; attempt++ {
		e := &exchange{Opened: o, b: b, account: a, grant: stored.Best, endpoint: endpoint, rejected: r.rejected, forced: r.now}
		err := e.run(ctx, l)
		switch {
		case e.restored != nil:
			stored.Best, attempt = e.restored, 0
			if endpoint, err = o.Store.Endpoint(ctx, stored.Best); err != nil {
				return err
			}
		case !e.unknown || attempt == 2 || record.Elapsed(e.sentAt, e.sentBoot) > recoveryWindow:
			if err != nil {
				e.lookForAll(ctx)
			}
			return err
		}
		// One recovery at once, recorded in the intent, within the grace that
		// servers grant.
		if idx, err = b.Read(); err != nil {
			return err
		}
		if a = idx.Account(a.ID); a == nil {
			return folder.Removed()
		}
		if o, err = b.Open(idx); err != nil {
			return err
		}
	}
}

// exchange is one request with one refresh token, and what comes of it.
type exchange struct {
	*folder.Opened
	b        *Broker // whose pool goes on
	account  *index.Account
	grant    *record.Grant
	endpoint oauth.Endpoint
	rejected bool
	forced   bool // by a person, whatever the provider asked for

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
	tok, err := e.Client.Refresh(ctx, e.endpoint, e.grant.RefreshToken, func() error { return e.recordIntent(ctx, l) })
	folder.Reached("K11")
	e.b.spare.release()
	if tok == nil {
		return e.failed(ctx, l, err)
	}
	return e.store(ctx, l, tok, err)
}

// recordIntent runs inside the request, when the connection stands and nothing
// of the body is sent.
func (e *exchange) recordIntent(ctx context.Context, l *folder.Rotation) error {
	folder.Reached("K5")
	e.b.spare.stockUp()
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
		in := newIntent(e.slot, e.generation, fp, attempt, now)
		in.Process = lock.ThisProcess()
		a.Intents = append(a.Intents, in)
		if len(a.Intents) > len(record.Slots) {
			a.Intents = a.Intents[len(a.Intents)-len(record.Slots):]
		}
		if e.rejected {
			a.RejectedAt = now
		}
		if e.forced {
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

// store is step 6: the grant before anything else, then the access token, then
// the index. Whatever refuses is asked again for as long as folder.StorePatience:
// these tokens exist nowhere else. badToken: the access token is unusable, but
// the refresh token that came with it counts.
func (e *exchange) store(ctx context.Context, l *folder.Rotation, tok *oauth.Token, badToken error) error {
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

// failed is step 7: what the failure means for the refresh token.
func (e *exchange) failed(ctx context.Context, l *folder.Rotation, cause error) error {
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
			e.b.rules().MoveOn(idx, a, time.Now(), func() { a.Intents, a.Dead, a.Failure = nil, fp, nil })
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
	refused := failureError(after)
	if next, ok := oe.Remedy(); ok { // said once, to those who waited for this
		refused.Next = []fault.Remedy{next}
	}
	return refused
}

// lookForAll looks whether the access token is over, and notes it in the failure
// that is recorded by now, so that not everyone in the herd that is about to hear
// of it asks the keystore. Where that can't be told, everyone does.
func (e *exchange) lookForAll(ctx context.Context) {
	if !seemsOver(e.account, time.Now()) {
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

// nextFailure records why a rotation failed and when the next may try: 1, 2,
// 4 … 60 s with full jitter, or what the provider asked for.
func nextFailure(last *index.Failure, cause error, now time.Time) *index.Failure {
	f := &index.Failure{Count: 1, Message: cause.Error(), At: now.UTC(), Since: now.UTC()}
	if last != nil {
		f.Count = min(max(last.Count, 0), index.MaxCount-1) + 1
		if f.Since = last.Since; f.Since.IsZero() {
			f.Since = last.At
		}
	}
	const longest, shortest = time.Minute, 200 * time.Millisecond
	pause := min(time.Second<<min(f.Count-1, 6), longest)
	pause = max(shortest, time.Duration(rand.Int64N(int64(pause)))) // #nosec G404 -- jitter
	if oe, ok := errors.AsType[*oauth.Error](cause); ok {
		f.Class = string(oe.Class)
		switch {
		case oe.RetryAfter > 0:
			pause, f.Stated = oe.RetryAfter, true
		case oe.Class == oauth.Misconfigured || oe.Class == oauth.Refused:
			pause = longest
		}
	}
	f.NextTryAt = now.Add(pause).UTC()
	return f
}
