package broker

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// readManifest returns the manifest; a missing or damaged one lists nothing.
func (b *Broker) readManifest(ctx context.Context, idx *index.Index) (record.Manifest, error) {
	m := record.Manifest{V: record.RecordVersion, Store: idx.Store}
	s, err := b.get(ctx, record.ManifestItem(idx))
	if unwritten(err) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	return record.ParseManifest(s, idx.Store), nil
}

// withManifest runs do under the manifest's lock, in which no migration can begin.
// One that ended since idx was read has emptied b.store: that is errMoved, a
// LockTimeout.
func (b *Broker) withManifest(ctx context.Context, idx *index.Index, do func(now *index.Index) error) error {
	l, err := b.lock(ctx, lock.Manifest)
	if err != nil {
		return err
	}
	defer l.Release()
	now, err := b.readOrEmpty()
	if err != nil {
		return err
	}
	if err := b.unmoved(now, idx); err != nil {
		return err
	}
	return do(now)
}

// unmoved refuses to keep anything in b.store where now, the index as it is, has
// another keystore: there nobody would find it.
func (b *Broker) unmoved(now, idx *index.Index) error {
	if now.Store != idx.Store || now.Keystore != "" && now.Keystore != string(b.store.Kind()) {
		return errMoved
	}
	return nil
}

var errMoved = fault.Errorf(fault.LockTimeout, "the keystore was changed meanwhile; nothing was changed").WithHint("run the command again")

// whileMoving does anew what a migration at that very moment got in the way of: do
// opens the keystore that is the folder's then.
func whileMoving(do func() error) error {
	err := do()
	for range 2 {
		if !errors.Is(err, errMoved) {
			break
		}
		err = do()
	}
	return err
}

// changeManifest changes the manifest under its own lock.
func (b *Broker) changeManifest(ctx context.Context, idx *index.Index, change func(*record.Manifest)) error {
	return b.withManifest(ctx, idx, func(now *index.Index) error { return b.rewriteManifest(ctx, now, change) })
}

// rewriteManifest is changeManifest for whoever has the lock. The manifest is
// overwritten in place, and a write that is cut short leaves a damaged item: so the
// index's accounts are always added again, and the client secrets looked for where
// nothing is listed.
func (b *Broker) rewriteManifest(ctx context.Context, idx *index.Index, change func(*record.Manifest)) error {
	m, err := b.readManifest(ctx, idx)
	if err == nil && m.Empty() {
		m.Clients, err = b.clientKeys(ctx, idx)
	}
	if err != nil {
		return err
	}
	for _, id := range accountIDs(idx) {
		m.Add(id)
	}
	change(&m)
	return b.writeManifest(ctx, m)
}

// writeManifest replaces the manifest; one that lists nothing is deleted.
func (b *Broker) writeManifest(ctx context.Context, m record.Manifest) error {
	name := record.ManifestItem(&index.Index{Store: m.Store})
	if m.Empty() {
		return b.del(ctx, name)
	}
	v, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return b.set(ctx, name, keystore.NewSecret(string(v)))
}
