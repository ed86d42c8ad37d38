package seal

import (
	"encoding/json"
	"slices"

	"filippo.io/age"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Role says what a machine does in a pool.
type Role string

// The roles.
const (
	Holder   Role = index.RoleHolder   // has the grants: it rotates, and invites
	Consumer Role = index.RoleConsumer // gets access tokens
)

// Valid reports whether r is a role.
func (r Role) Valid() bool { return r == Holder || r == Consumer }

// Keys are a pool's keys of one epoch, as far as a machine has them. Grant, Secret and
// Access are age identities.
type Keys struct {
	Epoch  int
	Grant  keystore.Secret // empty: a consumer
	Secret keystore.Secret // empty: a consumer without keys
	Access keystore.Secret
	Sign   keystore.Secret // empty: a consumer
	Verify string          // the public half of Sign
}

// NewKeys makes the keys of an epoch, which counts from 1.
func NewKeys(epoch int) (Keys, error) {
	k := Keys{Epoch: epoch}
	for _, p := range []*keystore.Secret{&k.Grant, &k.Secret, &k.Access} {
		var err error
		if *p, _, err = NewIdentity(); err != nil {
			return Keys{}, err
		}
	}
	var err error
	k.Sign, k.Verify, err = newSigningKey()
	return k, err
}

// NewIdentity makes the age identity of a machine, and the recipient by which the others
// know it.
func NewIdentity() (identity keystore.Secret, recipient string, err error) {
	id, err := age.GenerateX25519Identity()
	if err != nil {
		return keystore.Secret{}, "", err
	}
	return keystore.NewSecret(id.String()), id.Recipient().String(), nil
}

// Recipient returns the recipient of an age identity. Error: ErrKeys if it isn't one.
func Recipient(identity keystore.Secret) (string, error) {
	r, err := recipientOf(identity)
	if err != nil {
		return "", err
	}
	return r.String(), nil
}

// Holder reports whether k are the keys of a holder.
func (k Keys) Holder() bool { return !k.Grant.Empty() && !k.Sign.Empty() }

// Ring is the keys that a machine has, by epoch, the newest last.
type Ring []Keys

// For returns the keys that a machine may have. withKeys is about accounts that are an API
// key or a long-lived token.
func (r Ring) For(role Role, withKeys bool) Ring {
	r = slices.Clone(r)
	if role == Holder {
		return r
	}
	for i := range r {
		r[i].Grant, r[i].Sign = keystore.Secret{}, keystore.Secret{}
		if !withKeys {
			r[i].Secret = keystore.Secret{}
		}
	}
	return r
}

// Of returns the keys of an epoch; the zero value if there are none.
func (r Ring) Of(epoch int) Keys {
	for _, k := range r {
		if k.Epoch == epoch {
			return k
		}
	}
	return Keys{}
}

// Newest returns the keys of the newest epoch; the zero value if there are none.
func (r Ring) Newest() Keys {
	if len(r) == 0 {
		return Keys{}
	}
	return r[len(r)-1]
}

// From returns r without the keys of epochs before oldest.
func (r Ring) From(oldest int) Ring {
	return slices.DeleteFunc(slices.Clone(r), func(k Keys) bool { return k.Epoch < oldest })
}

// maxRing is the largest number of epochs in a ring. All but one are there only while
// records are sealed anew.
const maxRing = 16

type keysWire struct {
	Epoch  int    `json:"epoch"`
	Grant  string `json:"grant,omitempty"`
	Secret string `json:"secret,omitempty"`
	Access string `json:"access"`
	Sign   string `json:"sign,omitempty"`
	Verify string `json:"verify"`
}

// Encode returns r as JSON, for a keystore or to be sealed.
func (r Ring) Encode() (keystore.Secret, error) {
	wire := []keysWire{}
	for _, k := range r {
		wire = append(wire, keysWire{k.Epoch, k.Grant.Reveal(), k.Secret.Reveal(), k.Access.Reveal(), k.Sign.Reveal(), k.Verify})
	}
	text, err := encode(wire)
	return keystore.NewSecret(string(text)), err
}

// DecodeRing reads what Encode returned. Error: ErrMalformed.
func DecodeRing(s keystore.Secret) (Ring, error) {
	var wire []keysWire
	if json.Unmarshal([]byte(s.Reveal()), &wire) != nil {
		return nil, ErrMalformed
	}
	var r Ring
	for _, w := range wire {
		k := Keys{w.Epoch, keystore.NewSecret(w.Grant), keystore.NewSecret(w.Secret), keystore.NewSecret(w.Access), keystore.NewSecret(w.Sign), w.Verify}
		if !k.valid() || k.Epoch <= r.Newest().Epoch {
			return nil, ErrMalformed
		}
		r = append(r, k)
	}
	if len(r) == 0 || len(r) > maxRing {
		return nil, ErrMalformed
	}
	return r, nil
}

func (k Keys) valid() bool {
	for _, id := range []keystore.Secret{k.Grant, k.Secret, k.Access} {
		if _, err := recipientOf(id); !id.Empty() && err != nil {
			return false
		}
	}
	return checkVersion(version, k.Epoch) == nil && !k.Access.Empty() && k.Verify != "" &&
		(k.Sign.Empty() || publicHalf(k.Sign) == k.Verify)
}
