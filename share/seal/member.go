package seal

import (
	"github.com/authferry/authferry/keystore"
)

// sealedWire is a value that is sealed as a whole.
type sealedWire struct {
	V      int    `json:"v"`
	Epoch  int    `json:"epoch"`
	Sealed []byte `json:"sealed,omitempty"`
	Answer []byte `json:"answer,omitempty"`
	Sig    []byte `json:"sig,omitempty"`
}

func openWire(value []byte) (w sealedWire, err error) {
	if err := decode(value, &w); err != nil {
		return w, err
	}
	if err := checkVersion(w.V, w.Epoch); err != nil {
		return w, err
	}
	if (len(w.Sealed) == 0) == (len(w.Answer) == 0) {
		return w, ErrMalformed
	}
	return w, nil
}

// signed signs w, and encodes it.
func (w sealedWire) signed(what, pool, of string, key keystore.Secret) ([]byte, error) {
	text, err := message(what, pool, of, w)
	if err != nil {
		return nil, err
	}
	if w.Sig, err = sign(key, text); err != nil {
		return nil, err
	}
	return encodeValue(w)
}

// verify checks w's signature.
func (w sealedWire) verify(what, pool, of, verify string) error {
	sig := w.Sig
	w.Sig = nil
	text, err := message(what, pool, of, w)
	if err != nil {
		return err
	}
	if !verified(verify, text, sig) {
		return ErrForged
	}
	return nil
}

// Seal returns what the engine has at member/<id>: the ring for a machine, sealed to
// it and signed with the newest keys. Error: ErrKeys if the ring isn't a holder's.
func (m Machine) Seal(ring Ring, pool string) ([]byte, error) {
	return handOver(ring, "member", pool, m.ID, m.Recipient, ring.For(m.Role, m.WithKeys))
}

func handOver(ring Ring, what, pool, of, to string, keys Ring) ([]byte, error) {
	newest := ring.Newest()
	if !newest.Holder() {
		return nil, ErrKeys
	}
	recipient, err := parseRecipient(to)
	if err != nil {
		return nil, err
	}
	body, err := keys.Encode()
	if err != nil {
		return nil, err
	}
	w := sealedWire{V: version, Epoch: newest.Epoch}
	if w.Sealed, err = sealTo(recipient, part{What: what, Pool: pool, Of: of, Epoch: w.Epoch}, body); err != nil {
		return nil, err
	}
	return w.signed(what, pool, of, newest.Sign)
}

// OpenMember opens the keys of a machine with its age identity. m is what OpenMeta returned,
// perhaps with ErrKeys. Error: ErrKeys if they are of another epoch than m's: a machine
// is just handing out new ones.
func OpenMember(identity keystore.Secret, m *Meta, machine string, value []byte) (Ring, error) {
	w, err := openWire(value)
	if err != nil {
		return nil, err
	}
	if w.Epoch != m.Epoch {
		return nil, ErrKeys
	}
	return w.open(identity, "member", m.Pool, machine, m.Chain[len(m.Chain)-1])
}

func (w sealedWire) open(identity keystore.Secret, what, pool, of string, by Link) (Ring, error) {
	if w.Epoch != by.Epoch {
		return nil, ErrForged
	}
	if err := w.verify(what, pool, of, by.Verify); err != nil {
		return nil, err
	}
	body, err := unseal(identity, w.Sealed, part{What: what, Pool: pool, Of: of, Epoch: w.Epoch})
	if err != nil {
		return nil, err
	}
	ring, err := DecodeRing(body)
	if err != nil || ring.Newest().Epoch != by.Epoch || ring.Newest().Verify != by.Verify {
		return nil, ErrForged
	}
	return ring, nil
}

// HandedOver reports whether a value at member/<id> or invite/<id> (what is "member" or
// "invite") has keys of the epoch at the end of a chain.
func HandedOver(value []byte, what, pool, id string, newest Link) bool {
	w, err := openWire(value)
	return err == nil && len(w.Sealed) > 0 && w.Epoch == newest.Epoch && w.verify(what, pool, id, newest.Verify) == nil
}

// Answered reports whether a value at invite/<id> is an answer.
func Answered(value []byte) bool {
	w, err := openWire(value)
	return err == nil && len(w.Answer) > 0
}
