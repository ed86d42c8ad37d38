package broker

import (
	"cmp"
	"context"
	"errors"
	"os"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// hold returns b for the folder that is at its path now, whatever becomes of that path
// (index.File.Hold): what work under way has to store must not go into another one, nor
// into one that is made anew. One that is held already is returned as it is.
func (b *Broker) hold() (held *Broker, release func(), err error) {
	if b.held {
		return b, func() {}, nil
	}
	f, err := b.index.Hold()
	if err != nil {
		return nil, nil, indexError(err)
	}
	c := *b
	c.index, c.held = f, true
	return &c, f.Release, nil
}

// still finds the folder again before its vault is read or written. A keychain is
// nobody's folder, and takes what it is given.
func (b *Broker) still() error {
	if b.store.Kind() != keystore.File {
		return nil
	}
	if err := cmp.Or(b.index.Still(), b.index.VaultStill()); err != nil {
		return indexError(err)
	}
	if dir := b.index.Dir(); dir != b.opt.Dir {
		b.opt.Dir = dir
		b.store = keystore.FileAt(b.store, b.vaultDir())
	}
	return nil
}

// makeFolder makes the folder for its first index.
func (b *Broker) makeFolder() error {
	if err := b.mine(); err != nil {
		return err
	}
	if err := os.MkdirAll(b.opt.Dir, 0o700); err != nil {
		return fault.Errorf(fault.Internal, "the folder can't be made").Because(err)
	}
	return nil
}

// lockAccount acquires the rotation lock of account id within the caller's time-out. An
// intent of a process that lives counts as the lock: its file may have been deleted
// while that process waits for the provider, or stores what came.
func (b *Broker) lockAccount(ctx context.Context, id string) (*lock.Lock, error) {
	ctx, over := b.within(ctx, b.opt.LockTimeout, forLock(lock.Rotation(id).In(b.index.Dir())))
	defer over()
	return b.acquireAccount(ctx, id)
}

func (b *Broker) acquireAccount(ctx context.Context, id string) (*lock.Lock, error) {
	if err := b.index.Still(); err != nil {
		return nil, indexError(err)
	}
	path := lock.Rotation(id).In(b.index.Dir())
	l, err := lock.Acquire(ctx, path)
	if err != nil {
		return nil, indexError(b.ownerError(err))
	}
	for {
		in, err := b.underWay(id)
		if err == nil && in == nil {
			return l, nil
		}
		if err == nil {
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				err = indexError(ctx.Err())
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					err = indexError(&lock.TimeoutError{Path: path, Holder: lock.Holder{PID: in.PID, StartedAt: in.StartedAt, State: stateRequesting}})
				}
			}
		}
		l.Release()
		return nil, err
	}
}

// underWay returns the intent of another process that is refreshing account id.
func (b *Broker) underWay(id string) (*index.Intent, error) {
	idx, err := b.readOrEmpty()
	if err != nil {
		return nil, err
	}
	if a := idx.Account(id); a != nil {
		return a.UnderWay(), nil
	}
	return nil, nil
}

// home stores new tokens once more where the folder was when the rotation began, if one
// that was put back from a copy is there by now: what that has is spent.
func (e *exchange) home(ctx context.Context, next *record.Grant, acc *record.Access) error {
	if e.b.index.Home() == e.b.index.Dir() {
		return nil
	}
	opt := e.b.opt
	opt.Dir = e.b.index.Home()
	b, release, err := New(opt).hold()
	if err != nil {
		return err
	}
	defer release()
	idx, err := b.read()
	if err != nil {
		return err
	}
	a := idx.Account(e.account.ID)
	if idx.Store != e.idx.Store || a == nil {
		return nil // some other folder
	}
	l, err := lock.TryAcquire(lock.Rotation(a.ID).In(b.index.Dir()))
	if err != nil {
		return err
	}
	defer l.Release()
	if err := b.open(idx); err != nil {
		return err
	}
	stored, err := b.readGrants(ctx, idx, a.ID)
	if err != nil {
		return err
	}
	if stored.Best == nil || !slices.Contains(next.Spent, record.Fingerprint(stored.Best.Secret())) {
		return nil
	}
	there := &exchange{b: b, idx: idx, account: a, slot: index.FreeSlot(*a, index.GrantRecord)}
	return there.write(ctx, persistence{}, next, acc, func(a *index.Account) { commit(a, next, there.slot, acc, there.slot) })
}
