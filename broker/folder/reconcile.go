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

// superseded is the error where m, the manifest of o, says that the logins were moved and
// one of them was used since in its new place: then the refresh tokens here are spent. If
// the new place can't be read, it counts as used. If nothing there is newer, the migration
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
	return fault.Errorf(fault.KeystoreMismatch, "the logins were moved to the %s keystore, and index.json is from before that and names the %s keystore; nothing was sent and nothing was changed", to, from).
		Try(fault.Remedy{Do: fault.Fix})
}

// MovedTo is o with the keystore that everything was moved to, according to m. The key file
// must be named by the caller or the keystore; index.json is not believed.
func (o *Opened) MovedTo(m record.Manifest) (*Opened, error) {
	asked := ""
	if o.Folder.KeyFile != "" {
		asked = o.Folder.KeyFileOf(o.Index)
	}
	return o.Over(m.Moved.Keystore, cmp.Or(asked, m.Moved.KeyFile))
}

// Over is o with another keystore.
func (o *Opened) Over(kind keystore.Kind, keyFile string) (*Opened, error) {
	s, err := o.Folder.openKind(kind, keyFile)
	if err != nil {
		return nil, err
	}
	return o.Folder.over(o.Index, s), nil
}

// Ages compares the logins of o with those of another keystore: is any newer here, and is
// any newer there, or only there?
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

// accountsAnd returns the ids of the index's accounts and of those that m lists, sorted.
func (o *Opened) accountsAnd(m record.Manifest) []string {
	ids := slices.Concat(AccountIDs(o.Index), m.Accounts)
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return !index.ValidID(id) })
}

// Alone returns the logins in m, the manifest of other, that only other has. If other has a
// newer state of any login, it was used last, so nothing there is a leftover: that is an
// error. That a login was removed, or belongs to an account here, must be recorded in a
// keystore; index.json is not believed.
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

// heldByAnother reports whether an account other than id has, or had, the login g.
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

// SealsTo refuses a key file that only index.json names: whoever wrote that could read what
// is sealed to it. chosen is a manifest's KeyFile, path the key file.
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

// Follow makes the index and its backup name the keystore of other, with the given key
// file. If a rotation may be running, the locks of the accounts must be held.
func (o *Opened) Follow(ctx context.Context, other *Opened, keyFile string) (*Opened, error) {
	l, err := o.Folder.Lock(ctx, lock.Manifest) // no migration is running
	if err != nil {
		return nil, err
	}
	defer l.Release()
	now := *other
	if err := o.Folder.Update(ctx, index.Durable, func(i *index.Index) error {
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
	o.Folder.Keystore, o.Folder.keys = "", nil
	return &now, o.Folder.backUp(ctx) // the old backup would lead back
}

// LockAccounts takes the rotation locks of the index's accounts and of those that m lists.
func (o *Opened) LockAccounts(ctx context.Context, m record.Manifest) (release func(), err error) {
	return lockAll(ctx, o.Folder, o.accountsAnd(m))
}

// ClearFrom deletes from other what m, its manifest, lists, if nothing exists only there.
// It holds the locks of a migration, so that no login moves meanwhile. The manifest is
// deleted last, so that what remains can be found.
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
