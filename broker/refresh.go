package broker

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/rotation"
)

// Refresh rotates an account's grant now, for a person who wants to know whether the login
// still works. It returns the account as it is afterwards. A back-off of authferry's own
// doesn't apply, one that the provider asked for does. A caller that waited while another
// process rotated adopts the result.
func (b *Broker) Refresh(ctx context.Context, account string) (*index.Account, error) {
	return b.refreshFor(ctx, account, rotation.Wish{Person: true, Since: time.Now()})
}

// RefreshNow is Refresh even if the provider asked to wait; at most once in 30 s.
func (b *Broker) RefreshNow(ctx context.Context, account string) (*index.Account, error) {
	return b.refreshFor(ctx, account, rotation.Wish{Person: true, Now: true, Since: time.Now()})
}

func (b *Broker) refreshFor(ctx context.Context, account string, w rotation.Wish) (*index.Account, error) {
	idx, err := b.Folder.Read()
	if err != nil {
		return nil, err
	}
	a, err := pool.FindAccount(idx, account, "")
	if err != nil {
		return nil, err
	}
	if a.Kind == index.KindAPIKey {
		return nil, fault.Errorf(fault.Usage, "account %s is an API key, which is never refreshed", fault.Quote(a.Label))
	}
	if pool.LongLived(a) {
		return nil, fault.Errorf(fault.Usage, "account %s is a long-lived token, which is never refreshed; it ends %s", fault.Quote(a.Label), pool.AtTime(a.ExpiresAt, time.Now())).Try(pool.Renewal(a))
	}
	return rotation.Refresh(ctx, b.Folder, a, w)
}

// Refreshed is the result of RefreshAll for one account.
type Refreshed struct {
	Account index.Account
	Err     *fault.Error // nil: it was refreshed
}

// RefreshAll refreshes every account that has a refresh token and is not disabled, one
// after the other; but not before a time that its provider asked for.
func (b *Broker) RefreshAll(ctx context.Context) ([]Refreshed, error) {
	w := rotation.Wish{Person: true, Since: time.Now()}
	idx, err := b.Folder.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	var all []Refreshed
	for _, pool := range idx.PoolsOf("") {
		for _, a := range idx.Members(pool) {
			if a.Kind == index.KindAPIKey || a.Disabled || a.Fingerprint == "" {
				continue
			}
			after, err := rotation.Refresh(ctx, b.Folder, a, w)
			if fault.CodeOf(err) == fault.Cancelled {
				return all, err
			}
			if err == nil {
				all = append(all, Refreshed{Account: *after})
				continue
			}
			done := Refreshed{Account: *a}
			if now, _ := b.Folder.ReadOrEmpty(); now != nil && now.Account(a.ID) != nil {
				done.Account = *now.Account(a.ID) // until when no other refresh is tried
			}
			var ok bool
			if done.Err, ok = errors.AsType[*fault.Error](err); !ok {
				done.Err = fault.Errorf(fault.Internal, "account %s could not be refreshed", fault.Quote(a.Label)).Because(err)
			}
			all = append(all, done)
		}
	}
	return all, nil
}
