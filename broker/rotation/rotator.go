package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

const (
	// recoveryWindow is how long after a send with unknown outcome the same refresh token
	// may be sent again at once. Servers with a grace period allow 30 s (RFC 9700 §4.14.2
	// leaves it to them).
	recoveryWindow = 25 * time.Second
	// lookPatience limits how long waiting callers are delayed by lookForAll, which only
	// saves them work.
	lookPatience = 2 * time.Second
)

// Command is the hidden command by which this program runs itself as a rotator.
const Command = "rotate"

// Main is that command. It raises the generation of account id above w.Beyond, as Rotate
// does, and writes one line about the result to out. It ignores the signals that end a
// process, so it must have a process of its own, started by Renew or Behind.
func Main(ctx context.Context, f *folder.Folder, id string, w Wish, out io.Writer) error {
	deafen()
	spare, err := newReserve()
	if err == nil {
		defer spare.release()
		w.Since = time.Now()
		err = rotate(ctx, f, spare, id, w)
	}
	// The caller may be gone. The result is stored all the same.
	_ = json.NewEncoder(out).Encode(newReport(err))
	return err
}

// Rotate rotates in this process, whose death may cost the login. Its errors are
// *fault.Error.
func Rotate(ctx context.Context, f *folder.Folder, id string, w Wish) error {
	return rotate(ctx, f, nil, id, w)
}

func rotate(ctx context.Context, f *folder.Folder, spare *reserve, id string, w Wish) error {
	held, release, err := f.Hold()
	if err != nil {
		return err
	}
	defer release()
	for range 2 {
		// Nothing was sent, so wait for whoever came in between.
		if err := rotateOnce(ctx, held, spare, id, w); !errors.Is(err, lock.ErrLost) {
			return err
		}
	}
	return rotateOnce(ctx, held, spare, id, w)
}

func rotateOnce(ctx context.Context, f *folder.Folder, spare *reserve, id string, w Wish) (err error) {
	var l *folder.Rotation
	if w.Background {
		l, err = f.TryLockAccount(id)
	} else {
		l, err = f.LockAccount(ctx, id, 0)
	}
	if err != nil {
		return err
	}
	defer l.Release()
	folder.Reached("K2")
	e, err := claim(ctx, f, l, w)
	if e == nil || err != nil {
		return err
	}
	e.spare = spare
	return e.finish(ctx, l)
}

// claim is steps 1 to 3 of the rotation, under the account's rotation lock. Nil without an
// error means that the generation is there already.
func claim(ctx context.Context, f *folder.Folder, l *folder.Rotation, w Wish) (*exchange, error) {
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	a, err := folder.Living(idx, l.Account)
	if err != nil {
		return nil, err
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return nil, err
	}
	// Step 1. The keystore is the truth, the index only points to it.
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	if stored.Best == nil {
		if err := o.Missing(ctx); err != nil {
			return nil, err
		}
		return nil, pool.Lost(a)
	}
	if a, err = o.RollForward(ctx, a, stored); err != nil {
		return nil, err
	}
	folder.Reached("K3")
	if a.Generation > w.Beyond && a.AccessSlot != "" {
		return nil, nil
	}
	// Step 2. Is a request allowed now, with this refresh token?
	if err := Refusal(a, w, time.Now()); err != nil {
		return nil, err
	}
	endpoint, err := o.Store.Endpoint(ctx, stored.Best)
	if err != nil {
		return nil, err
	}
	// Step 3. If the keystore refuses now, nothing is spent.
	if err := o.Store.Preflight(ctx, stored.Best, a.AccessSlot); err != nil {
		return nil, err
	}
	folder.Reached("K4")
	return &exchange{Opened: o, account: a, grant: stored.Best, endpoint: endpoint, wish: w}, nil
}

// finish sends what was claimed, and once more after an unknown outcome.
func (e *exchange) finish(ctx context.Context, l *folder.Rotation) error {
	letGo := holdFast()
	defer letGo()
	ctx = context.WithoutCancel(ctx) // from here on only the end of the work ends it
	for attempt := 1; ; attempt++ {
		err := e.run(ctx, l)
		next := &exchange{Opened: e.Opened, spare: e.spare, account: e.account, grant: e.grant, endpoint: e.endpoint, wish: e.wish}
		switch {
		case e.restored != nil:
			next.grant, attempt = e.restored, 0
			if next.endpoint, err = e.Store.Endpoint(ctx, e.restored); err != nil {
				return err
			}
		case !e.unknown || attempt == 2 || record.Elapsed(e.sentAt, e.sentBoot) > recoveryWindow:
			if err != nil {
				e.lookForAll(ctx)
			}
			return err
		}
		// One recovery at once, recorded in the intent, within the servers' grace.
		idx, err := e.Read()
		if err != nil {
			return err
		}
		if next.account = idx.Account(l.Account); next.account == nil {
			return folder.Removed()
		}
		if next.Opened, err = e.Open(idx); err != nil {
			return err
		}
		e = next
	}
}
