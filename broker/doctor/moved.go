package doctor

import (
	"cmp"
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// other is the folder with the keystore that it doesn't use, and what that has of it; nil
// if it has nothing, or if looking could prompt somebody.
func (d *examination) other(ctx context.Context) (*folder.Opened, record.Manifest) {
	kind := keystore.Keychain
	if d.o.Store.Kind() == kind {
		kind = keystore.File
	} else if d.f.OpenKeychain == nil {
		bounded, cancel := context.WithTimeout(ctx, min(d.f.KeychainTimeout, 2*time.Second)) // nobody asked for it
		defer cancel()
		if !keystore.InKeychain(bounded, record.ManifestItem(d.idx.Store)) {
			return nil, record.Manifest{}
		}
	}
	keyFile := d.f.KeyFileOf(d.idx)
	o, err := d.o.Over(kind, keyFile)
	if err != nil {
		return nil, record.Manifest{}
	}
	m, err := o.Store.Manifest(ctx)
	if err != nil {
		return nil, record.Manifest{}
	}
	if kind == keystore.File {
		names, _ := keystore.FileItems(d.f.Vault(), keyFile)
		m.AddItems(names)
	}
	if m.Empty() {
		return nil, record.Manifest{}
	}
	return o, m
}

// elsewhere is for a keystore that has nothing of this folder. If the other keystore has
// its logins, the index is from before a migration; with fix it is corrected. It reports
// whether the folder has its keystore now.
func (d *examination) elsewhere(ctx context.Context) bool {
	o, _ := d.other(ctx)
	found, older := false, false
	if o != nil {
		found, older = logins(ctx, o)
	}
	switch {
	case !found && d.f.File().HasVault() && d.f.KeyFileOf(d.idx) == "":
		d.try("manifest", Fail, fault.Remedy{Do: fault.FixWithKey}, "this keystore has nothing of this folder, and the key file of the vault beside index.json is unknown; no login is lost")
		return false
	case !found:
		d.try("manifest", Fail, fault.Remedy{Do: fault.ShowKeystore}, "this keystore has nothing of this folder: it belongs to another session or daemon, or its file is missing; no login is lost")
		return false
	case older: // an index from before a migration can't know more than the migration took along
		d.try("manifest", Fail, fault.Remedy{Do: fault.ShowKeystore}, "this keystore has nothing of this folder now, and the %s keystore only has what a migration left there, whose refresh tokens may be spent; the logins are in the keystore that was used last", o.Store.Kind())
		return false
	}
	has := o.Store.Kind()
	if !d.fix {
		d.try("manifest", Fail, fixing, "the logins are in the %s keystore, and index.json is from before they were moved there", has)
		return false
	}
	if err := d.follow(ctx, o, d.f.KeyFileOf(d.idx)); err != nil {
		d.fail("manifest", err)
		return false
	}
	d.say("manifest", OK, "index.json was from before the logins were moved to the %s keystore; it is corrected", has)
	return true
}

// logins reports whether o's store has a grant of any account, and whether any of them is
// older than the index says.
func logins(ctx context.Context, o *folder.Opened) (found, older bool) {
	for i := range o.Index.Accounts {
		a := &o.Index.Accounts[i]
		if stored, err := o.Grants(ctx, a.ID); err == nil && stored.Best != nil {
			found, older = true, older || stored.Best.Generation < a.Generation
		}
	}
	return found, older
}

// moved is for a keystore whose manifest says that a migration left it although the index
// names it. It reports whether the folder has its keystore now.
func (d *examination) moved(ctx context.Context, m record.Manifest) bool {
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
	case !there: // killed before its commit: its copies are treated as leftovers
		if d.fix {
			if err := d.o.ChangeManifest(ctx, func(m *record.Manifest) { m.Moved = nil }); err != nil {
				d.fail("manifest", err)
				return false
			}
		}
		return true
	case here:
		d.say("manifest", Fail, "the logins were moved to the %s keystore, but some were used in the %s keystore since; nothing was changed: restore the latest index.json, if you have it", to, from)
		return false
	case !d.fix:
		d.fail("manifest", folder.MovedAway(to, from))
		return false
	}
	// No rotation may be running in the keystore that is given up.
	release, err := d.o.LockAccounts(ctx, m)
	if err == nil {
		defer release()
		err = d.follow(ctx, o, cmp.Or(m.Moved.KeyFile, d.f.KeyFileOf(d.idx)))
	}
	if err != nil {
		d.fail("manifest", err)
		return false
	}
	d.say("manifest", OK, "index.json was from before the logins were moved to the %s keystore; it is corrected", to)
	return true
}

// follow makes the index name the keystore of o.
func (d *examination) follow(ctx context.Context, o *folder.Opened, keyFile string) error {
	now, err := d.o.Follow(ctx, o, keyFile)
	if now != nil {
		d.o, d.idx = now, now.Index
	}
	return err
}
