package seal

import (
	"encoding/json"
	"time"

	"github.com/authferry/authferry/keystore"
)

// Holds is what machines tell each other of an account's limits, and that its settings were
// changed. Any machine of the pool,
// consumers included, may write it: it is believed as far as its reader's caps allow.
//
// No two machines' clocks are compared. So each time stands there twice: by the clock of the
// machine that wrote it, and as the time that was left, or had passed, when it was written.
// Each entry has an ID, which never comes again.
type Holds struct {
	Holds []Hold `json:"holds,omitempty"` // one for each scope
	Usage *Usage `json:"usage,omitempty"` // nil: nothing is known
	// Probe names the newest time that a caller was let through although the account is held.
	Probe string `json:"probe,omitempty"`
	// Settings names the newest change of what holders say of the account in its record
	// (Public): who doesn't know it reads the record.
	Settings string `json:"settings,omitempty"`
}

// Hold is a hold, as in index.Hold.
type Hold struct {
	ID      string        `json:"id"`
	Scope   string        `json:"scope"`
	Source  string        `json:"source"`
	Proven  bool          `json:"proven,omitempty"`
	Cut     bool          `json:"cut,omitempty"`
	Guesses int           `json:"guesses,omitempty"`
	Until   time.Time     `json:"until"`
	Left    time.Duration `json:"left"` // until then
	Age     time.Duration `json:"age"`  // since the limit was met
}

// Usage has all quota windows that the machine knew which wrote it.
type Usage struct {
	ID      string   `json:"id"`
	Windows []Window `json:"windows"`
}

// Window is a quota window, as in index.Usage.
type Window struct {
	Window   string        `json:"window"`
	Used     float64       `json:"used"`
	ResetsAt time.Time     `json:"resets_at,omitzero"`
	Left     time.Duration `json:"left,omitempty"` // until then
	Age      time.Duration `json:"age"`            // since the provider said so
}

// The most that is read of a value: more is a mistake, or malice.
const maxEntries = 256

// valid reports whether h has the form that machines give it.
func (h Holds) valid() bool {
	windows := 0
	if h.Usage != nil {
		if windows = len(h.Usage.Windows); !validName(h.Usage.ID) {
			return false
		}
	}
	if len(h.Holds) > maxEntries || windows > maxEntries || h.Probe != "" && !validName(h.Probe) || h.Settings != "" && !validName(h.Settings) {
		return false
	}
	scopes, ids := map[string]bool{}, map[string]bool{}
	for _, e := range h.Holds {
		if !validName(e.ID) || ids[e.ID] || scopes[e.Scope] {
			return false
		}
		scopes[e.Scope], ids[e.ID] = true, true
	}
	return true
}

// validName reports whether s can be the ID of an entry.
func validName(s string) bool { return s != "" && len(s) <= 64 }

// Seal returns what the engine has at hold/<account>.
func (h Holds) Seal(ring Ring, pool, account string) ([]byte, error) {
	keys := ring.Newest()
	recipient, err := recipientOf(keys.Access)
	if err != nil {
		return nil, err
	}
	body, err := encode(h)
	if err != nil {
		return nil, err
	}
	w := sealedWire{V: version, Epoch: keys.Epoch}
	if w.Sealed, err = sealTo(recipient, part{What: "holds", Pool: pool, Of: account, Epoch: w.Epoch}, keystore.NewSecret(string(body))); err != nil {
		return nil, err
	}
	return encodeValue(w)
}

// OpenHolds opens what the engine has at hold/<account>. Error: one of the Err… values; such
// a value is as good as none.
func OpenHolds(ring Ring, pool, account string, value []byte) (Holds, error) {
	w, err := openWire(value)
	if err != nil {
		return Holds{}, err
	}
	keys := ring.Of(w.Epoch)
	switch {
	case len(ring) > 0 && w.Epoch < ring[0].Epoch:
		return Holds{}, ErrOver
	case keys.Epoch == 0:
		return Holds{}, ErrKeys
	}
	body, err := unseal(keys.Access, w.Sealed, part{What: "holds", Pool: pool, Of: account, Epoch: w.Epoch})
	if err != nil {
		return Holds{}, err
	}
	var h Holds
	if json.Unmarshal([]byte(body.Reveal()), &h) != nil || !h.valid() {
		return Holds{}, ErrForged
	}
	return h, nil
}
