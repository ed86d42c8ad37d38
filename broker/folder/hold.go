package folder

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
)

// Hold returns f for the folder that is at its path now, even if it is moved later
// (index.File.Hold): work that is running must not store anything in another folder, nor in
// a new one at the same path. A folder that is held already is returned as it is.
func (f *Folder) Hold() (held *Folder, release func(), err error) {
	if f.held {
		return f, func() {}, nil
	}
	return f.holdAnew()
}

func (f *Folder) holdAnew() (held *Folder, release func(), err error) {
	file, err := f.index.Hold()
	if err != nil {
		return nil, nil, Fault(err)
	}
	c := *f
	c.index, c.held = file, true
	return &c, file.Release, nil
}

// Hold is Folder.Hold for a folder that is open.
func (o *Opened) Hold() (held *Opened, release func(), err error) {
	f, release, err := o.Folder.Hold()
	if err != nil {
		return nil, nil, err
	}
	return f.over(o.Index, o.Folder.keys), release, nil
}

// Apart returns o for another goroutine, which may be at work at the same time: this very
// folder, held for itself.
func (o *Opened) Apart() (apart *Opened, release func(), err error) {
	if err := o.Folder.index.Still(); err != nil {
		return nil, nil, Fault(err)
	}
	f, release, err := o.Folder.holdAnew()
	if err != nil {
		return nil, nil, err
	}
	return f.over(o.Index, o.Folder.keys), release, nil
}

// Lock acquires a lock of the folder, which may have been moved, within the caller's
// time-out.
func (f *Folder) Lock(ctx context.Context, name lock.Name) (*lock.Lock, error) {
	if err := f.index.Still(); err != nil {
		return nil, Fault(err)
	}
	return f.acquire(ctx, name.In(f.index.Dir()))
}

func (f *Folder) acquire(ctx context.Context, path string) (*lock.Lock, error) {
	ctx, over := f.Within(ctx, f.LockTimeout, forLock(path))
	defer over()
	l, err := lock.Acquire(ctx, path)
	return l, f.Fault(err)
}

// TryLock acquires a lock of the folder if it is free; else the error is lock.ErrBusy.
func (f *Folder) TryLock(name lock.Name) (*lock.Lock, error) {
	return lock.TryAcquire(name.In(f.index.Dir()))
}

// Holder says who took a lock of the folder last.
func (f *Folder) Holder(name lock.Name) (lock.Holder, error) {
	return lock.ReadHolder(name.In(f.index.Dir()))
}

// Rotation is an account's rotation lock, held. Without it nothing of the account's is
// written.
type Rotation struct {
	*lock.Lock
	Account string
}

// What the holder of a rotation lock is shown to be doing.
const (
	Requesting = "waiting for the provider"
	Storing    = "storing new tokens"
)

// LockAccount acquires the rotation lock of an account within the caller's time-out, or
// within longest if that isn't zero. An intent of a living process counts as the lock: the
// lock's file may have been deleted while that process waits for the provider, or stores
// the answer.
func (f *Folder) LockAccount(ctx context.Context, id string, longest time.Duration) (*Rotation, error) {
	path := lock.Rotation(id).In(f.index.Dir())
	ctx, over := f.Within(ctx, cmp.Or(longest, f.LockTimeout), forLock(path))
	defer over()
	if err := f.index.Still(); err != nil {
		return nil, Fault(err)
	}
	path = lock.Rotation(id).In(f.index.Dir())
	l, err := lock.Acquire(ctx, path)
	if err != nil {
		return nil, f.Fault(err)
	}
	for {
		in, err := underWay(f, id)
		if err == nil && in == nil {
			return &Rotation{l, id}, nil
		}
		if err == nil {
			select {
			case <-time.After(50 * time.Millisecond):
				continue
			case <-ctx.Done():
				err = Fault(ctx.Err())
				if errors.Is(ctx.Err(), context.DeadlineExceeded) {
					err = Fault(&lock.TimeoutError{Path: path, Holder: lock.Holder{PID: in.PID, StartedAt: in.StartedAt, State: Requesting}})
				}
			}
		}
		l.Release()
		return nil, err
	}
}

// TryLockAccount is LockAccount without waiting; the error matches lock.ErrBusy.
func (f *Folder) TryLockAccount(id string) (*Rotation, error) {
	l, err := f.TryLock(lock.Rotation(id))
	if err != nil {
		return nil, f.Fault(err)
	}
	if in, err := underWay(f, id); err != nil || in != nil {
		l.Release()
		return nil, cmp.Or(err, Fault(lock.ErrBusy))
	}
	return &Rotation{l, id}, nil
}

// LockNew takes the rotation lock of an account that is not in the index yet, so that
// doctor doesn't take it for an abandoned one. No other process wants that lock. If it
// can't be had, the keystore is tried: should that refuse too, its error is the better
// explanation.
func (o *Opened) LockNew(ctx context.Context, id string) (*Rotation, error) {
	l, err := o.Folder.Lock(ctx, lock.Rotation(id))
	if err != nil {
		return nil, cmp.Or(o.Probe(ctx), err)
	}
	return &Rotation{l, id}, nil
}

// lockAll takes the rotation locks of accounts, whose ids are sorted.
func lockAll(ctx context.Context, f *Folder, ids []string) (release func(), err error) {
	var locks []*Rotation
	release = func() {
		for _, l := range locks {
			l.Release()
		}
	}
	for _, id := range ids {
		l, err := f.LockAccount(ctx, id, 0)
		if err != nil {
			release()
			return nil, err
		}
		locks = append(locks, l)
	}
	return release, nil
}

// Rotating reports whether a rotator of the account is running.
func (f *Folder) Rotating(id string) bool {
	l, err := f.TryLock(lock.Rotation(id))
	if err == nil {
		l.Release()
	}
	return err != nil
}

// underWay returns the intent of another process that is refreshing account id.
func underWay(f *Folder, id string) (*index.Intent, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	if a := idx.Account(id); a != nil {
		return a.UnderWay(), nil
	}
	return nil, nil
}

// Living returns the account's entry; an error if it was removed or is being removed.
func Living(idx *index.Index, id string) (*index.Account, error) {
	if a := idx.Account(id); a != nil && !a.Removing {
		return a, nil
	}
	return nil, Removed()
}

// Removed is the error for an account that was removed in the meantime.
func Removed() *fault.Error {
	return fault.Errorf(fault.NoAccount, "the account was removed meanwhile").Try(fault.Remedy{Do: fault.ListAccounts})
}
