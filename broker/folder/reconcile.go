package folder

import (
	"cmp"
	"context"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// superseded is the error where m, the manifest of o, says that the logins were
// moved, and one of them was used where it is now: a refresh token that stayed here is
// spent. What can't be asked counts as used. Where nothing there is newer, the migration
// was killed just before its commit, and the index is right.
func (o *Opened) superseded(ctx context.Context, m record.Manifest) error {
	if m.Moved == nil || m.Moved.Keystore == o.Store.Kind() {
		return nil
	}
	there, err := o.MovedTo(m)
	if err != nil {
		return err
	}
	_, newer, err := o.Ages(ctx, there, m)
	if err == nil && newer {
		err = MovedAway(m.Moved.Keystore, o.Store.Kind())
	}
	return err
}

// MovedAway is the error for an index from before the logins were moved.
func MovedAway(to, from keystore.Kind) error {
	return fault.Errorf(fault.KeystoreMismatch, "the logins were moved to the %s keystore, and index.json, from before that, names the %s keystore; nothing was sent and nothing was changed", to, from).
		Try(fault.Remedy{Do: fault.Fix})
}

// MovedTo is o over the keystore that m says everything was moved to. A key file is
// believed that the caller or the keystore names, not one of index.json.
func (o *Opened) MovedTo(m record.Manifest) (*Opened, error) {
	asked := ""
	if o.KeyFile != "" {
		asked = o.KeyFileOf(o.Index)
	}
	return o.Over(m.Moved.Keystore, cmp.Or(asked, m.Moved.KeyFile))
}

// Over is o over another keystore.
func (o *Opened) Over(kind keystore.Kind, keyFile string) (*Opened, error) {
	s, err := o.openKind(kind, keyFile)
	if err != nil {
		return nil, err
	}
	return o.over(o.Index, s), nil
}

// Ages compares the logins of o with those of another keystore: whether one is newer
// here, and whether one is newer there, or only there.
func (o *Opened) Ages(ctx context.Context, other *Opened, m record.Manifest) (here, there bool, err error) {
	for _, id := range o.accountsAnd(m) {
		mine, err := o.Grants(ctx, id)
		if err != nil {
			return false, false, err
		}
		theirs, err := other.Grants(ctx, id)
		if err != nil {
			return false, false, err
		}
		switch a, z := mine.Best, theirs.Best; {
		case z == nil:
			here = here || a != nil
		case a == nil || z.Generation > a.Generation:
			there = true
		case a.Generation > z.Generation:
			here = true
		case !a.Secret().Equal(z.Secret()):
			here, there = true, true
		}
	}
	return here, there, nil
}

// accountsAnd are the ids of the index's accounts and of those that m lists, in order.
func (o *Opened) accountsAnd(m record.Manifest) []string {
	ids := slices.Concat(AccountIDs(o.Index), m.Accounts)
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return !index.ValidID(id) })
}

// Alone returns the logins of m, the manifest of other, that other has alone and o has
// not. Where other has a newer state of one, it is other that was used last, and nothing
// there is a leftover: that is an error. That a login was removed, or is an account's
// here, has to stand in a keystore: index.json is no witness.
func (o *Opened) Alone(ctx context.Context, other *Opened, m record.Manifest) (alone []string, err error) {
	mine, err := o.Store.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range m.Accounts {
		there, err := other.Grants(ctx, id)
		if err != nil {
			return nil, err
		}
		here, err := o.Grants(ctx, id)
		if err != nil {
			return nil, err
		}
		a := o.Index.Account(id)
		switch {
		case there.Best == nil:
		case here.Best == nil:
			removed := a != nil && a.Removing && (slices.Contains(m.Removing, id) || slices.Contains(mine.Removing, id))
			known, err := o.heldByAnother(ctx, there.Best, id)
			if err != nil {
				return nil, err
			}
			if !removed && !known {
				alone = append(alone, id)
			}
		case there.Best.Generation > here.Best.Generation,
			there.Best.Generation == here.Best.Generation && !there.Best.Secret().Equal(here.Best.Secret()):
			return nil, fault.Errorf(fault.KeystoreMismatch, "the %s keystore has a newer login than the %s keystore, which index.json names; nothing was changed", other.Store.Kind(), o.Store.Kind()).
				Try(fault.Remedy{Do: fault.Fix})
		}
	}
	return alone, nil
}

