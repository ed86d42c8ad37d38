package broker

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

// forChange prepares b for a change of what the folder's keystore has, or for sending
// a refresh token that is in it: the folder is no copy of another one, the keystore is
// open, and no migration has left it.
func (b *Broker) forChange(ctx context.Context, idx *index.Index) error {
	if err := b.checkFolder(idx); err != nil {
		return err
	}
	if err := b.open(idx); err != nil {
		return err
	}
	if len(idx.Accounts) == 0 {
		return nil
	}
	m, err := b.readManifest(ctx, idx)
	if err != nil {
		return storeError(err)
	}
	return b.superseded(ctx, idx, m)
}

// superseded is the error where m, the manifest of b.store, says that the logins were
// moved, and one of them was used where it is now: a refresh token that stayed here is
// spent. What can't be asked counts as used. Where nothing there is newer, the migration
// was killed just before its commit, and the index is right.
func (b *Broker) superseded(ctx context.Context, idx *index.Index, m record.Manifest) error {
	if m.Moved == nil || m.Moved.Keystore == b.store.Kind() {
		return nil
	}
	o, err := b.movedTo(idx, m)
	if err != nil {
		return err
	}
	_, newer, err := b.ages(ctx, idx, o, m)
	if err == nil && newer {
		err = movedAway(m.Moved.Keystore, b.store.Kind())
	}
	return err
}

func movedAway(to, from keystore.Kind) error {
	return fault.Errorf(fault.KeystoreMismatch, "the logins were moved to the %s keystore, and index.json, from before that, names the %s keystore; nothing was sent and nothing was changed", to, from).
		WithHint(fixHint)
}

// movedTo is this Broker over the keystore that m names. A key file is believed that
// the caller or the keystore names, not one of index.json.
func (b *Broker) movedTo(idx *index.Index, m record.Manifest) (*Broker, error) {
	asked := ""
	if b.opt.KeyFile != "" {
		asked = b.keyFile(idx)
	}
	s, err := b.openKind(m.Moved.Keystore, cmp.Or(asked, m.Moved.KeyFile))
	if err != nil {
		return nil, err
	}
	return b.over(s), nil
}

// ages compares the logins of b with those of o: whether one is newer here, and
// whether one is newer there, or only there.
func (b *Broker) ages(ctx context.Context, idx *index.Index, o *Broker, m record.Manifest) (here, there bool, err error) {
	ids := append(accountIDs(idx), m.Accounts...)
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		if !index.ValidID(id) {
			continue
		}
		mine, err := b.readGrants(ctx, idx, id)
		if err != nil {
			return false, false, err
		}
		other, err := o.readGrants(ctx, idx, id)
		if err != nil {
			return false, false, err
		}
		switch a, z := mine.Best, other.Best; {
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

// moved is about a keystore whose manifest says that a migration left it, and that the
// index names all the same. It reports whether the folder has its keystore now.
func (d *doctor) moved(ctx context.Context, m record.Manifest) bool {
	o, err := d.b.movedTo(d.idx, m)
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	here, there, err := d.b.ages(ctx, d.idx, o, m)
	to, from := m.Moved.Keystore, d.b.store.Kind()
	switch {
	case err != nil:
		d.fail("manifest", err)
		return false
	case !there: // killed before its commit: what it copied is looked after as any leftover
		if d.fix {
			if err := d.b.changeManifest(ctx, d.idx, func(m *record.Manifest) { m.Moved = nil }); err != nil {
				d.fail("manifest", storeError(err))
				return false
			}
		}
		return true
	case here:
		d.say("manifest", CheckFail, "", "the logins were moved to the %s keystore, but some were used in the %s keystore since; nothing was changed: put back the index.json that was there last, if you have it", to, from)
		return false
	case !d.fix:
		d.fail("manifest", movedAway(to, from))
		return false
	}
	// No rotation may be under way in what is left.
	ids := append(accountIDs(d.idx), m.Accounts...)
	slices.Sort(ids)
	release, err := d.b.lockAll(ctx, slices.DeleteFunc(slices.Compact(ids), func(id string) bool { return !index.ValidID(id) }))
	if err == nil {
		defer release()
		err = d.follow(ctx, o, cmp.Or(m.Moved.KeyFile, d.b.keyFile(d.idx)))
	}
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	d.say("manifest", CheckOK, "", "index.json was from before the logins were moved to the %s keystore, and names that one again", to)
	return true
}

// follow makes the index, and its backup, name the keystore of o.
func (d *doctor) follow(ctx context.Context, o *Broker, keyFile string) error {
	l, err := d.b.lock(ctx, lock.Manifest) // no migration goes on
	if err != nil {
		return err
	}
	defer l.Release()
	if err := d.b.update(ctx, index.Durable, func(i *index.Index) error {
		if i.Store != d.idx.Store || i.Keystore != d.idx.Keystore {
			return fault.Errorf(fault.LockTimeout, "the keystore was changed meanwhile; nothing was changed").WithHint("%s", fixHint)
		}
		i.Keystore = string(o.store.Kind())
		if o.store.Kind() == keystore.File {
			i.KeyFile = keyFile
		}
		d.idx = i
		return nil
	}); err != nil {
		return err
	}
	d.b.store, d.b.opt.Keystore = o.store, ""
	return d.b.backUp(ctx) // what is there would lead back
}
