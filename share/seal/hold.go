package seal

import (
	"encoding/json"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Holds is what machines tell each other of an account's limits. Any machine of the pool may
// write it.
type Holds struct {
	Holds []index.Hold  `json:"holds,omitempty"`
	Usage []index.Usage `json:"usage,omitempty"`
}

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
	if keys.Epoch == 0 {
		return Holds{}, ErrKeys
	}
	body, err := unseal(keys.Access, w.Sealed, part{What: "holds", Pool: pool, Of: account, Epoch: w.Epoch})
	if err != nil {
		return Holds{}, err
	}
	var h Holds
	if json.Unmarshal([]byte(body.Reveal()), &h) != nil {
		return Holds{}, ErrForged
	}
	return h, nil
}
