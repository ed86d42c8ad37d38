package broker

import (
	"context"
	"encoding/json"
	"slices"

	"github.com/authferry/authferry/broker/index"
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

// changeManifest changes the manifest under its own lock. It is overwritten in
// place; a write that is cut short leaves a damaged item, so the index's
// accounts are always added again.
func (b *Broker) changeManifest(ctx context.Context, idx *index.Index, change func(*manifest)) error {
	l, err := b.lock(ctx, b.index.ManifestPath())
	if err != nil {
		return err
	}
	defer l.Release()
	m, err := b.readManifest(ctx, idx)
	if err != nil {
		return err
	}
	if now, err := b.readOrEmpty(); err == nil {
		for _, a := range now.Accounts {
			m.add(a.ID)
		}
	}
	change(&m)
	if len(m.Accounts)+len(m.Clients) == 0 {
		return b.del(ctx, manifestItem(idx))
	}
	v, err := json.Marshal(m)
	if err != nil {
		return err
	}
	return b.set(ctx, manifestItem(idx), keystore.NewSecret(string(v)))
}

func (m *manifest) dropClient(key string) {
	m.Clients = slices.DeleteFunc(m.Clients, func(x string) bool { return x == key })
}
