package folder

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// Opened is a folder with its index as it was read, and with the store of the keystore that
// this index names.
type Opened struct {
	Folder *Folder
	Index  *index.Index
	Store  *record.Store
}

// Open opens the keystore that idx records. That doesn't access a keychain.
func (f *Folder) Open(idx *index.Index) (*Opened, error) {
	kind, err := f.Kind(idx)
	if err != nil {
		return nil, err
	}
	if f.keys == nil || f.keys.Kind() != kind {
		if kind == keystore.File && f.KeyFile == "" && Strange(f, idx.KeyFile) {
			return nil, fault.Errorf(fault.KeystoreUnavailable, "index.json says that the key file is on the network share %q; it was not accessed", idx.KeyFile).
				Try(fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_KEY_FILE", Value: "PATH"})
		}
		if f.keys, err = f.openKind(kind, f.KeyFileOf(idx)); err != nil {
			return nil, err
		}
		if f.Faults != nil {
			f.keys = f.Faults(f.keys)
		}
	}
	return f.over(idx, f.keys), nil
}

func (f *Folder) over(idx *index.Index, keys keystore.Store) *Opened {
	return &Opened{f, idx, record.At(idx.Store, &guarded{keystore.FileAt(keys, f.Vault()), f, f.Dir})}
}

// OpenForChange is Open for changes of the keystore, or for sending a refresh token that is
// in it. It checks that the folder is no copy of another one, and that no migration has
// left the keystore.
func (f *Folder) OpenForChange(ctx context.Context, idx *index.Index) (*Opened, error) {
	if err := CheckPlace(f, idx); err != nil {
		return nil, err
	}
	o, err := f.Open(idx)
	if err != nil || len(idx.Accounts) == 0 {
		return o, err
	}
	m, err := o.Store.Manifest(ctx)
	if err == nil {
		err = o.superseded(ctx, m)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

// Prepare makes the folder and its index if they are missing, calls check, and opens the
// keystore for a change. The returned index names that keystore; the one on disk does so
// only when the first secret is stored.
func (f *Folder) Prepare(ctx context.Context, check func(*index.Index) error) (*Opened, error) {
	var idx index.Index
	if err := f.UpdateOrMake(ctx, index.Durable, func(i *index.Index) error {
		kind, err := f.Kind(i)
		if err != nil {
			return err
		}
		idx = *i
		idx.Keystore = string(kind)
		return check(i)
	}); err != nil {
		return nil, err
	}
	return f.OpenForChange(ctx, &idx)
}

// Ready is OpenForChange, and tries whether the keystore accepts a secret. It leaves
// nothing behind.
func (f *Folder) Ready(ctx context.Context, idx *index.Index) (o *Opened, err error) {
	if idx.Store == "" {
		o, err = f.Open(idx)
	} else {
		o, err = f.OpenForChange(ctx, idx)
	}
	if err == nil {
		err = o.Probe(ctx)
	}
	return o, err
}

// at is o with the current index.
func (o *Opened) at(now *index.Index) *Opened { return &Opened{o.Folder, now, o.Store} }

// Grants returns the grants that the keystore has of an account.
func (o *Opened) Grants(ctx context.Context, account string) (record.Grants, error) {
	pointed := ""
	if a := o.Index.Account(account); a != nil {
		pointed = a.GrantSlot
	}
	return o.Store.Grants(ctx, account, pointed)
}

// Access returns the access record that idx points to, cached or from the keystore; nil if
// there is none that matches.
func (f *Folder) Access(ctx context.Context, idx *index.Index, a *index.Account) (*record.Access, error) {
	if a.AccessSlot == "" {
		return nil, nil
	}
	if acc := f.Memory.Access(idx, a); acc != nil {
		return acc, nil
	}
	o, err := f.Open(idx)
	if err != nil {
		return nil, err
	}
	acc, err := o.Store.Access(ctx, a.ID, a.AccessSlot)
	if err != nil || acc == nil || acc.Generation != a.Generation {
		return nil, err
	}
	f.Memory.Keep(idx, a, acc, nil)
	return acc, nil
}

// APIKey returns the grant with a's key, cached or from the keystore; nil: the keystore has
// none.
func (f *Folder) APIKey(ctx context.Context, idx *index.Index, a *index.Account) (*record.Grant, error) {
	if g := f.Memory.Key(idx, a); g != nil {
		return g, nil
	}
	o, err := f.Open(idx)
	if err != nil {
		return nil, err
	}
	g, err := o.Store.Grant(ctx, a.ID, a.GrantSlot)
	if err != nil {
		return nil, err
	}
	if g == nil || g.Generation != a.Generation {
		all, err := o.Grants(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		g = all.Best
	}
	if g == nil || g.APIKey.Empty() {
		return nil, o.Missing(ctx)
	}
	f.Memory.Keep(idx, a, nil, g)
	return g, nil
}

// guarded is a keystore with the keychain's time-out. Before each access to a vault the
// folder is located again; a keychain doesn't depend on the folder.
type guarded struct {
	keystore.Store
	f   *Folder
	dir string // the dir of f when the store was opened
}

func (g *guarded) still() error {
	if g.Kind() != keystore.File {
		return nil
	}
	f := g.f
	if err := cmp.Or(f.index.Still(), f.index.VaultStill()); err != nil {
		return Fault(err)
	}
	if f.Dir = f.index.Dir(); f.Dir != g.dir {
		g.Store, g.dir = keystore.FileAt(g.Store, f.Vault()), f.Dir
	}
	return nil
}

func (g *guarded) Get(ctx context.Context, name string) (keystore.Secret, error) {
	if err := g.still(); err != nil {
		return keystore.Secret{}, err
	}
	ctx, over := g.f.Within(ctx, g.f.KeychainTimeout, g.waiting())
	defer over()
	return g.Store.Get(ctx, name)
}

func (g *guarded) Set(ctx context.Context, name string, value keystore.Secret) error {
	if err := cmp.Or(g.still(), g.f.Mine()); err != nil {
		return err
	}
	ctx, over := g.f.Within(ctx, g.f.KeychainTimeout, g.waiting())
	defer over()
	return g.Store.Set(ctx, name, value)
}

func (g *guarded) Delete(ctx context.Context, name string) error {
	if err := cmp.Or(g.still(), g.f.Mine()); err != nil {
		return err
	}
	ctx, over := g.f.Within(ctx, g.f.KeychainTimeout, g.waiting())
	defer over()
	return g.Store.Delete(ctx, name)
}

// waiting says that it may be a prompt: usually nothing else makes a keystore slow.
func (g *guarded) waiting() func() string {
	kind, backend := g.Kind(), g.Backend()
	return func() string {
		if kind == keystore.Keychain {
			return "waiting for the " + backend + ", which may be asking you something"
		}
		return "waiting for the " + backend
	}
}

// Strange reports whether path, from index.json, is on another network share than this
// folder.
func Strange(f *Folder, path string) bool { return OnShare(path) && !OnShare(f.Dir) }

// KeyFileOf is the path of the file keystore's key file; empty: unknown.
func (f *Folder) KeyFileOf(idx *index.Index) string {
	asked := f.KeyFile
	if asked == "" && Strange(f, idx.KeyFile) {
		return ""
	}
	if asked == "" {
		return idx.KeyFile
	}
	if abs, err := filepath.Abs(asked); err == nil {
		return abs
	}
	return asked
}

// Kind is the kind of keystore that the folder has, or will have.
func (f *Folder) Kind(idx *index.Index) (keystore.Kind, error) {
	recorded, asked := keystore.Kind(idx.Keystore), f.Keystore
	switch asked {
	case "", keystore.Keychain, keystore.File:
	default:
		return "", fault.Errorf(fault.Usage, "AUTHFERRY_KEYSTORE is %q, not keychain or file", string(asked))
	}
	switch {
	case recorded == "" && asked == "":
		return keystore.Keychain, nil
	case recorded == "":
		return asked, nil
	case asked != "" && asked != recorded:
		return "", fault.Errorf(fault.KeystoreMismatch, "the accounts of this folder are in the %s keystore, and AUTHFERRY_KEYSTORE says %s", recorded, asked).
			Try(fault.Remedy{Do: fault.WithoutVariable, Name: "AUTHFERRY_KEYSTORE"}, fault.Remedy{Do: fault.MigrateKeystore, Value: string(asked)})
	}
	return recorded, nil
}

func (f *Folder) openKind(kind keystore.Kind, keyFile string) (keystore.Store, error) {
	if kind == keystore.Keychain {
		if f.OpenKeychain != nil {
			return f.OpenKeychain(), nil
		}
		return keystore.OpenKeychain(), nil
	}
	if keyFile == "" {
		return nil, fault.Errorf(fault.KeystoreUnavailable, "the file keystore has no key file yet").
			Try(fault.Remedy{Do: fault.InitKeystore}, fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_KEY_FILE", Value: "PATH"})
	}
	s, err := keystore.OpenFile(f.Vault(), keyFile)
	if errors.Is(err, keystore.ErrLocked) {
		dropOver()
		return nil, SealedError(keyFile, err)
	}
	if err != nil {
		return nil, KeyFileError(keyFile, err)
	}
	return s, nil
}

// KeyFileError is the error for a key file that can't be used.
func KeyFileError(keyFile string, err error) *fault.Error {
	if user := os.Geteuid(); errors.Is(err, fs.ErrPermission) && user >= 0 { // in a container this user may have no name
		return fault.Errorf(fault.KeystoreUnavailable, "user %d may not read the file keystore's key file", user).
			Try(fault.Remedy{Do: fault.GiveBack, Name: strconv.Itoa(user), Path: keyFile}, fault.Remedy{Do: fault.LookAtFile, Path: keyFile}).Because(err)
	}
	return fault.Errorf(fault.KeystoreUnavailable, "the file keystore's key file %s can't be used: mount or restore it, or name another one", keyFile).
		Try(fault.Remedy{Do: fault.LookAtFile, Path: keyFile}, fault.Remedy{Do: fault.SetVariable, Name: "AUTHFERRY_KEY_FILE", Value: "PATH"}).Because(err)
}
