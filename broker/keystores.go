package broker

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

// KeystoreStatus is which keystore the folder has and whether it works now.
type KeystoreStatus struct {
	Kind    string `json:"kind"`
	Backend string `json:"backend"`
	Usable  bool   `json:"usable"`
	// UnlockedUntil is for a key file that is sealed with a passphrase.
	UnlockedUntil time.Time `json:"unlocked_until,omitzero"`
	// Err is why it isn't usable.
	Err error `json:"-"`
}

// KeystoreStatus probes the keystore with a write, a read and a delete of an
// item of its own.
func (b *Broker) KeystoreStatus(ctx context.Context) (KeystoreStatus, error) {
	idx, err := b.readOrEmpty()
	if err != nil {
		return KeystoreStatus{}, err
	}
	kind, err := b.kind(idx)
	if err != nil {
		return KeystoreStatus{}, err
	}
	s := KeystoreStatus{Kind: string(kind), Backend: "age files in " + b.vaultDir()}
	if s.Err = b.open(idx); s.Err == nil {
		s.Backend, s.Err = b.store.Backend(), storeError(b.probe(ctx, idx))
	}
	s.Usable = s.Err == nil
	if kind == keystore.File {
		s.UnlockedUntil, _ = keystore.UnlockedUntil(b.keyFile(idx))
	}
	return s, nil
}

// probePrefix names the probes of folders that have no store yet.
const probePrefix = "probe/"

// probe writes, reads back and deletes an item that is nobody's. It is the same
// one every time, so that the next probe takes away what a killed one left; and
// under a lock, because two at once would find theirs deleted. Where there is no
// store yet, or no lock to be had, it is one of its own.
func (b *Broker) probe(ctx context.Context, idx *index.Index) error {
	name := probePrefix + index.NewStoreID()
	if idx.Store == "" && b.store.Kind() == keystore.File {
		if err := b.makeFolder(); err != nil {
			return err
		}
	}
	if idx.Store != "" {
		if l, err := b.lock(ctx, lock.Probe); err == nil {
			defer l.Release()
			name = record.TrialItem(idx)
		}
	}
	if err := b.set(ctx, name, keystore.NewSecret("probe")); err != nil {
		return err
	}
	return b.del(context.WithoutCancel(ctx), name) // an interrupt leaves none behind
}

// InitFileKeystore makes the folder use the file keystore with the key file at
// path, which is made where it doesn't exist. A folder whose accounts or client
// secrets are in the keychain only learns of the key file: MigrateKeystore can move
// them then.
// The returned text warns of a key file that lies beside the vault it opens; it may be empty.
func (b *Broker) InitFileKeystore(ctx context.Context, path string) (warning string, err error) {
	if err := asWritten("--key-file", path); err != nil {
		return "", err
	}
	return b.initFile(ctx, path, keystore.InitKeyFile)
}

