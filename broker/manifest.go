package broker

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/keystore"
)

// manifest is the keystore item that says which accounts a store has: go-keyring
// can't list, and a lost index must not orphan secrets unseen.
type manifest struct {
	V        int      `json:"v"`
	Store    string   `json:"store"`
	Accounts []string `json:"accounts"`
	Clients  []string `json:"clients,omitempty"` // of the items with client secrets
	// Removing are accounts that a person had removed: the index's tombstone alone
	// is no reason to end a login.
	Removing []string `json:"removing,omitempty"`
	// KeyFile is which one a person chose for the file keystore while all is in the
	// keychain (keystore.KeyFileSum): index.json alone is no reason to seal anything
	// to a key.
	KeyFile string `json:"key_file,omitempty"`
	// Moved is where a migration has moved everything; nil: it is here.
	Moved *destination `json:"moved,omitempty"`
}

func (m *manifest) addClient(key string) {
	if !slices.Contains(m.Clients, key) {
		m.Clients = append(m.Clients, key)
	}
}

func (m *manifest) add(id string) {
	if !slices.Contains(m.Accounts, id) {
		m.Accounts = append(m.Accounts, id)
	}
}

func (m *manifest) addAll(more manifest) {
	for _, id := range more.Accounts {
		m.add(id)
	}
	for _, key := range more.Clients {
		m.addClient(key)
	}
	for _, id := range more.Removing {
		m.bury(id)
	}
}

func (m *manifest) empty() bool { return len(m.Accounts)+len(m.Clients) == 0 }

func (m *manifest) remove(id string) {
	is := func(x string) bool { return x == id }
	m.Accounts, m.Removing = slices.DeleteFunc(m.Accounts, is), slices.DeleteFunc(m.Removing, is)
}

func (m *manifest) bury(id string) {
	if !slices.Contains(m.Removing, id) {
		m.Removing = append(m.Removing, id)
	}
}

// readManifest returns the manifest; a missing or damaged one lists nothing.
func (b *Broker) readManifest(ctx context.Context, idx *index.Index) (manifest, error) {
	m := manifest{V: recordVersion, Store: idx.Store}
	s, err := b.get(ctx, manifestItem(idx))
	if unwritten(err) {
		return m, nil
	}
	if err != nil {
		return m, err
	}
	return parseManifest(s, idx.Store), nil
}

// parseManifest returns the manifest of a store; any other lists nothing.
func parseManifest(s keystore.Secret, store string) manifest {
	var m manifest
	if json.Unmarshal([]byte(s.Reveal()), &m) != nil || m.Store != store {
		m = manifest{}
	}
	m.V, m.Store = recordVersion, store
	return m
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
func (b *Broker) changeManifest(ctx context.Context, idx *index.Index, change func(*manifest)) error {
	return b.withManifest(ctx, idx, func(now *index.Index) error { return b.rewriteManifest(ctx, now, change) })
}

// rewriteManifest is changeManifest for whoever has the lock. The manifest is
// overwritten in place, and a write that is cut short leaves a damaged item: so the
// index's accounts are always added again, and the client secrets looked for where
// nothing is listed.
func (b *Broker) rewriteManifest(ctx context.Context, idx *index.Index, change func(*manifest)) error {
	m, err := b.readManifest(ctx, idx)
	if err == nil && m.empty() {
		m.Clients, err = b.clientKeys(ctx, idx)
	}
	if err != nil {
		return err
	}
	for _, id := range accountIDs(idx) {
		m.add(id)
	}
	change(&m)
	return b.writeManifest(ctx, m)
}

// writeManifest replaces the manifest; one that lists nothing is deleted.
func (b *Broker) writeManifest(ctx context.Context, m manifest) error {
	name := manifestItem(&index.Index{Store: m.Store})
	if m.empty() {
		return b.del(ctx, name)
	}
	v, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return b.set(ctx, name, keystore.NewSecret(string(v)))
}

func (m *manifest) dropClient(key string) {
	m.Clients = slices.DeleteFunc(m.Clients, func(x string) bool { return x == key })
}
