package seal

import (
	"encoding/json"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// TicketKeys are the secrets of a ticket: an age identity and a signing key, used once.
type TicketKeys struct {
	Identity keystore.Secret
	Sign     keystore.Secret
}

// NewTicket makes the secrets of a ticket, and enters their public halves into t.
func NewTicket(t *Ticket) (TicketKeys, error) {
	identity, recipient, err := NewIdentity()
	if err != nil {
		return TicketKeys{}, err
	}
	key, verify, err := newSigningKey()
	if err != nil {
		return TicketKeys{}, err
	}
	t.Recipient, t.Verify = recipient, verify
	return TicketKeys{identity, key}, nil
}

// Seal returns what the engine has at invite/<id> until the ticket is used: the
// joiner's ring. Error: ErrKeys if the ring isn't a holder's.
func (t Ticket) Seal(ring Ring, pool string) ([]byte, error) {
	return handOver(ring, "invite", pool, t.ID, t.Recipient, ring.For(t.Role, t.WithKeys))
}

// Answer is what a machine that joins by a ticket says of itself. A holder enters it into
// the roster.
type Answer struct {
	Machine   string `json:"machine"`
	Name      string `json:"name"`
	Recipient string `json:"recipient"`
}

// OpenInvite opens an invitation with its ticket's identity. m is what OpenMeta returned with
// a ring of no more than what the ticket names: an epoch, and the public half of its signing
// key. Used: the ticket is used, and there is an answer instead.
func OpenInvite(identity keystore.Secret, m *Meta, ticket string, value []byte) (ring Ring, used bool, err error) {
	w, err := openWire(value)
	if err != nil {
		return nil, false, err
	}
	if len(w.Answer) > 0 {
		return nil, true, nil
	}
	if w.Epoch != m.Epoch {
		return nil, false, ErrKeys
	}
	ring, err = w.open(identity, "invite", m.Pool, ticket, m.Chain[len(m.Chain)-1])
	return ring, false, err
}

// Seal returns what takes the place of an invitation when its ticket is used: the
// answer, signed by the ticket, and sealed so that every machine of the pool can read it.
func (a Answer) Seal(ring Ring, t TicketKeys, pool, ticket string) ([]byte, error) {
	keys := ring.Newest()
	recipient, err := recipientOf(keys.Access)
	if err != nil {
		return nil, err
	}
	body, err := encode(a)
	if err != nil {
		return nil, err
	}
	w := sealedWire{V: version, Epoch: keys.Epoch}
	if w.Answer, err = sealTo(recipient, part{What: "answer", Pool: pool, Of: ticket, Epoch: w.Epoch}, keystore.NewSecret(string(body))); err != nil {
		return nil, err
	}
	return w.signed("answer", pool, ticket, t.Sign)
}

// OpenAnswer opens the answer to a ticket; nil: it isn't used yet.
func OpenAnswer(ring Ring, pool string, t Ticket, value []byte) (*Answer, error) {
	w, err := openWire(value)
	if err != nil || len(w.Answer) == 0 {
		return nil, err
	}
	if err := w.verify("answer", pool, t.ID, t.Verify); err != nil {
		return nil, err
	}
	keys := ring.Of(w.Epoch)
	if keys.Epoch == 0 {
		return nil, ErrKeys
	}
	body, err := unseal(keys.Access, w.Answer, part{What: "answer", Pool: pool, Of: t.ID, Epoch: w.Epoch})
	if err != nil {
		return nil, err
	}
	var a Answer
	if json.Unmarshal([]byte(body.Reveal()), &a) != nil || !index.ValidMachineID(a.Machine) || !CheckName(a.Name) {
		return nil, ErrForged
	}
	if _, err := parseRecipient(a.Recipient); err != nil {
		return nil, ErrForged
	}
	return &a, nil
}