// initFile is InitFileKeystore with the maker of a key file that is not there.
func (b *Broker) initFile(ctx context.Context, path string, makeKey func(path string) error) (warning string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", fault.Errorf(fault.Usage, "the key file's path does not do").Because(err)
	}
	idx, err := b.readOrEmpty()
	if err != nil {
		return "", err
	}
	if err := cmp.Or(b.mine(), b.ownerError(atomicfile.Mine(filepath.Dir(path)))); err != nil {
		return "", err
	}
	sealed := idx.Keystore == string(keystore.File) && (len(idx.Accounts) > 0 || keystore.HasItem(b.vaultDir(), record.ManifestItem(idx)))
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if sealed {
			return "", fault.Errorf(fault.KeystoreMismatch, "the vault of this folder is sealed to another key file, %s", idx.KeyFile).
				WithHint("restore that key file; a new one could not open the vault")
		}
		if err := makeKey(path); err != nil {
			if own, ok := errors.AsType[*fault.Error](err); ok {
				return "", own
			}
			return "", fault.Errorf(fault.KeystoreDenied, "the key file can't be made").Because(err)
		}
	} else if err != nil {
		return "", fault.Errorf(fault.KeystoreUnavailable, "the key file can't be looked at").Because(err)
	}
	if b.store, err = b.openKind(keystore.File, path); err != nil {
		return "", err
	}
	if err := b.probe(ctx, idx); err != nil {
		return "", storeError(err)
	}
	if sealed {
		if err := b.opens(ctx, idx); err != nil {
			return "", err
		}
	}
	if b.exposed(path) {
		warning = "the key file lies in the same folder as the vault that it opens; whoever copies the folder has both"
	}
	// Nothing gets into the keychain while it is asked whether it is empty.
	l, err := b.lock(ctx, lock.Manifest)
	if err != nil {
		return "", err
	}
	defer l.Release()
	if idx, err = b.readOrEmpty(); err != nil {
		return "", err
	}
	stays := b.inKeychain(ctx, idx)
	if len(idx.Accounts) > 0 || stays {
		if err := b.chooseKeyFile(ctx, idx, path); err != nil {
			return "", err
		}
	}
	return warning, b.updateOrMake(ctx, index.Durable, func(i *index.Index) error {
		i.KeyFile = path
		if len(i.Accounts) == 0 && !stays || i.Keystore == "" {
			i.Keystore = string(keystore.File)
		}
		return nil
	})
}

// chooseKeyFile notes in the keychain which key file a migration out of it may seal
// to. The manifest is locked.
func (b *Broker) chooseKeyFile(ctx context.Context, idx *index.Index, path string) error {
	if idx.Keystore != string(keystore.Keychain) {
		return nil
	}
	sum, err := keystore.KeyFileSum(path)
	if err != nil {
		return storeError(err)
	}
	s, err := b.openKind(keystore.Keychain, "")
	if err == nil {
		err = b.over(s).rewriteManifest(ctx, idx, func(m *record.Manifest) { m.KeyFile = sum })
	}
	if err != nil { // without it there is nothing to migrate either
		b.opt.Warn(fmt.Sprintf("the keychain can't be asked (%v); before secrets are moved out of it, run this command again", storeError(err)))
	}
	return nil
}

// inKeychain reports whether the keychain has secrets of a folder without accounts,
// which are those of clients, and tells of them. A keychain that can't be asked is
// no reason to stay with it.
func (b *Broker) inKeychain(ctx context.Context, idx *index.Index) bool {
	if idx.Keystore != string(keystore.Keychain) || len(idx.Accounts) > 0 {
		return false
	}
	s, err := b.openKind(keystore.Keychain, "")
	if err != nil {
		return false
	}
	chain := b.over(s)
	m, err := chain.readManifest(ctx, idx)
	if err == nil && m.Empty() {
		m.Clients, err = chain.clientKeys(ctx, idx)
	}
	if err != nil {
		b.opt.Warn(fmt.Sprintf("it is not known whether the keychain has client secrets of this folder (%v); authferry provider add NAME --client-secret-stdin brings one again", storeError(err)))
		return false
	}
	if m.Empty() {
		return false
	}
	b.opt.Warn("the client secrets of this folder are in the keychain, and stay there until: authferry keystore migrate file")
	return true
}

// exposed reports whether the key file lies beside the vault as it is, not
// sealed with a passphrase.
func (b *Broker) exposed(keyFile string) bool {
	if !inside(b.opt.Dir, keyFile) {
		return false
	}
	sealed, err := keystore.KeyFileSealed(keyFile)
	return err == nil && !sealed
}

// opens checks that b.store can read what is stored.
func (b *Broker) opens(ctx context.Context, idx *index.Index) error {
	if _, err := b.get(ctx, record.ManifestItem(idx)); err != nil {
		return fault.Errorf(fault.KeystoreMismatch, "this key file does not open the vault of this folder; nothing was changed").
			WithHint("use the key file that it was made with: %s", idx.KeyFile).Because(err)
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
