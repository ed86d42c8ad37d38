package record

import (
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
)

// Items are the names of all items that an account may have.
func Items(idx *index.Index, id string) []string {
	names := []string{ProbeItem(idx, id)}
	for _, s := range Slots {
		names = append(names, AccessItem(idx, id, s), GrantItem(idx, id, s))
	}
	return names
}

// Item names. Every one starts with the store id, so that two folders never
// share an item.
func GrantItem(idx *index.Index, account, slot string) string {
	return idx.Store + "/" + account + "/grant:" + slot
}

func AccessItem(idx *index.Index, account, slot string) string {
	return idx.Store + "/" + account + "/access:" + slot
}

func ProbeItem(idx *index.Index, account string) string {
	return idx.Store + "/" + account + "/probe"
}

// ClientItem is by endpoint and client, not by provider: an account keeps the
// client that it was logged in with when the provider's data changes.
func ClientItem(idx *index.Index, e oauth.Endpoint) string {
	return idx.Store + "/client/" + ClientKey(e)
}

// TrialItem is what a person's command tries the keystore with.
func TrialItem(idx *index.Index) string { return idx.Store + "/probe" }

func ManifestItem(idx *index.Index) string { return idx.Store + "/manifest" }

var Slots = []string{"a", "b", "c", "d"}
