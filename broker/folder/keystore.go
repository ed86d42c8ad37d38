package folder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// KeystoreStatus says which keystore the folder has and whether it works now.
type KeystoreStatus struct {
	Kind    string `json:"kind"`    // keychain or file
	Backend string `json:"backend"` // what that is here: where the files are, say
	Usable  bool   `json:"usable"`
	// UnlockedUntil: of a key file that is sealed with a passphrase.
	UnlockedUntil time.Time `json:"unlocked_until,omitzero"`
	// Err says why it isn't usable.
	Err error `json:"-"`
}

// TryKeystore probes the keystore: it writes, reads and deletes an item made for that.
func TryKeystore(ctx context.Context, f *Folder) (KeystoreStatus, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return KeystoreStatus{}, err
	}
	kind, err := f.Kind(idx)
	if err != nil {
		return KeystoreStatus{}, err
	}
	s := KeystoreStatus{Kind: string(kind), Backend: "age files in " + f.Vault()}
	var o *Opened
	if o, s.Err = f.Open(idx); s.Err == nil {
		s.Backend, s.Err = o.Store.Backend(), o.Probe(ctx)
	}
	s.Usable = s.Err == nil
	if kind == keystore.File {
		s.UnlockedUntil, _ = keystore.UnlockedUntil(f.KeyFileOf(idx))
	}
	return s, nil
}

// Probe writes, reads back and deletes an item that belongs to no account. It does so under
// a lock: otherwise two at once would delete each other's. Where there is no store yet, or
// the lock can't be had, the item has a name of its own.
func (o *Opened) Probe(ctx context.Context) error {
	locked := false
	if o.Index.Store == "" && o.Store.Kind() == keystore.File {
		if err := o.Folder.Make(); err != nil {
			return err
		}
	}
	if o.Index.Store != "" {
		if l, err := o.Folder.Lock(ctx, lock.Probe); err == nil {
			defer l.Release()
			locked = true
		}
	}
	return o.Store.Probe(ctx, locked)
}

// InitFileKeystore makes the folder use the file keystore, with the key file at path, which
// is made if it doesn't exist. If accounts or client secrets are in the keychain, the
// folder only learns of the key file, and MigrateKeystore can move them then. The returned
// text, if any, is a warning that the key file is in the same folder as the vault that it
// opens.
func InitFileKeystore(ctx context.Context, f *Folder, path string) (warning string, err error) {
	if err := asWritten("--key-file", path); err != nil {
		return "", err
	}
	return initFile(ctx, f, path, keystore.InitKeyFile)
}

// initFile is InitFileKeystore with a function that makes a missing key file.
func initFile(ctx context.Context, f *Folder, path string, makeKey func(path string) error) (warning string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fault.Errorf(fault.Usage, "invalid path of the key file").Because(err)
	}
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return "", err
	}
	if err := cmp.Or(f.Mine(), OwnerError(atomicfile.Mine(filepath.Dir(path)), f.Dir)); err != nil {
		return "", err
	}
	sealed := idx.Keystore == string(keystore.File) && (len(idx.Accounts) > 0 || keystore.HasItem(f.Vault(), record.ManifestItem(idx.Store)))
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if sealed {
			return "", fault.Errorf(fault.KeystoreMismatch, "the vault of this folder is sealed to another key file, %s: restore that one; a new one could not open the vault", idx.KeyFile).
				Try(fault.Remedy{Do: fault.LookAtFile, Path: idx.KeyFile})
		}
		if err := makeKey(path); err != nil {
			if own, ok := errors.AsType[*fault.Error](err); ok {
				return "", own
			}
			return "", fault.Errorf(fault.KeystoreDenied, "the key file can't be made").Because(err)
		}
	} else if err != nil {
		return "", fault.Errorf(fault.KeystoreUnavailable, "the key file can't be examined").Because(err)
	}
	keys, err := f.openKind(keystore.File, path)
	if err != nil {
		return "", err
	}
	o := f.over(idx, keys)
	if err := o.Probe(ctx); err != nil {
		return "", err
	}
	if sealed {
		if err := o.readable(ctx); err != nil {
			return "", err
		}
	}
	if Exposed(f, path) {
		warning = "the key file is in the same folder as the vault that it opens; anyone who copies the folder has both"
	}
	// While the keychain is checked for secrets, none must be added.
	l, err := f.Lock(ctx, lock.Manifest)
	if err != nil {
		return "", err
	}
	defer l.Release()
	if idx, err = f.ReadOrEmpty(); err != nil {
		return "", err
	}
	stays := inKeychain(ctx, f, idx)
	if len(idx.Accounts) > 0 || stays {
		if err := chooseKeyFile(ctx, f, idx, path); err != nil {
			return "", err
		}
	}
	f.KeyFile = path // for the rest of this command, whatever the environment says
	return warning, f.UpdateOrMake(ctx, index.Durable, func(i *index.Index) error {
		i.KeyFile = path
		if len(i.Accounts) == 0 && !stays || i.Keystore == "" {
			i.Keystore = string(keystore.File)
		}
		return nil
	})
}

