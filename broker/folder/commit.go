package folder

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
)

const (
	// StorePatience is how long new tokens are kept in memory while the
	// keystore refuses them, stops of this process not counted.
	StorePatience = 10 * time.Minute
	// LongestWrite is how long the keystore may take for new tokens, whatever their
	// caller would wait for.
	LongestWrite = 2 * time.Minute
)

// Reached marks a point of the work for tests that kill the process there.
var Reached = func(_ string) {}

// Login is what Commit keeps: an account's records, and what its entry is to say.
type Login struct {
	Slot   string
	Grant  *record.Grant
	Access *record.Access // nil: there is none of that generation
	// Stored: the grant is in its slot already. AccessSlot is where the access record
	// is already; empty: it is to be in Slot.
	Stored     bool
	AccessSlot string
	// New is the entry of a new account; nil: the index has one.
	New *index.Account
	// Check may refuse what the index says at the moment of the change; that is not
	// asked again. nil: nothing does.
	Check func(*index.Index) error
	// Enter changes the entry further, once it points to the records, and the index
	// with it; nil: no more is to be changed.
	Enter func(i *index.Index, a, before *index.Account)
	// Patience is for what exists nowhere else.
	Patience Patience
}

// Commit keeps a login, under its account's rotation lock: the grant before anything
// else, then the access token, then the index. No other code writes them, but that
// keystores are copied as they are. Each is read back by the keystore. What refuses is
// asked again for as long as the login's patience lasts. A crash on the way leaves the
// login as it was, or one that RollForward finds.
// It returns the entry.
func (o *Opened) Commit(ctx context.Context, l *Rotation, login Login) (*index.Account, error) {
	g, acc := login.Grant, login.Access
	if g.Account != l.Account {
		return nil, fault.Errorf(fault.Internal, "the lock is that of another account; nothing was changed")
	}
	persist := &login.Patience
	if !login.Stored {
		if err := persist.Until(func() error { return o.Store.SetGrant(ctx, login.Slot, g) }); err != nil {
			return nil, err
		}
	}
	Reached("K14")
	if acc != nil && login.AccessSlot == "" {
		if err := persist.Until(func() error { return o.Store.SetAccess(ctx, login.Slot, acc) }); err != nil {
			return nil, err
		}
	}
	Reached("K15")
	var entry *index.Account
	var refused error // by what the index says now, which asking again would not change
	err := persist.Until(func() error {
		return o.Update(ctx, index.Durable, func(i *index.Index) error {
			entry = i.Account(g.Account)
			if login.New != nil && entry != nil {
				return nil // it came this far, and only its folder could not be synced
			}
			if login.Check != nil {
				if refused = login.Check(i); refused != nil {
					return final{refused}
				}
			}
			if login.New != nil {
				if refused = o.unmoved(i); refused != nil {
					return final{refused}
				}
				i.Keystore = o.Index.Keystore // the first secret decides
				entry = i.Enlist(*login.New)
			}
			if entry == nil {
				return Removed()
			}
			before := *entry
			point(entry, g, login.Slot, acc, cmp.Or(login.AccessSlot, login.Slot))
			if login.Enter != nil {
				login.Enter(i, entry, &before)
			}
			return nil
		})
	})
	if refused != nil {
		err = refused
	}
	return entry, err
}

// RollForward makes the index point to what the keystore has: a rotation may
// have ended between its last write and its commit, or the index may come from
// a backup, which must not bring a spent refresh token back. It returns the
// account as it then is.
func (o *Opened) RollForward(ctx context.Context, a *index.Account, stored record.Grants) (*index.Account, error) {
	fp := record.Fingerprint(stored.Best.Secret())
	if a.GrantSlot == stored.Slot && a.Fingerprint == fp && a.Generation >= stored.Best.Generation && stored.Best.IsOf(a) {
		return a, nil
	}
	acc, accessSlot, err := o.Store.AccessOf(ctx, a.ID, stored.Best.Generation)
	if err != nil {
		return nil, err
	}
	var rolled *index.Account
	err = o.Change(ctx, index.Durable, a.ID, func(_ *index.Index, now *index.Account) {
		rolled = now
		g := *stored.Best
		g.Generation = max(g.Generation, rolled.Generation)
		point(rolled, &g, stored.Slot, acc, accessSlot)
	})
	return rolled, err
}

// Change applies one change to an account's entry.
func (f *Folder) Change(ctx context.Context, d index.Durability, id string, change func(*index.Index, *index.Account)) error {
	return f.Update(ctx, d, func(idx *index.Index) error {
		a := idx.Account(id)
		if a == nil {
			return Removed()
		}
		change(idx, a)
		return nil
	})
}

// point makes an index entry point to new records; acc is nil where there is no
// access token of that generation.
func point(a *index.Account, g *record.Grant, grantSlot string, acc *record.Access, accessSlot string) {
	fp := record.Fingerprint(g.Secret())
	if a.Fingerprint != "" && a.Fingerprint != fp {
		a.Spent = record.AddSpent(a.Spent, a.Fingerprint)
	}
	a.Generation, a.GrantSlot, a.Fingerprint = g.Generation, grantSlot, fp
	a.TokenFingerprint = g.TokenFingerprint
	a.RefreshExpiresAt = g.RefreshExpiresAt
	a.Resource, a.Service, a.Scopes = g.Endpoint.Resource, g.Service.Name, g.Service.Asked
	if g.Owner.Subject != "" {
		a.Issuer, a.Subject, a.Organization = g.Owner.Issuer, g.Owner.Subject, g.Owner.Organization
	}
	a.AccessSlot, a.ExpiresAt, a.ObtainedAt = "", time.Time{}, time.Time{}
	if acc != nil {
		a.AccessSlot, a.ExpiresAt = accessSlot, acc.ExpiresAt
		if !acc.Imported {
			a.ObtainedAt = acc.ObtainedAt
		}
	}
	a.Intents, a.Failure = nil, nil
	if a.Dead != a.Fingerprint {
		a.Dead = ""
	}
}

// Patience asks again, with growing pauses, until its deadline.
type Patience struct {
	Deadline time.Time
	Tell     func(message string) // of what refuses, once; nil: nobody
}

// Until asks write until it does what it is to do, or there is no point in asking again.
func (p *Patience) Until(write func() error) error {
	last := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := write()
		// No write takes longer; the rest of the time this process was stopped.
		if stopped := time.Since(last) - LongestWrite - pause; stopped > 0 {
			p.Deadline = p.Deadline.Add(stopped)
		}
		last = time.Now()
		if err == nil || time.Now().After(p.Deadline) || fault.CodeOf(err) == fault.NoAccount || errors.Is(err, errMoved) || isFinal(err) {
			return err
		}
		if p.Tell != nil {
			p.Tell(err.Error() + "; the new login waits for it")
			p.Tell = nil
		}
		time.Sleep(pause)
	}
}

// final is an error that asking again would not change.
type final struct{ error }

func (e final) Unwrap() error { return e.error }

func isFinal(err error) bool {
	_, is := errors.AsType[final](err)
	return is
}
