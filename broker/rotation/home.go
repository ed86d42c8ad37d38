package rotation

import (
	"context"
	"slices"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
)

// home also stores the new tokens in the folder's old place, if a copy was put back there
// while the rotation ran: the refresh token in that copy is spent.
func (e *exchange) home(ctx context.Context, next *record.Grant, acc *record.Access) error {
	if e.File().Home() == e.File().Dir() {
		return nil
	}
	opt := e.Options
	opt.Dir = e.File().Home()
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
	if idx.Store != e.Index.Store || a == nil {
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
