package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// lost is about a folder without an index or a backup that could be used. What is
// sealed in its vault says which store it had; with fix that gets an index, and
// the checks after this one find its logins. It reports whether there is an index.
func (d *doctor) lost(ctx context.Context) bool {
	if !d.b.File().HasVault() {
		d.say("index", CheckFail, "index.json is damaged and so is its backup, and what a keychain has is found by the index alone: "+
			"put either back from a backup of yours; if there is none, move both away, and log in again")
		return false
	}
	keyFile := d.b.KeyFileOf(&index.Index{})
	if own := filepath.Join(d.b.Dir, "key.age"); keyFile == "" {
		if _, err := os.Stat(own); err != nil {
			d.try("index", CheckFail, fault.Remedy{Do: fault.FixWithKey}, "index.json and its backup can't be used; with the key file of its vault they can be made anew")
			return false
		}
		keyFile = own
	}
	names, err := keystore.FileItems(d.b.Vault(), keyFile)
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
		d.say("index", CheckFail, "index.json and its backup can't be used, and %s opens no login in the vault; is it the right key file?", keyFile)
		return false
	case len(stores) > 1:
		d.say("index", CheckFail, "index.json and its backup can't be used, and the vault has the logins of %d folders, as a copied folder leaves them; only the index knew which one this is: put it back from a backup of yours", len(stores))
		return false
	case !d.fix:
		d.try("index", CheckFail, fixing, "index.json and its backup can't be used; the logins in the vault can be had again, without labels, pools and holds")
		return false
	}
	path, err := index.RealPath(d.b.Dir)
	if err != nil {
		d.fail("index", folder.Fault(err))
		return false
	}
	if d.idx, err = d.mendIndex(ctx, &index.Index{Schema: index.Schema, Store: stores[0], Path: path, Keystore: string(keystore.File), KeyFile: keyFile},
		"made anew for what is in the vault; labels, pools and holds are lost"); err != nil {
		d.fail("index", err)
		return false
	}
	return true
}

// other is the folder over the keystore that the folder does not use, and what
// that has of it; nil where it has nothing, or where looking would trouble somebody.
func (d *doctor) other(ctx context.Context) (*folder.Opened, record.Manifest) {
	kind := keystore.Keychain
	if d.o.Store.Kind() == kind {
		kind = keystore.File
	} else if d.b.OpenKeychain == nil {
		bounded, cancel := context.WithTimeout(ctx, min(d.b.KeychainTimeout, 2*time.Second)) // nobody asked for it
		defer cancel()
		if !keystore.InKeychain(bounded, record.ManifestItem(d.idx.Store)) {
			return nil, record.Manifest{}
		}
	}
	keyFile := d.b.KeyFileOf(d.idx)
	o, err := d.o.Over(kind, keyFile)
	if err != nil {
		return nil, record.Manifest{}
	}
	m, err := o.Store.Manifest(ctx)
	if err != nil {
		return nil, record.Manifest{}
	}
	if kind == keystore.File {
		names, _ := keystore.FileItems(d.b.Vault(), keyFile)
		m.AddItems(names)
	}
	if m.Empty() {
		return nil, record.Manifest{}
	}
	return o, m
}

// elsewhere is about a keystore that has nothing of this folder. Where the other
// one has its logins, the index is from before a migration, and with fix it names
// that one again. It reports whether the folder has its keystore now.
func (d *doctor) elsewhere(ctx context.Context) bool {
	o, _ := d.other(ctx)
	found, older := false, false
	if o != nil {
		found, older = logins(ctx, o)
	}
	switch {
	case !found && d.b.File().HasVault() && d.b.KeyFileOf(d.idx) == "":
		d.try("manifest", CheckFail, fault.Remedy{Do: fault.FixWithKey}, "this keystore has nothing of this folder, and which key file opens the vault beside index.json is not known; no login is lost by that")
		return false
	case !found:
		d.try("manifest", CheckFail, fault.Remedy{Do: fault.ShowKeystore}, "this keystore has nothing of this folder: it is another session's or another daemon's, or its file is not there; no login is lost by that")
		return false
	case older: // an index from before a migration can't know more than this one took along
		d.try("manifest", CheckFail, fault.Remedy{Do: fault.ShowKeystore}, "this keystore has nothing of this folder at this moment, and the %s keystore only what a migration left there, whose refresh tokens may be spent; the logins are in the one that was used last", o.Store.Kind())
		return false
	}
	has := o.Store.Kind()
	if !d.fix {
		d.try("manifest", CheckFail, fixing, "the logins are in the %s keystore, and index.json, from before they were moved there, names another one", has)
		return false
	}
	if err := d.follow(ctx, o, d.b.KeyFileOf(d.idx)); err != nil {
		d.fail("manifest", err)
		return false
	}
	d.say("manifest", CheckOK, "index.json was from before the logins were moved to the %s keystore, and names that one again", has)
	return true
}

// logins reports whether o's store has a grant of any account, and whether one of them
// is older than the index knows it to be.
func logins(ctx context.Context, o *folder.Opened) (found, older bool) {
	for i := range o.Index.Accounts {
		a := &o.Index.Accounts[i]
		if stored, err := o.Grants(ctx, a.ID); err == nil && stored.Best != nil {
			found, older = true, older || stored.Best.Generation < a.Generation
		}
	}
	return found, older
}
