package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// index checks the index, and reports whether there is a usable one.
func (d *examination) index(ctx context.Context) bool {
	idx, err := d.f.ReadOrEmpty()
	if fault.CodeOf(err) == fault.IndexCorrupt {
		good, lastErr := d.f.File().LastGood()
		switch {
		case errors.Is(lastErr, fs.ErrNotExist), errors.Is(lastErr, index.ErrCorrupt):
			return d.lost(ctx)
		case lastErr != nil:
			d.fail("index", folder.Fault(lastErr))
			return false
		case !d.fix:
			d.try("index", Fail, fixing, "index.json is damaged; accounts in its backup: %d", len(good.Accounts))
			return false
		}
		if idx, err = d.mendIndex(ctx, good, "restored from its backup"); err != nil {
			d.fail("index", err)
			return false
		}
	}
	if err != nil {
		d.fail("index", folder.Fault(err))
		return false
	}
	d.idx = idx
	switch {
	case idx.Store == "" && d.f.File().HasVault():
		return d.lost(ctx)
	case idx.Store != "" && !d.place(ctx):
		return false
	}
	d.say("index", OK, "%s", plural(len(d.idx.Accounts), "account"))
	return true
}

// mendIndex replaces an unusable index by ix, and returns the index that is there
// afterwards: another doctor may have been faster.
func (d *examination) mendIndex(ctx context.Context, ix *index.Index, how string) (*index.Index, error) {
	now, mended, err := d.f.Mend(ctx, ix)
	if err != nil {
		return nil, err
	}
	if mended {
		d.say("index", OK, "index.json was damaged; it was %s", how)
	} else {
		d.say("index", OK, "index.json was damaged; something else fixed it meanwhile")
	}
	return now, nil
}

// lost handles a folder in which neither index nor backup can be used. The items of its
// vault say which store it had. With fix, that store gets a new index, and the checks that
// follow find its logins. It reports whether there is an index.
func (d *examination) lost(ctx context.Context) bool {
	if !d.f.File().HasVault() {
		d.say("index", Fail, "index.json and its backup are damaged, and what is in a keychain can only be found by the index: "+
			"restore one of them from your own backup; if you have none, move both away and log in again")
		return false
	}
	keyFile := d.f.KeyFileOf(&index.Index{})
	if own := filepath.Join(d.f.Dir, "key.age"); keyFile == "" {
		if _, err := os.Stat(own); err != nil {
			d.try("index", Fail, fault.Remedy{Do: fault.FixWithKey}, "index.json and its backup can't be used; they can be rebuilt with the key file of the vault")
			return false
		}
		keyFile = own
	}
	names, err := keystore.FileItems(d.f.Vault(), keyFile)
	switch {
	case errors.Is(err, keystore.ErrLocked):
		d.fail("index", folder.SealedError(keyFile, err))
		return false
	case err != nil:
		d.fail("index", folder.KeyFileError(keyFile, err))
		return false
	}
	var stores []string
	for _, name := range names {
		if store, item, _ := strings.Cut(name, "/"); strings.Contains(item, "/grant:") && !slices.Contains(stores, store) {
			stores = append(stores, store)
		}
	}
	switch {
	case len(stores) == 0:
		d.say("index", Fail, "index.json and its backup can't be used, and %s opens no login in the vault; is it the right key file?", keyFile)
		return false
	case len(stores) > 1:
		d.say("index", Fail, "index.json and its backup can't be used, and the vault has the logins of %d folders, as after copying a folder; only the index knew which one this is: restore it from your own backup", len(stores))
		return false
	case !d.fix:
		d.try("index", Fail, fixing, "index.json and its backup can't be used; the logins in the vault can be recovered, without labels, pools and holds")
		return false
	}
	path, err := index.RealPath(d.f.Dir)
	if err != nil {
		d.fail("index", folder.Fault(err))
		return false
	}
	if d.idx, err = d.mendIndex(ctx, &index.Index{Schema: index.Schema, Store: stores[0], Path: path, Keystore: string(keystore.File), KeyFile: keyFile},
		"rebuilt from the vault; labels, pools and holds are lost"); err != nil {
		d.fail("index", err)
		return false
	}
	return true
}

// place checks that the folder is no copy of another one. With fix, a copy gets a store of
// its own, without logins: the original keeps the grants. A folder that was moved keeps its
// store, even if its new path can't be recorded now.
func (d *examination) place(ctx context.Context) bool {
	err := folder.CheckPlace(d.f, d.idx)
	if fault.CodeOf(err) == fault.Fenced && d.fix && !folder.IsIn(d.idx.Path, d.f.Dir) {
		err = d.f.Update(ctx, index.Durable, func(i *index.Index) error {
			if i.Store != d.idx.Store || i.Path != d.idx.Path {
				return fault.Errorf(fault.LockTimeout, "the folder was given another identity meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Doctor})
			}
			real, err := index.RealPath(d.f.Dir)
			i.Store, i.Path = index.NewStoreID(), real
			for n := range i.Accounts {
				a := &i.Accounts[n]
				a.GrantSlot, a.AccessSlot, a.Fingerprint, a.Dead = "", "", "", ""
				a.Intents, a.Failure, a.ExpiresAt, a.ObtainedAt = nil, nil, time.Time{}, time.Time{}
			}
			d.idx = i
			return err
		})
		if err == nil {
			d.say("copy", OK, "this folder was a copy and is independent now; the logins stayed with the original")
		}
	}
	switch {
	case fault.CodeOf(err) == fault.Fenced:
		d.fail("copy", err)
	case err != nil:
		d.fail("folder", err)
	}
	return err == nil
}
