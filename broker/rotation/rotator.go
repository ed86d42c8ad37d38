package rotation

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
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
	return Rotator{Folder: f}.Main(ctx, id, w, out)
}

// Rotate rotates in this process, whose death may cost the login. Its errors are
// *fault.Error.
func Rotate(ctx context.Context, f *folder.Folder, id string, w Wish) error {
	return Rotator{Folder: f}.Rotate(ctx, id, w)
}

// Rotator rotates accounts of a folder. Without Peers it refuses those that are shared with
// other machines.
type Rotator struct {
	Folder *folder.Folder
	Peers  Peers
}

// Main is Main for shared accounts too. Once a new login is stored here it says so, and
// goes on telling the other machines.
func (r Rotator) Main(ctx context.Context, id string, w Wish, out io.Writer) error {
	deafen()
	j := &job{peers: r.Peers}
	spare, err := newReserve()
	if err == nil {
		defer spare.release()
		j.spare, w.Since = spare, time.Now()
		err = j.rotate(ctx, r.Folder, id, w)
	}
	// The caller may be gone. The result is stored all the same.
	_ = json.NewEncoder(out).Encode(newReport(err))
	j.wait()
	return err
}

// Rotate is Rotate for shared accounts too.
func (r Rotator) Rotate(ctx context.Context, id string, w Wish) error {
	j := &job{peers: r.Peers}
	defer j.wait()
	return j.rotate(ctx, r.Folder, id, w)
}

// job is one rotator at work.
type job struct {
	peers Peers
	spare *reserve
	told  []func() error // each returns when the other machines know of what was stored

	release func() // ends that the folder is held
}

// wait returns when the other machines know everything. Until then the folder is held, as
// they note in it that they do.
func (j *job) wait() {
	for _, told := range j.told {
		_ = told() // the next rotator tells them
	}
	if j.release != nil {
		j.release()
	}
}

func (j *job) rotate(ctx context.Context, f *folder.Folder, id string, w Wish) error {
	held, release, err := f.Hold()
	if err != nil {
		return err
	}
	j.release = release
	for range 2 {
		// Nothing was sent, so wait for whoever came in between.
		if err := j.rotateOnce(ctx, held, id, w); !errors.Is(err, lock.ErrLost) {
			return err
		}
	}
	return j.rotateOnce(ctx, held, id, w)
}

func (j *job) rotateOnce(ctx context.Context, f *folder.Folder, id string, w Wish) (err error) {
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
	e, err := j.claim(ctx, f, l, w)
	if e == nil || err != nil {
		return err
	}
	return e.finish(ctx, l)
}

// claim is steps 1 to 3 of the rotation, under the account's rotation lock. Nil without an
// error means that the generation is there already.
func (j *job) claim(ctx context.Context, f *folder.Folder, l *folder.Rotation, w Wish) (*exchange, error) {
	// Step 1. The keystore is the truth, the index only points to it.
	have, err := newest(ctx, f, l.Account)
	if err != nil {
		return nil, err
	}
	e := &exchange{job: j, wish: w}
	if folder.Shared(have.Account, have.Grant) {
		if j.peers == nil {
			return nil, alone(have.Account)
		}
		if e.claimed, err = j.peers.Claim(ctx, have, l, w); e.claimed == nil || err != nil {
			return nil, err
		}
	}
	o, a, grant := have.Opened, have.Account, have.Grant
	if grant == nil {
		if err := o.Missing(ctx); err != nil {
			return nil, e.unclaim(ctx, err)
		}
		return nil, e.unclaim(ctx, pool.Lost(a))
	}
	folder.Reached("K3")
	if e.claimed == nil { // else its peers have looked
		if a.Generation > w.Beyond && a.AccessSlot != "" {
			return nil, nil
		}
		// Step 2. Is a request allowed now, with this refresh token?
		if err := Refusal(a, w, time.Now()); err != nil {
			return nil, err
		}
	}
	endpoint, err := o.Store.Endpoint(ctx, grant)
	if err != nil {
		return nil, e.unclaim(ctx, err)
	}
	// Step 3. If the keystore refuses now, nothing is spent.
	if err := o.Store.Preflight(ctx, grant, a.AccessSlot); err != nil {
		return nil, e.unclaim(ctx, err)
	}
	folder.Reached("K4")
	e.opened, e.account, e.grant, e.endpoint = o, a, grant, endpoint
	return e, nil
}

// newest opens the folder, and returns what it has of account id, the index having been
// brought up to date.
func newest(ctx context.Context, f *folder.Folder, id string) (*Stored, error) {
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	a, err := folder.Living(idx, id)
	if err != nil {
		return nil, err
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return nil, err
	}
	stored, err := o.Grants(ctx, a.ID)
	if err == nil && stored.Best != nil {
		a, err = o.RollForward(ctx, a, stored)
	}
	return &Stored{o, a, stored.Best}, err
}

// unclaim gives up what was claimed, because of err, before anything was sent.
func (e *exchange) unclaim(ctx context.Context, err error) error {
	if e.claimed != nil {
		_, _ = e.claimed.Fail(ctx, oauth.Unsent, nil) // the others find out by themselves, later
	}
	return err
}

// finish sends what was claimed, and once more after an unknown outcome.
func (e *exchange) finish(ctx context.Context, l *folder.Rotation) error {
	letGo := holdFast()
	defer letGo()
	ctx = context.WithoutCancel(ctx) // from here on only the end of the work ends it
	for attempt := 1; ; attempt++ {
		err := e.run(ctx, l)
		switch {
		case e.restored != nil:
			attempt = 0
		case !e.unknown || attempt == 2 || record.Elapsed(e.sentAt, e.sentBoot) > recoveryWindow:
			if err != nil {
				e.lookForAll(ctx)
			}
			return err
		}
		// One recovery at once, recorded in the intent, within the servers' grace.
		next, err := e.again(ctx, l)
		if next == nil || err != nil {
			return err
		}
		e = next
	}
}

// again returns the exchange for one more request, with the same grant or with the one that
// was restored. Nil without an error: none is needed.
func (e *exchange) again(ctx context.Context, l *folder.Rotation) (next *exchange, err error) {
	if e.claimed != nil {
		w := e.wish
		w.again = true
		return e.job.claim(ctx, e.opened.Folder, l, w)
	}
	next = &exchange{job: e.job, grant: e.grant, endpoint: e.endpoint, wish: e.wish}
	if e.restored != nil {
		next.grant = e.restored
		if next.endpoint, err = e.opened.Store.Endpoint(ctx, e.restored); err != nil {
			return nil, err
		}
	}
	idx, err := e.opened.Folder.Read()
	if err != nil {
		return nil, err
	}
	if next.account = idx.Account(l.Account); next.account == nil {
		return nil, folder.Removed()
	}
	next.opened, err = e.opened.Folder.Open(idx)
	return next, err
}
