package record

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Manifest is the keystore item that lists the accounts of a store. Keychains can't be
// listed, and without it a lost index would leave secrets that nobody finds.
type Manifest struct {
	V        int      `json:"v"`
	Store    string   `json:"store"`
	Accounts []string `json:"accounts"`
	Clients  []string `json:"clients,omitempty"` // the clients whose secrets have items
	Shares   []string `json:"shares,omitempty"`  // the pools in which this machine has a membership
	// Removing lists accounts that a person removed. The index alone is not believed about
	// that, because it would end a login.
	Removing []string `json:"removing,omitempty"`
	// KeyFile identifies the key file that a person chose for the file keystore while
	// everything is in the keychain (keystore.KeyFileSum). index.json alone is not believed
	// about that: secrets could be sealed to another's key.
	KeyFile string `json:"key_file,omitempty"`
	// Moved says where a migration moved everything; nil: it is here.
	Moved *Destination `json:"moved,omitempty"`
}

// AddClient adds a client by its ClientKey.
func (m *Manifest) AddClient(key string) {
	m.Clients = with(m.Clients, key)
}

// AddShare adds a shared pool by its id.
func (m *Manifest) AddShare(pool string) {
	m.Shares = with(m.Shares, pool)
}

// Add adds an account.
func (m *Manifest) Add(id string) {
	m.Accounts = with(m.Accounts, id)
}

// with is list with s in it.
func with(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// without is list without s.
func without(list []string, s string) []string {
	return slices.DeleteFunc(list, func(x string) bool { return x == s })
}

// AddAll adds everything that more lists.
func (m *Manifest) AddAll(more Manifest) {
	for _, lists := range []struct {
		to   *[]string
		more []string
	}{{&m.Accounts, more.Accounts}, {&m.Clients, more.Clients}, {&m.Shares, more.Shares}, {&m.Removing, more.Removing}} {
		for _, s := range lists.more {
			*lists.to = with(*lists.to, s)
		}
	}
}

// Empty reports whether nothing is listed.
func (m *Manifest) Empty() bool { return len(m.Accounts)+len(m.Clients)+len(m.Shares) == 0 }

// Remove removes an account from the list.
func (m *Manifest) Remove(id string) {
	m.Accounts, m.Removing = without(m.Accounts, id), without(m.Removing, id)
}

// Bury records that a person removed the account.
func (m *Manifest) Bury(id string) {
	m.Removing = with(m.Removing, id)
}

// parseManifest reads the manifest of a store; one of another store counts as empty.
func parseManifest(s keystore.Secret, store string) Manifest {
	var m Manifest
	if json.Unmarshal([]byte(s.Reveal()), &m) != nil || m.Store != store {
		m = Manifest{}
	}
	m.V, m.Store = RecordVersion, store
	return m
}

// DropClient removes a client from the list.
func (m *Manifest) DropClient(key string) {
	m.Clients = without(m.Clients, key)
}

// DropShare removes a shared pool from the list.
func (m *Manifest) DropShare(pool string) {
	m.Shares = without(m.Shares, pool)
}

// Destination says where a migration moved everything. The manifest of the old keystore
// says so, because the index may be from before the migration.
type Destination struct {
	Keystore keystore.Kind `json:"keystore"`
	KeyFile  string        `json:"key_file,omitempty"` // of the file keystore
}

// AddItems adds the accounts, clients and shared pools that these items of the manifest's store belong
// to.
func (m *Manifest) AddItems(names []string) {
	for _, name := range names {
		item, ours := strings.CutPrefix(name, m.Store+"/")
		of, what, _ := strings.Cut(item, "/")
		switch {
		case !ours:
		case of == "client":
			m.AddClient(what)
		case of == "share" && index.ValidSharedPoolID(what):
			m.AddShare(what)
		case index.ValidID(of):
			m.Add(of)
		}
	}
}
