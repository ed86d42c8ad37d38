package record

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Manifest is the keystore item that says which accounts a store has: go-keyring
// can't list, and a lost index must not orphan secrets unseen.
type Manifest struct {
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
	Moved *Destination `json:"moved,omitempty"`
}

// AddClient adds a client's ClientKey.
func (m *Manifest) AddClient(key string) {
	if !slices.Contains(m.Clients, key) {
		m.Clients = append(m.Clients, key)
	}
}

// Add adds an account.
func (m *Manifest) Add(id string) {
	if !slices.Contains(m.Accounts, id) {
		m.Accounts = append(m.Accounts, id)
	}
}

// AddAll adds what more lists.
func (m *Manifest) AddAll(more Manifest) {
	for _, id := range more.Accounts {
		m.Add(id)
	}
	for _, key := range more.Clients {
		m.AddClient(key)
	}
	for _, id := range more.Removing {
		m.Bury(id)
	}
}

// Empty reports that nothing is listed.
func (m *Manifest) Empty() bool { return len(m.Accounts)+len(m.Clients) == 0 }

// Remove takes an account out.
func (m *Manifest) Remove(id string) {
	is := func(x string) bool { return x == id }
	m.Accounts, m.Removing = slices.DeleteFunc(m.Accounts, is), slices.DeleteFunc(m.Removing, is)
}

// Bury notes that a person had the account removed.
func (m *Manifest) Bury(id string) {
	if !slices.Contains(m.Removing, id) {
		m.Removing = append(m.Removing, id)
	}
}

// parseManifest returns the manifest of a store; any other lists nothing.
func parseManifest(s keystore.Secret, store string) Manifest {
	var m Manifest
	if json.Unmarshal([]byte(s.Reveal()), &m) != nil || m.Store != store {
		m = Manifest{}
	}
	m.V, m.Store = RecordVersion, store
	return m
}

// DropClient takes a client out.
func (m *Manifest) DropClient(key string) {
	m.Clients = slices.DeleteFunc(m.Clients, func(x string) bool { return x == key })
}

// Destination is where a migration moved everything, as the manifest of the keystore
// that it left says. The index can't be asked for that: it may be one from before.
type Destination struct {
	Keystore keystore.Kind `json:"keystore"`
	KeyFile  string        `json:"key_file,omitempty"` // of the file keystore
}

// AddItems adds what these items of the manifest's store are of.
func (m *Manifest) AddItems(names []string) {
	for _, name := range names {
		item, ours := strings.CutPrefix(name, m.Store+"/")
		of, what, _ := strings.Cut(item, "/")
		switch {
		case !ours:
		case of == "client":
			m.AddClient(what)
		case index.ValidID(of):
			m.Add(of)
		}
	}
}