// chooseKeyFile records in the keychain which key file a migration may seal to. The
// manifest is locked.
func chooseKeyFile(ctx context.Context, f *Folder, idx *index.Index, path string) error {
	if idx.Keystore != string(keystore.Keychain) {
		return nil
	}
	sum, err := keystore.KeyFileSum(path)
	if err != nil {
		return record.Fault(err)
	}
	s, err := f.openKind(keystore.Keychain, "")
	if err == nil {
		err = f.over(idx, s).rewriteManifest(ctx, func(m *record.Manifest) { m.KeyFile = sum })
	}
	if err != nil { // if it can't be reached, nothing can be migrated either
		f.Warn(fmt.Sprintf("the keychain can't be reached (%v); run this command again before secrets are moved out of it", record.Fault(err)))
	}
	return nil
}

// inKeychain reports whether the keychain has secrets of a folder without accounts, which
// are those of clients and of shared pools, and warns about them. If the keychain can't be read, that doesn't
// keep anyone from leaving it.
func inKeychain(ctx context.Context, f *Folder, idx *index.Index) bool {
	if idx.Keystore != string(keystore.Keychain) || len(idx.Accounts) > 0 {
		return false
	}
	s, err := f.openKind(keystore.Keychain, "")
	if err != nil {
		return false
	}
	chain := f.over(idx, s)
	m, err := chain.Store.Manifest(ctx)
	if err == nil && m.Empty() {
		m.Clients, err = chain.Clients(ctx)
	}
	if err != nil {
		f.Warn(fmt.Sprintf("the keychain may have client secrets of this folder (%v); if one is missing, enter it again", record.Fault(err)), fault.Remedy{Do: fault.StoreSecret})
		return false
	}
	if m.Empty() {
		return false
	}
	f.Warn("this folder has secrets in the keychain, and they stay there until they are moved", fault.Remedy{Do: fault.MigrateKeystore, Value: "file"})
	return true
}

// Exposed reports whether the key file is in the same folder as the vault and not sealed
// with a passphrase.
func Exposed(f *Folder, keyFile string) bool {
	if !inside(f.Dir, keyFile) {
		return false
	}
	sealed, err := keystore.KeyFileSealed(keyFile)
	return err == nil && !sealed
}

// readable checks that the keystore can read what is stored.
func (o *Opened) readable(ctx context.Context) error {
	found, err := o.Store.Has(ctx, record.ManifestItem(o.Index.Store))
	if err != nil || !found {
		return fault.Errorf(fault.KeystoreMismatch, "this key file does not open the vault of this folder; nothing was changed").
			Try(fault.Remedy{Do: fault.InitKeystore, Path: o.Index.KeyFile}).Because(err)
	}
	return nil
}

func inside(dir, path string) bool {
	real, err := index.RealPath(dir)
	if err != nil {
		real = dir
	}
	rel, err := filepath.Rel(real, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator))
}