// heldByAnother reports that another account than id has the login g, or had it.
func (o *Opened) heldByAnother(ctx context.Context, g *record.Grant, id string) (bool, error) {
	a := g.KnownIn(o.Index)
	if a == nil || a.ID == id {
		return false, nil
	}
	held, err := o.Grants(ctx, a.ID)
	if err != nil || held.Best == nil {
		return false, err
	}
	return held.Best.Secret().Equal(g.Secret()) || slices.Contains(held.Best.Spent, record.Fingerprint(g.Secret())), nil
}

// SealsTo refuses a key file that only index.json names: whoever wrote that could
// read what is sealed to it. chosen is a manifest's KeyFile, path the key file.
func SealsTo(f *Folder, chosen, path string, to keystore.Kind) error {
	if to != keystore.File || f.KeyFile != "" {
		return nil
	}
	if sum, err := keystore.KeyFileSum(path); err == nil && sum != chosen {
		return fault.Errorf(fault.KeystoreMismatch, "index.json names the key file %q, which was not chosen for what is in the keychain, or was changed since; nothing was changed", path).
			Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_KEY_FILE", Value: path})
	}
	return nil
}

// Follow makes the index, and its backup, name the keystore of other, whose key file is
// given. It needs the locks of the accounts if a rotation may be under way.
func (o *Opened) Follow(ctx context.Context, other *Opened, keyFile string) (*Opened, error) {
	l, err := o.Lock(ctx, lock.Manifest) // no migration goes on
	if err != nil {
		return nil, err
	}
	defer l.Release()
	now := *other
	if err := o.Update(ctx, index.Durable, func(i *index.Index) error {
		if i.Store != o.Index.Store || i.Keystore != o.Index.Keystore {
			return fault.Errorf(fault.LockTimeout, "the keystore was changed meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Fix})
		}
		i.Keystore = string(other.Store.Kind())
		if other.Store.Kind() == keystore.File {
			i.KeyFile = keyFile
		}
		now.Index = i
		return nil
	}); err != nil {
		return nil, err
	}
	o.Keystore, o.keys = "", nil
	return &now, o.backUp(ctx) // what is there would lead back
}

// LockAccounts takes the rotation locks of the index's accounts and of those that m
// lists.
func (o *Opened) LockAccounts(ctx context.Context, m record.Manifest) (release func(), err error) {
	return lockAll(ctx, o.Folder, o.accountsAnd(m))
}

// ClearFrom deletes from other what m lists, its manifest, if nothing of it is there
// alone. That is done under the locks of a migration: no login goes anywhere meanwhile.
// The manifest is last, so that what remains of it is found again.
func (o *Opened) ClearFrom(ctx context.Context, other *Opened, m record.Manifest) error {
	release, err := o.LockAccounts(ctx, m)
	if err != nil {
		return err
	}
	defer release()
	return o.withManifest(ctx, func(now *Opened) error {
		o.Index = now.Index
		alone, err := now.Alone(ctx, other, m)
		if err != nil {
			return err
		}
		if len(alone) > 0 {
			return fault.Errorf(fault.LockTimeout, "an account was changed meanwhile; nothing was deleted").Try(fault.Remedy{Do: fault.Fix})
		}
		store := now.Index.Store
		return other.Store.Delete(ctx, slices.Concat([]string{record.TrialItem(store)}, m.Items(), []string{record.ManifestItem(store)})...)
	})
}
