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
	// StorePatience is how long new tokens are kept in memory while the keystore refuses
	// them. Time in which this process was stopped doesn't count.
	StorePatience = 10 * time.Minute
	// LongestWrite is how long one write of new tokens may take, however long their caller
	// would wait.
	LongestWrite = 2 * time.Minute
)

// Reached marks a point of the work, for tests that kill the process there.
var Reached = func(_ string) {}

// Login is what Commit stores: an account's records, and the changes to its entry.
type Login struct {
	Slot   string
	Grant  *record.Grant
	Access *record.Access // nil: that generation has none
	// Stored: the grant is in its slot already. AccessSlot is where the access record is
	// already; empty: it is to be written to Slot.
	Stored     bool
	AccessSlot string
	// New is the entry of a new account; nil: the account is in the index already.
	New *index.Account
	// Check may refuse, judging by the index at the moment of the change. Its refusal is
	// final. nil: no check.
	Check func(*index.Index) error
	// Enter makes further changes to the entry, once it points to the records, and to the
	// index; nil: none.
	Enter func(i *index.Index, a, before *index.Account)
	// Patience is set for tokens that exist nowhere else.
	Patience Patience
	// Peers: the machines that share the account know of this login, or are told of it next.
	Peers bool
}

// Commit stores a login, under its account's rotation lock: first the grant, then the
// access token, then the index. No other code writes them, except for copies from one
// keystore to the other. The keystore reads each of them back. What refuses is tried again
// while the login's patience lasts. If the process dies on the way, the login is as it was
// before, or is found by RollForward. Commit returns the entry.
func (o *Opened) Commit(ctx context.Context, l *Rotation, login Login) (*index.Account, error) {
	g, acc := login.Grant, login.Access
	if g.Account != l.Account {
		return nil, fault.Errorf(fault.Internal, "the lock is that of another account; nothing was changed")
	}
	if !login.Peers && Shared(o.Index.Account(l.Account), g) {
		return nil, fault.Errorf(fault.Fenced, "this account is shared with other machines; nothing was changed").Try(fault.Remedy{Do: fault.ShareStatus})
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
	var refused error // by what the index says now; trying again would not help
	err := persist.Until(func() error {
		return o.Folder.Update(ctx, index.Durable, func(i *index.Index) error {
			entry = i.Account(g.Account)
			if login.New != nil && entry != nil {
				return nil // the change is written, and only the folder could not be synced
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
				i.Keystore = o.Index.Keystore // the first secret decides which keystore the folder has
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

// Shared reports whether an account is shared with other machines: by its entry or by its
// grant, either of which may be missing. What is written for it goes to them as well, so
// Commit refuses what doesn't.
func Shared(a *index.Account, g *record.Grant) bool {
	return a != nil && a.Share != nil || g != nil && g.Share != ""
}

// RollForward makes the index point to what the keystore has. A rotation may have died
// between its last write and its commit; or the index may come from a backup, which must
// not bring a spent refresh token back. It returns the account as it is afterwards.
func (o *Opened) RollForward(ctx context.Context, a *index.Account, stored record.Grants) (*index.Account, error) {
	fp := stored.Best.Fingerprint()
	if a.GrantSlot == stored.Slot && a.Fingerprint == fp && a.Generation >= stored.Best.Generation && stored.Best.IsOf(a) {
		return a, nil
	}
	acc, accessSlot, err := o.Store.AccessOf(ctx, a.ID, stored.Best.Generation)
	if err != nil {
		return nil, err
	}
	var rolled *index.Account
	err = o.Folder.Change(ctx, index.Durable, a.ID, func(_ *index.Index, now *index.Account) {
		rolled = now
		g := *stored.Best
		g.Generation = max(g.Generation, rolled.Generation)
		point(rolled, &g, stored.Slot, acc, accessSlot)
	})
	return rolled, err
}

// Change makes one change to an account's entry.
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

// point makes an entry of the index point to new records. acc is nil if there is no access
// token of that generation.
func point(a *index.Account, g *record.Grant, grantSlot string, acc *record.Access, accessSlot string) {
	fp := g.Fingerprint()
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

// Patience tries again, with growing pauses, until its deadline.
type Patience struct {
	Deadline time.Time
	Tell     func(message string) // is told once what refuses; may be nil
}

// Until calls write until it succeeds or trying again is pointless.
func (p *Patience) Until(write func() error) error {
	last := time.Now()
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := write()
		// No write takes longer than this. The rest of the time this process was stopped.
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

// final is an error for which trying again is pointless.
type final struct{ error }

func (e final) Unwrap() error { return e.error }

func isFinal(err error) bool {
	_, is := errors.AsType[final](err)
	return is
}
