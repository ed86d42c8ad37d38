package record

import "github.com/authferry/authferry/broker/index"

// Slots are the places of an account's records of one kind.
var Slots = []string{"a", "b", "c", "d"}

// The names of items. Each begins with the store id of the folder, so that two folders
// never share an item.

// GrantItem is the name of an account's grant in a slot.
func GrantItem(store, account, slot string) string { return store + "/" + account + "/grant:" + slot }

// AccessItem is the name of an account's access record in a slot.
func AccessItem(store, account, slot string) string { return store + "/" + account + "/access:" + slot }

// ClientItem is the name of a client's secret. It is made of ClientKey and not of the
// provider: an account keeps the client that it logged in with when the provider's data
// changes.
func ClientItem(store, key string) string { return store + "/client/" + key }

// ShareItem is the name of the membership in a pool that machines share (package share).
func ShareItem(store, pool string) string { return store + "/share/" + pool }

// ManifestItem is the name of the manifest.
func ManifestItem(store string) string { return store + "/manifest" }

// TrialItem is written by a person's command to see whether the keystore works.
func TrialItem(store string) string { return store + "/probe" }

// probeItem is written by a rotation for the same purpose.
func probeItem(store, account string) string { return store + "/" + account + "/probe" }

// Items are the names of all items that an account may have.
func Items(store, account string) []string {
	names := []string{probeItem(store, account)}
	for _, s := range Slots {
		names = append(names, AccessItem(store, account, s), GrantItem(store, account, s))
	}
	return names
}

// Items are the names of all items that the manifest lists, but not its own.
func (m *Manifest) Items() []string {
	var names []string
	for _, key := range m.Clients {
		names = append(names, ClientItem(m.Store, key))
	}
	for _, pool := range m.Shares {
		if index.ValidSharedPoolID(pool) {
			names = append(names, ShareItem(m.Store, pool))
		}
	}
	for _, id := range m.Accounts {
		if index.ValidID(id) {
			names = append(names, Items(m.Store, id)...)
		}
	}
	return names
}
