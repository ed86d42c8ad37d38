package broker

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

// MigrateKeystore moves every secret to the other keystore. It holds every
// account's rotation lock; the index names the new keystore only when all of
// it is there, its backup too before the old copies go. An interrupt before that
// takes back what was copied; one after it changes nothing. moved counts the items.
func (b *Broker) MigrateKeystore(ctx context.Context, to keystore.Kind) (moved int, err error) {
	b, let, err := b.hold()
	if err != nil {
		return 0, err
	}
	defer let()
	idx, err := b.read()
	if err != nil {
		return 0, err
	}
	ids := accountIDs(idx)
	release, err := b.lockAll(ctx, ids)
	if err != nil {
		return 0, err
	}
	defer release()
	// No account comes or goes while the manifest is locked.
	l, err := b.lock(ctx, lock.Manifest)
	if err != nil {
		return 0, err
	}
	defer l.Release()
	if idx, err = b.read(); err != nil {
		return 0, err
	}
	if now := accountIDs(idx); !slices.Equal(now, ids) {
		return 0, fault.Errorf(fault.LockTimeout, "an account was added or removed meanwhile; nothing was changed").WithHint("authferry keystore migrate %s", to)
	}
	b.opt.Keystore = "" // the recorded one is the source, whatever is asked for
	if err := b.checkFolder(idx); err != nil {
		return 0, err
	}
	if idx.Keystore == string(to) {
		return 0, fault.Errorf(fault.Usage, "the accounts of this folder already live in the %s keystore", to).WithHint("authferry keystore status")
	}
	if err := b.open(idx); err != nil {
		return 0, err
	}
	target, err := b.openKind(to, b.keyFile(idx))
	if err != nil {
		return 0, err
	}
	m := &migration{idx: idx, from: b.over(b.store), to: b.over(target)}
	if err := m.list(ctx); err != nil {
		return 0, storeError(err)
	}
	if err := sealsTo(m.listed.KeyFile, b.opt.KeyFile, b.keyFile(idx), to); err != nil {
		return 0, err
	}
	if err := m.copy(ctx, to); err != nil {
		m.undo(context.WithoutCancel(ctx))
		return 0, notMoved(err, m.from.store.Kind(), to)
	}
	reached("K20")
	ctx = context.WithoutCancel(ctx)
	m.mark(ctx, to)
	reached("K20 marked")
	if err := b.update(ctx, index.Durable, func(i *index.Index) error {
		if !slices.Equal(accountIDs(i), accountIDs(idx)) {
			return fault.Errorf(fault.LockTimeout, "an account was added meanwhile; nothing was changed").WithHint("authferry keystore migrate %s", to)
		}
		i.Keystore = string(to)
		if to == keystore.File {
			i.KeyFile = b.keyFile(idx)
		}
		return nil
	}); err != nil {
		// Some errors come when the change is visible already.
		if now, readErr := b.read(); readErr == nil && now.Keystore == idx.Keystore {
			m.undo(ctx)
		}
		return 0, err
	}
	reached("K20 committed")
	b.store = target
	if err := b.backUp(ctx); err != nil {
		return 0, fault.Errorf(fault.Internal, "the secrets are in the %s keystore now, and in the old one still: the index's backup could not be brought up to date", to).
			WithHint("authferry doctor --fix").Because(err)
	}
	m.clear(ctx)
	return len(m.copied), nil
}

// lockAll takes the rotation locks of accounts, whose ids are in order.
func (b *Broker) lockAll(ctx context.Context, ids []string) (release func(), err error) {
	var locks []*lock.Lock
	release = func() {
		for _, l := range locks {
			l.Release()
		}
	}
	for _, id := range ids {
		l, err := b.lockAccount(ctx, id)
		if err != nil {
			release()
			return nil, err
		}
		locks = append(locks, l)
	}
	return release, nil
}

// migration is the items of a folder on their way.
type migration struct {
	idx      *index.Index
	from, to *Broker
	manifest record.Manifest // of all that is moved, and of what was left there before
	before   record.Manifest // what the target has of the folder already
	names    []string        // of the items, without the manifest
	copied   []string
	listed   record.Manifest // what the source has
	marked   bool            // the source says where everything went
}

// sealsTo refuses a key file that only index.json names: whoever wrote that could
// read what is sealed to it. chosen is a manifest's KeyFile, asked what the command
// was told.
func sealsTo(chosen, asked, path string, to keystore.Kind) error {
	if to != keystore.File || asked != "" {
		return nil
	}
	if sum, err := keystore.KeyFileSum(path); err == nil && sum != chosen {
		return fault.Errorf(fault.KeystoreMismatch, "index.json names the key file %s, which was not chosen for what is in the keychain, or was changed since; nothing was changed", quote(path)).
			WithHint("export AUTHFERRY_KEY_FILE=%s, if it is yours; then run the command again", Arg(path))
	}
	return nil
}

// over is this Broker with another store.
func (b *Broker) over(s keystore.Store) *Broker {
	c := *b
	c.store = s
	return &c
}

// backUp makes the index's backup the same as the index.
func (b *Broker) backUp(ctx context.Context) error {
	ctx, over := b.within(ctx, b.opt.LockTimeout, forLock(lock.Index.In(b.index.Dir())))
	defer over()
	return b.index.BackUp(ctx)
}

