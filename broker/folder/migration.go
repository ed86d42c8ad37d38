package folder

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// MigrateKeystore moves every secret to the other keystore. It holds every account's
// rotation lock. The index names the new keystore only when everything is there, and its
// backup does before the old copies are deleted. An interrupt before that undoes the
// copying; a later one has no effect. moved is the number of items.
func MigrateKeystore(ctx context.Context, f *Folder, to keystore.Kind) (moved int, err error) {
	f, let, err := f.Hold()
	if err != nil {
		return 0, err
	}
	defer let()
	idx, err := f.Read()
	if err != nil {
		return 0, err
	}
	ids := AccountIDs(idx)
	release, err := lockAll(ctx, f, ids)
	if err != nil {
		return 0, err
	}
	defer release()
	// No account comes or goes while the manifest is locked.
	l, err := f.Lock(ctx, lock.Manifest)
	if err != nil {
		return 0, err
	}
	defer l.Release()
	if idx, err = f.Read(); err != nil {
		return 0, err
	}
	if now := AccountIDs(idx); !slices.Equal(now, ids) {
		return 0, fault.Errorf(fault.LockTimeout, "an account was added or removed meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.MigrateKeystore, Value: string(to)})
	}
	f.Keystore = "" // the source is the recorded one, whatever AUTHFERRY_KEYSTORE says
	if err := CheckPlace(f, idx); err != nil {
		return 0, err
	}
	if idx.Keystore == string(to) {
		return 0, fault.Errorf(fault.Usage, "the accounts of this folder are already in the %s keystore", to).Try(fault.Remedy{Do: fault.ShowKeystore})
	}
	from, err := f.Open(idx)
	if err != nil {
		return 0, err
	}
	target, err := from.Over(to, f.KeyFileOf(idx))
	if err != nil {
		return 0, err
	}
	m := &migration{from: from, to: target, kind: to}
	if err := m.list(ctx); err != nil {
		return 0, err
	}
	if err := SealsTo(f, m.listed.KeyFile, f.KeyFileOf(idx), to); err != nil {
		return 0, err
	}
	if err := m.copy(ctx); err != nil {
		m.undo(context.WithoutCancel(ctx))
		return 0, notMoved(err, from.Store.Kind(), to)
	}
	Reached("K20")
	ctx = context.WithoutCancel(ctx)
	m.mark(ctx)
	Reached("K20 marked")
	if err := f.Update(ctx, index.Durable, func(i *index.Index) error {
		if !slices.Equal(AccountIDs(i), AccountIDs(idx)) {
			return fault.Errorf(fault.LockTimeout, "an account was added meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.MigrateKeystore, Value: string(to)})
		}
		i.Keystore = string(to)
		if to == keystore.File {
			i.KeyFile = f.KeyFileOf(idx)
		}
		return nil
	}); err != nil {
		// Some errors occur after the change has become visible.
		if now, readErr := f.Read(); readErr == nil && now.Keystore == idx.Keystore {
			m.undo(ctx)
		}
		return 0, err
	}
	Reached("K20 committed")
	if err := f.backUp(ctx); err != nil {
		return 0, fault.Errorf(fault.Internal, "the secrets are in the %s keystore now, and still in the old one too: the index's backup could not be updated", to).
			Try(fault.Remedy{Do: fault.Fix}).Because(err)
	}
	m.clear(ctx)
	return len(m.copied), nil
}

// migration is the items of a folder while they are moved.
type migration struct {
	from, to *Opened
	kind     keystore.Kind   // of to
	manifest record.Manifest // lists all that is moved, and what was left there before
	before   record.Manifest // what the target has of the folder already
	names    []string        // the items, without the manifest
	copied   []string
	listed   record.Manifest // what the source has
	marked   bool            // the source records where everything went
}

// list finds what is to be moved, even if the manifest was lost. A lost one is rewritten,
// so that from then on either keystore lists what is left in it.
func (m *migration) list(ctx context.Context) error {
	listed, err := m.from.Store.Manifest(ctx)
	if err != nil {
		return err
	}
	clients, err := m.from.Clients(ctx)
	if err != nil {
		return err
	}
	m.manifest = record.Manifest{V: listed.V, Store: listed.Store}
	if m.from.Store.Kind() == keystore.File { // undo needs the key that opens it now
		m.manifest.KeyFile, _ = keystore.KeyFileSum(m.from.Folder.KeyFileOf(m.from.Index))
	}
	m.manifest.AddAll(listed)
	m.manifest.AddAll(record.Manifest{Accounts: AccountIDs(m.from.Index), Clients: clients, Shares: sharedPools(m.from.Index)})
	m.names = m.manifest.Items()
	m.listed = m.manifest
	m.listed.KeyFile = listed.KeyFile
	if len(m.manifest.Accounts) > len(listed.Accounts) || len(m.manifest.Clients) > len(listed.Clients) || len(m.manifest.Shares) > len(listed.Shares) {
		// A keystore that no longer accepts writes can still be left.
		_ = m.from.Store.SetManifest(ctx, m.listed)
	}
	return nil
}

// mark makes the source record where everything went, just before the index names the
// target, so that an older index can't bring back what is left here.
func (m *migration) mark(ctx context.Context) {
	if m.listed.Empty() {
		return
	}
	marked, to := m.listed, m.kind
	marked.Moved = &record.Destination{Keystore: to}
	if to == keystore.File {
		marked.Moved.KeyFile = m.to.Folder.KeyFileOf(m.to.Index)
		marked.KeyFile, _ = keystore.KeyFileSum(marked.Moved.KeyFile)
	}
	m.marked = true // a write that failed may still be carried out
	if err := m.from.Store.SetManifest(ctx, marked); err != nil {
		m.from.Folder.Warn(fmt.Sprintf("the %s keystore can't record that the logins were moved (%v); don't restore an older index.json", m.from.Store.Kind(), err))
	}
}

// copy begins with the manifest, so that every copy is listed.
func (m *migration) copy(ctx context.Context) error {
	var done atomic.Int32
	defer m.to.Folder.Progress(Step{Doing: func() string {
		return fmt.Sprintf("moving secrets to the %s keystore, %d of %d", m.kind, done.Load(), len(m.names)+1)
	}})()
	done.Add(1)
	var err error
	// What is sealed to another key is lost already.
	if m.before, err = m.to.Store.Manifest(ctx); err != nil && !errors.Is(err, keystore.ErrDenied) {
		return err
	}
	// It was left by an interrupted migration, or the index comes from a backup. It stays
	// listed until a person has decided, and nothing newer is overwritten.
	if _, err = m.from.Alone(ctx, m.to, m.before); err != nil {
		return err
	}
	m.manifest.AddAll(m.before)
	if !m.manifest.Empty() {
		m.copied = append(m.copied, record.ManifestItem(m.manifest.Store))
		if err := m.to.Store.SetManifest(ctx, m.manifest); err != nil {
			return err
		}
	}
	for _, name := range m.names {
		done.Add(1)
		if err := ctx.Err(); err != nil {
			return err
		}
		found, err := m.to.Store.Copy(ctx, m.from.Store, name)
		if found {
			m.copied = append(m.copied, name) // a write that failed may still be carried out
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// undo deletes what was copied, the manifest last: while anything is left, it is listed.
func (m *migration) undo(ctx context.Context) {
	if m.marked {
		if err := m.from.Store.SetManifest(ctx, m.listed); err != nil {
			return // it may say that everything is there
		}
	}
	if len(m.copied) > 1 {
		if err := m.to.Store.Delete(ctx, m.copied[1:]...); err != nil {
			m.to.Folder.Warn(fmt.Sprintf("the %s keystore still has copies: %v", m.kind, err))
			return
		}
	}
	_ = m.to.Store.SetManifest(ctx, m.before)
}

// clear deletes what was moved from its old place, the manifest last for the same reason.
func (m *migration) clear(ctx context.Context) {
	left := false
	for _, name := range append(m.names, record.ManifestItem(m.manifest.Store)) {
		if left && name == record.ManifestItem(m.manifest.Store) {
			return
		}
		if err := m.from.Store.Delete(ctx, name); err != nil {
			left = true
			m.from.Folder.Warn("the old keystore still has " + name + ": " + err.Error())
		}
	}
}

// notMoved is an error that says where the secrets still are.
func notMoved(err error, from, to keystore.Kind) error {
	if errors.Is(err, context.Canceled) {
		return fault.Errorf(fault.Cancelled, "interrupted, so nothing was moved: all secrets are still in the %s keystore", from).
			Try(fault.Remedy{Do: fault.MigrateKeystore, Value: string(to)}).Because(err)
	}
	e, ok := errors.AsType[*fault.Error](err)
	if !ok || e.Code == fault.KeystoreMismatch {
		return err
	}
	e.Message = fmt.Sprintf("the %s keystore did not take the secrets, so nothing was moved: all of them are still in the %s keystore", to, from)
	if to == keystore.Keychain {
		e.Next = []fault.Remedy{{Do: fault.MigrateKeystore, Value: "keychain"}}
	}
	return e
}
