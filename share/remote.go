package share

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// remote is an account's record at the engine, as this machine last read or wrote it. Its
// methods touch nothing but the engine. Their errors are those of package engine, errAbsent,
// seal.ErrOver, or *fault.Error.
type remote struct {
	seat   *Seat
	id     string // of the account
	quoted string // the label of the account, for errors
	key    string

	entry    engine.Entry
	identity engine.Identity // the engine's, as of the last read
	rec      *seal.Record    // as in entry
	restored bool            // the engine has forgotten something
	outdated engine.Version  // the newest version that the engine has said is no longer there
}

var errAbsent = errors.New("the engine has no such account")

// read reads the record.
func (r *remote) read(ctx context.Context) error {
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	entry, identity, err := r.seat.Engine.Get(call, r.key)
	if err != nil {
		return err
	}
	r.entry, r.identity = entry, identity
	if r.seat.Cluster != "" && identity.Cluster != r.seat.Cluster || identity.Revision < r.seat.Revision {
		r.restored = true
	}
	return r.open(ctx)
}

// open opens the record in r.entry.
func (r *remote) open(ctx context.Context) (err error) {
	if r.entry.Version == 0 {
		return errAbsent
	}
	r.rec, err = seal.Open(r.seat.Keys, r.seat.Pool, r.id, r.entry.Value)
	// Older keys than the newest are believed only while a removal goes on.
	old := err == nil && r.rec.Epoch < r.seat.Keys.Newest().Epoch
	if (old || errors.Is(err, seal.ErrKeys)) && r.seat.Renew != nil {
		ring, renewed := r.seat.Renew(ctx)
		if renewed != nil {
			return renewed
		}
		r.seat.Keys = ring
		r.rec, err = seal.Open(ring, r.seat.Pool, r.id, r.entry.Value)
	}
	switch {
	case errors.Is(err, seal.ErrNewer):
		return fault.Errorf(fault.IndexTooNew, "the shared pool has been used by a newer authferry; nothing was sent").Try(fault.Remedy{Do: fault.ShowVersion})
	case errors.Is(err, seal.ErrOver):
		r.restored = true
		return err
	case errors.Is(err, seal.ErrKeys):
		return fault.Errorf(fault.NotAMember, "this machine is no longer a member of the shared pool; nothing was sent").Try(fault.Remedy{Do: fault.ShareJoin})
	case err == nil && r.rec.Public.Removing:
		return fault.Errorf(fault.NotAMember, "account %s was taken out of its shared pool; nothing was sent", r.quoted).ItsOwn().Try(fault.Remedy{Do: fault.ShareStatus})
	case err != nil:
		return fault.Errorf(fault.Fenced, "what the engine has of account %s is not what a machine of the pool has stored; nothing was sent", r.quoted).ItsOwn().
			Because(err).Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	return nil
}

// swap replaces the record by next. won false without an error: another machine was first,
// or the outcome is unknown and nothing shows that it was done; r has what is there now.
func (r *remote) swap(ctx context.Context, next *seal.Record) (won bool, err error) {
	value, err := next.Encode(r.seat.Keys)
	if err != nil {
		return false, fault.Errorf(fault.Internal, "the record of account %s can't be stored", r.quoted).Because(err)
	}
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	now, won, err := r.seat.Engine.Swap(call, r.key, r.entry.Version, value)
	if err != nil {
		return false, err
	}
	r.entry = now
	if won {
		r.rec = next
		return true, nil
	}
	return false, r.open(ctx)
}

// contents is what a record of g has.
func (r *remote) contents(g *record.Grant, client *record.ClientSecret, acc *record.Access) seal.Contents {
	return seal.Contents{Pool: r.seat.Pool, Account: r.id, Gen: g.PoolGeneration, Grant: g, Client: client, Access: acc, Public: r.rec.Public}
}

// seal is the idle record with these contents.
func (r *remote) seal(c seal.Contents) (*seal.Record, error) {
	next, err := seal.Seal(r.seat.Keys, c)
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "the login of account %s can't be shared", r.quoted).Because(err)
	}
	return next, nil
}

// errOr is err, or the error for a swap that another machine won.
func errOr(err error) error {
	if err != nil {
		return err
	}
	return engine.ErrUnreachable
}

const firstPause, longestPause = 50 * time.Millisecond, time.Second

// wait returns when the record has changed, or after a while.
func (r *remote) wait(ctx context.Context, pause time.Duration) {
	rest := time.NewTimer(pause)
	defer rest.Stop()
	brief, cancel := context.WithTimeout(ctx, pause)
	defer cancel()
	if r.seat.Engine.Changed(brief, r.key, r.identity.Revision) == nil {
		if r.outdated != r.entry.Version {
			r.outdated = r.entry.Version
			return
		}
		select { // that version was still there: such an engine must not be asked without end
		case <-rest.C:
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
		}
		return
	}
	select {
	case <-rest.C:
	case <-ctx.Done():
	}
}

// tellFor is how long a rotator tries to tell the others what it has stored. After that the
// next one does. Until then they wait. Only tests change it.
var tellFor = time.Hour

// tell publishes while the record is of the generation before.
func (r *remote) tell(ctx context.Context, contents seal.Contents) error {
	next, err := r.seal(contents)
	if err != nil {
		return err
	}
	folder.Reached("S5")
	deadline := time.Now().Add(tellFor)
	for pause := firstPause; ; pause = min(2*pause, 15*time.Second) {
		won, err := r.swap(ctx, next)
		if err != nil {
			time.Sleep(pause)
			err = r.read(ctx)
		}
		switch {
		case won:
			folder.Reached("S6")
			return nil
		case err == nil && r.rec.Gen >= next.Gen:
			return nil // this one, or the folder adopts what another machine has published
		case err == nil && (r.rec.Epoch > next.Epoch || r.rec.Public != next.Public):
			contents.Public = r.rec.Public // a person has changed it meanwhile
			if next, err = r.seal(contents); err != nil {
				return err
			}
		case time.Now().After(deadline):
			return errOr(err)
		}
	}
}