// list finds what there is to move, also where the manifest was lost. It is written
// anew if it was: from then on either keystore says what is left in it.
func (m *migration) list(ctx context.Context) error {
	listed, err := m.from.readManifest(ctx, m.idx)
	if err != nil {
		return err
	}
	clients, err := m.from.clientKeys(ctx, m.idx)
	if err != nil {
		return err
	}
	m.manifest = record.Manifest{V: listed.V, Store: listed.Store}
	if m.from.store.Kind() == keystore.File { // it may go back to the key that opens it now
		m.manifest.KeyFile, _ = keystore.KeyFileSum(m.from.keyFile(m.idx))
	}
	m.manifest.AddAll(listed)
	m.manifest.AddAll(record.Manifest{Accounts: accountIDs(m.idx), Clients: clients})
	for _, key := range m.manifest.Clients {
		m.names = append(m.names, m.idx.Store+"/client/"+key)
	}
	for _, id := range m.manifest.Accounts {
		if index.ValidID(id) {
			m.names = append(m.names, record.Items(m.idx, id)...)
		}
	}
	m.listed = m.manifest
	m.listed.KeyFile = listed.KeyFile
	if len(m.manifest.Accounts) > len(listed.Accounts) || len(m.manifest.Clients) > len(listed.Clients) {
		// A keystore that takes nothing any more can still be left.
		_ = m.from.writeManifest(ctx, m.listed)
	}
	return nil
}

// mark has the source say where everything is, from just before the index names that:
// an older index must not bring back what is left here.
func (m *migration) mark(ctx context.Context, to keystore.Kind) {
	if m.listed.Empty() {
		return
	}
	marked := m.listed
	marked.Moved = &record.Destination{Keystore: to}
	if to == keystore.File {
		marked.Moved.KeyFile = m.to.keyFile(m.idx)
		marked.KeyFile, _ = keystore.KeyFileSum(marked.Moved.KeyFile)
	}
	m.marked = true // a write that fails may still arrive
	if err := m.from.writeManifest(ctx, marked); err != nil {
		m.from.opt.Warn(fmt.Sprintf("the %s keystore can't note that the logins were moved (%v); don't put an older index.json back", m.from.store.Kind(), storeError(err)))
	}
}

// copy begins with the manifest, so that nothing gets there unseen.
func (m *migration) copy(ctx context.Context, to keystore.Kind) error {
	var done atomic.Int32
	defer m.to.opt.Progress(Step{Doing: func() string {
		return fmt.Sprintf("moving secrets to the %s keystore, %d of %d", to, done.Load(), len(m.names)+1)
	}})()
	done.Add(1)
	var err error
	// What is sealed to another key is lost already.
	if m.before, err = m.to.readManifest(ctx, m.idx); err != nil && !errors.Is(err, keystore.ErrDenied) {
		return err
	}
	// It was left by a migration that was cut off, or the index is one from a backup:
	// it stays listed until somebody has looked, and nothing newer is written over.
	if _, err = m.from.compare(ctx, m.idx, m.to, m.before); err != nil {
		return err
	}
	m.manifest.AddAll(m.before)
	if !m.manifest.Empty() {
		m.copied = append(m.copied, record.ManifestItem(m.idx))
		if err := m.to.writeManifest(ctx, m.manifest); err != nil {
			return err
		}
	}
	for _, name := range m.names {
		done.Add(1)
		if err := ctx.Err(); err != nil {
			return err
		}
		v, err := m.from.get(ctx, name)
		if unwritten(err) {
			continue
		}
		if err != nil {
			return err
		}
		m.copied = append(m.copied, name) // a write that fails may still arrive
		if err := m.to.set(ctx, name, v); err != nil {
			return err
		}
	}
	return nil
}

// undo deletes what was copied, the manifest last: as long as anything is left, it
// says so.
func (m *migration) undo(ctx context.Context) {
	if m.marked {
		if err := m.from.writeManifest(ctx, m.listed); err != nil {
			return // it may say yet that everything is there
		}
	}
	for _, name := range m.copied {
		if name == record.ManifestItem(m.idx) {
			continue
		}
		if err := m.to.del(ctx, name); err != nil {
			m.to.opt.Warn(fmt.Sprintf("the %s keystore still has copies: %v", m.to.store.Kind(), storeError(err)))
			return
		}
	}
	_ = m.to.writeManifest(ctx, m.before)
}

// clear deletes what was moved from where it was, the manifest last for the same
// reason.
func (m *migration) clear(ctx context.Context) {
	left := false
	for _, name := range m.names {
		if err := m.from.del(ctx, name); err != nil {
			left = true
			m.from.opt.Warn("the old keystore still has " + name + ": " + storeError(err).Error())
		}
	}
	if left {
		return
	}
	if err := m.from.del(ctx, record.ManifestItem(m.idx)); err != nil {
		m.from.opt.Warn("the old keystore still has " + record.ManifestItem(m.idx) + ": " + storeError(err).Error())
	}
}

// notMoved says where the secrets still are.
func notMoved(err error, from, to keystore.Kind) error {
	if errors.Is(err, context.Canceled) {
		return fault.Errorf(fault.Cancelled, "interrupted, so nothing was moved: all secrets are still in the %s keystore", from).
			WithHint("authferry keystore migrate %s", to).Because(err)
	}
	e, ok := errors.AsType[*fault.Error](storeError(err))
	if !ok || e.Code == fault.KeystoreMismatch {
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
