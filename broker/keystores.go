package broker

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/authferry/authferry/broker/index"
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
	if idx.Store != "" {
		if l, err := b.lock(ctx, b.index.ProbePath()); err == nil {
			defer l.Release()
			name = trialItem(idx)
		}
	}
	if err := b.set(ctx, name, keystore.NewSecret("probe")); err != nil {
		return err
	}
	return b.del(ctx, name)
}

// InitFileKeystore makes the folder use the file keystore with the key file at
// path, which is made where it doesn't exist. A folder whose accounts live in
// the keychain only learns of the key file: MigrateKeystore can move them then.
// The returned text warns of a key file that lies beside the vault it opens; it may be empty.
func (b *Broker) InitFileKeystore(ctx context.Context, path string) (warning string, err error) {
	return b.initFile(ctx, path, keystore.InitKeyFile)
}

// initFile is InitFileKeystore with the maker of a key file that is not there.
func (b *Broker) initFile(ctx context.Context, path string, makeKey func(path string) error) (warning string, err error) {
	path, err = filepath.Abs(path)
	if err != nil {
		return "", failf(Usage, "the key file's path does not do").because(err)
	}
	idx, err := b.readOrEmpty()
	if err != nil {
		return "", err
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		if idx.Keystore == string(keystore.File) && len(idx.Accounts) > 0 {
			return "", failf(KeystoreMismatch, "the vault of this folder is sealed to another key file, %s", idx.KeyFile).
				hint("restore that key file; a new one could not open the vault")
		}
		if err := makeKey(path); err != nil {
			if own, ok := errors.AsType[*Error](err); ok {
				return "", own
			}
			return "", failf(KeystoreDenied, "the key file can't be made").because(err)
		}
	} else if err != nil {
		return "", failf(KeystoreUnavailable, "the key file can't be looked at").because(err)
	}
	if b.store, err = b.openKind(keystore.File, path); err != nil {
		return "", err
	}
	if err := b.probe(ctx, idx); err != nil {
		return "", storeError(err)
	}
	if idx.Keystore == string(keystore.File) && len(idx.Accounts) > 0 {
		if err := b.opens(ctx, idx); err != nil {
			return "", err
		}
	}
	if b.exposed(path) {
		warning = "the key file lies in the same folder as the vault that it opens; whoever copies the folder has both"
	}
	return warning, b.update(ctx, index.Durable, func(i *index.Index) error {
		i.KeyFile = path
		if len(i.Accounts) == 0 || i.Keystore == "" {
			i.Keystore = string(keystore.File)
		}
		return nil
	})
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
	if _, err := b.get(ctx, manifestItem(idx)); err != nil {
		return failf(KeystoreMismatch, "this key file does not open the vault of this folder; nothing was changed").
			hint("use the key file that it was made with: %s", idx.KeyFile).because(err)
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

// MigrateKeystore moves every secret to the other keystore. It holds every
// account's rotation lock; the index names the new keystore only when all of
// it is there, and the old copies go after that. moved counts the items.
func (b *Broker) MigrateKeystore(ctx context.Context, to keystore.Kind) (moved int, err error) {
	idx, err := b.read()
	if err != nil {
		return 0, err
	}
	ids := accountIDs(idx)
	var locks []*index.Lock
	defer func() {
		for _, l := range locks {
			l.Release()
		}
	}()
	for _, id := range ids {
		l, err := b.lock(ctx, b.index.RotationPath(id))
		if err != nil {
			return 0, err
		}
		locks = append(locks, l)
	}
	// No account comes or goes while the manifest is locked.
	l, err := b.lock(ctx, b.index.ManifestPath())
	if err != nil {
		return 0, err
	}
	locks = append(locks, l)
	if idx, err = b.read(); err != nil {
		return 0, err
	}
	if now := accountIDs(idx); !slices.Equal(now, ids) {
		return 0, failf(LockTimeout, "an account was added or removed meanwhile; nothing was changed").hint("authferry keystore migrate %s", to)
	}
	b.opt.Keystore = "" // the recorded one is the source, whatever is asked for
	if err := b.checkFolder(idx); err != nil {
		return 0, err
	}
	if idx.Keystore == string(to) {
		return 0, failf(Usage, "the accounts of this folder already live in the %s keystore", to).hint("authferry keystore status")
	}
	if err := b.open(idx); err != nil {
		return 0, err
	}
	source := b.store
	target, err := b.openKind(to, b.keyFile(idx))
	if err != nil {
		return 0, err
	}
	m, err := b.readManifest(ctx, idx)
	if err != nil {
		return 0, storeError(err)
	}
	names := []string{manifestItem(idx)}
	for _, key := range m.Clients {
		names = append(names, idx.Store+"/client/"+key)
	}
	for _, id := range ids {
		m.add(id)
	}
	for _, id := range m.Accounts {
		if index.ValidID(id) {
			names = append(names, items(idx, id)...)
		}
	}
	var copied []string
	var done atomic.Int32
	defer b.opt.Progress(Step{Doing: func() string {
		return fmt.Sprintf("moving secrets to the %s keystore, %d of %d", to, done.Load(), len(names))
	}})()
	for _, name := range names {
		done.Add(1)
		b.store = source
		v, err := b.get(ctx, name)
		if unwritten(err) {
			continue
		}
		if err == nil {
			b.store = target
			err = b.set(ctx, name, v)
		}
		if err != nil {
			b.store = target
			for _, n := range copied {
				_ = b.del(ctx, n)
			}
			return 0, notMoved(err, keystore.Kind(idx.Keystore), to)
		}
		copied = append(copied, name)
	}
	reached("K20")
	if err := b.update(ctx, index.Durable, func(i *index.Index) error {
		if !slices.Equal(accountIDs(i), accountIDs(idx)) {
			return failf(LockTimeout, "an account was added meanwhile; nothing was changed").hint("authferry keystore migrate %s", to)
		}
		i.Keystore = string(to)
		if to == keystore.File {
			i.KeyFile = b.keyFile(idx)
		}
		return nil
	}); err != nil {
		return 0, err
	}
	b.store = source
	for _, name := range names {
		if err := b.del(ctx, name); err != nil {
			b.opt.Warn("the old keystore still has " + name + ": " + storeError(err).Error())
		}
	}
	b.store = target
	return len(copied), nil
}

// notMoved says where the secrets still are.
func notMoved(err error, from, to keystore.Kind) error {
	e, ok := errors.AsType[*Error](storeError(err))
	if !ok {
		return err
	}
	e.Message = fmt.Sprintf("the %s keystore did not take the secrets, so nothing was moved: all of them are still in the %s keystore", to, from)
	if to == keystore.Keychain {
		e.Hint = "authferry keystore migrate keychain, in a session with an unlocked keychain: a desktop's, not one of SSH or cron"
	}
	return e
}

func accountIDs(idx *index.Index) []string {
	var ids []string
	for _, a := range idx.Accounts {
		ids = append(ids, a.ID)
	}
	slices.Sort(ids)
	return ids
}
