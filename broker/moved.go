package broker

import (
	"cmp"
	"context"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
)

// moved is about a keystore whose manifest says that a migration left it, and that the
// index names all the same. It reports whether the folder has its keystore now.
func (d *doctor) moved(ctx context.Context, m record.Manifest) bool {
	o, err := d.o.MovedTo(m)
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	here, there, err := d.o.Ages(ctx, o, m)
	to, from := m.Moved.Keystore, d.o.Store.Kind()
	switch {
	case err != nil:
		d.fail("manifest", err)
		return false
	case !there: // killed before its commit: what it copied is looked after as any leftover
		if d.fix {
			if err := d.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Moved = nil }); err != nil {
				d.fail("manifest", err)
				return false
			}
		}
		return true
	case here:
		d.say("manifest", CheckFail, "the logins were moved to the %s keystore, but some were used in the %s keystore since; nothing was changed: put back the index.json that was there last, if you have it", to, from)
		return false
	case !d.fix:
		d.fail("manifest", folder.MovedAway(to, from))
		return false
	}
	// No rotation may be under way in what is left.
	release, err := d.o.LockAccounts(ctx, m)
	if err == nil {
		defer release()
		err = d.follow(ctx, o, cmp.Or(m.Moved.KeyFile, d.b.KeyFileOf(d.idx)))
	}
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	d.say("manifest", CheckOK, "index.json was from before the logins were moved to the %s keystore, and names that one again", to)
	return true
}

// follow makes the index name the keystore of o.
func (d *doctor) follow(ctx context.Context, o *folder.Opened, keyFile string) error {
	now, err := d.o.Follow(ctx, o, keyFile)
	if now != nil {
		d.o, d.idx = now, now.Index
	}
	return err
}
