package seal

import (
	"encoding/json"

	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
)

// Machine is a member of a pool.
type Machine struct {
	ID        string    `json:"id"`
	Name      string    `json:"name"` // as people call it; unique in the pool, ignoring case
	Role      Role      `json:"role"`
	Passing   bool      `json:"passing,omitempty"`
	WithKeys  bool      `json:"with_keys,omitempty"`
	Recipient string    `json:"recipient"`      // of its age identity
	User      string    `json:"user,omitempty"` // of the engine, by its certificate
	Since     time.Time `json:"since"`
}

// Ticket is an invitation that was given out and may still be used.
type Ticket struct {
	ID        string    `json:"id"`
	Recipient string    `json:"recipient"` // of its age identity
	Verify    string    `json:"verify"`    // the public half of its signing key
	Role      Role      `json:"role"`
	Passing   bool      `json:"passing,omitempty"`
	WithKeys  bool      `json:"with_keys,omitempty"`
	Reusable  bool      `json:"reusable,omitempty"`
	User      string    `json:"user,omitempty"` // of the engine, by the certificate in it
	ExpiresAt time.Time `json:"expires_at"`
	By        string    `json:"by"` // the machine that invited
}

// Exposed is what a removed machine could read of an account.
type Exposed struct {
	Account string    `json:"account"`
	Gen     int       `json:"gen"`
	FP      string    `json:"fp,omitempty"`
	Access  bool      `json:"access,omitempty"` // no more than the access token
	Epoch   int       `json:"epoch,omitempty"`  // of the newest keys that it had
	Machine string    `json:"machine"`          // its name
	At      time.Time `json:"at"`
}

// Over reports whether what the removed machine has is of no use any more, or of none beyond
// an access token's life.
func (e Exposed) Over(r *Record) bool {
	if e.Access {
		return r.Gen > e.Gen
	}
	return r.FP != e.FP
}

// Roster says who is in a pool. Every machine of it may read it; the engine's operator may
// not.
type Roster struct {
	Name     string    `json:"name"` // of the pool
	Provider string    `json:"provider"`
	Machines []Machine `json:"machines"`
	Tickets  []Ticket  `json:"tickets,omitempty"`
	Exposed  []Exposed `json:"exposed,omitempty"`
}

// Machine returns the member with this id, which may be changed in place; nil: there is
// none.
func (r *Roster) Machine(id string) *Machine {
	for i := range r.Machines {
		if r.Machines[i].ID == id {
			return &r.Machines[i]
		}
	}
	return nil
}

// Named returns the member that a person means, by its name, ignoring case, or its id; nil:
// there is none.
func (r *Roster) Named(name string) *Machine {
	for i := range r.Machines {
		if m := &r.Machines[i]; m.ID == name || index.EqualLabel(m.Name, name) {
			return m
		}
	}
	return nil
}

// Ticket returns the ticket with this id; nil: there is none.
func (r *Roster) Ticket(id string) *Ticket {
	for i := range r.Tickets {
		if r.Tickets[i].ID == id {
			return &r.Tickets[i]
		}
	}
	return nil
}

// Link says that the key before vouches for an epoch's.
type Link struct {
	Epoch  int    `json:"epoch"`
	Verify string `json:"verify"`
	Sig    []byte `json:"sig,omitempty"` // by the keys of the epoch before; none in epoch 1
}

// maxLinks is how many epochs a machine may have missed.
const maxLinks = 256

// Meta is what an engine has of a pool as a whole.
type Meta struct {
	Pool  string
	Epoch int // of the newest keys
	// Oldest is the oldest epoch whose records are still believed. It is below Epoch only
	// while records are sealed anew.
	Oldest int
	Chain  []Link // the public halves of the last epochs
	Roster Roster
}

type metaWire struct {
	V      int    `json:"v"`
	Epoch  int    `json:"epoch"`
	Oldest int    `json:"oldest"`
	Chain  []Link `json:"chain"`
	Sealed []byte `json:"sealed"`
	Sig    []byte `json:"sig,omitempty"`
}

// NewMeta makes the first meta of a pool.
func NewMeta(pool string, k Keys, roster Roster) *Meta {
	return &Meta{Pool: pool, Epoch: k.Epoch, Oldest: k.Epoch, Chain: []Link{{Epoch: k.Epoch, Verify: k.Verify}}, Roster: roster}
}

// Advance makes k the newest keys of m, which has to be encoded with them then. Error:
// ErrKeys if k isn't of the next epoch, or the ring isn't a holder's of m's epoch.
func (m *Meta) Advance(ring Ring, k Keys) error {
	old := ring.Of(m.Epoch)
	if !old.Holder() || !k.Holder() || k.Epoch != m.Epoch+1 {
		return ErrKeys
	}
	link := Link{Epoch: k.Epoch, Verify: k.Verify}
	text, err := message("epoch", m.Pool, "", link)
	if err != nil {
		return err
	}
	if link.Sig, err = sign(old.Sign, text); err != nil {
		return err
	}
	m.Epoch, m.Chain = k.Epoch, append(slices.Clone(m.Chain), link)
	m.Chain = m.Chain[max(0, len(m.Chain)-maxLinks):]
	return nil
}

// Encode returns m as the engine stores it. Errors: ErrKeys if the ring isn't a holder's of
// m's epoch; ErrTooBig.
func (m *Meta) Encode(ring Ring) ([]byte, error) {
	keys := ring.Of(m.Epoch)
	if !keys.Holder() {
		return nil, ErrKeys
	}
	body, err := encode(m.Roster)
	if err != nil {
		return nil, err
	}
	recipient, err := recipientOf(keys.Access)
	if err != nil {
		return nil, err
	}
	w := metaWire{V: version, Epoch: m.Epoch, Oldest: m.Oldest, Chain: m.Chain}
	if w.Sealed, err = sealTo(recipient, part{What: "roster", Pool: m.Pool, Epoch: m.Epoch}, keystore.NewSecret(string(body))); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	text, err := message("meta", m.Pool, "", w)
	if err != nil {
		return nil, err
	}
	if w.Sig, err = sign(keys.Sign, text); err != nil {
		return nil, err
	}
	return encodeValue(w)
}

// OpenMeta opens what the engine has of a pool. If the ring has no keys of its epoch, the
// roster is empty and err is ErrKeys: m's Chain is good then, and OpenMember gets the keys.
// Other errors: one of the Err… values, with a nil m.
func OpenMeta(ring Ring, pool string, value []byte) (m *Meta, err error) {
	var w metaWire
	if err := decode(value, &w); err != nil {
		return nil, err
	}
	if err := w.check(); err != nil {
		return nil, err
	}
	if w.Epoch < ring.Newest().Epoch {
		return nil, ErrOver
	}
	verify, err := follow(ring.Newest(), pool, w.Chain)
	if err != nil {
		return nil, err
	}
	sig := w.Sig
	w.Sig = nil
	text, err := message("meta", pool, "", w)
	if err != nil {
		return nil, err
	}
	if !verified(verify, text, sig) {
		return nil, ErrForged
	}
	m = &Meta{Pool: pool, Epoch: w.Epoch, Oldest: w.Oldest, Chain: w.Chain}
	keys := ring.Of(w.Epoch)
	if keys.Access.Empty() {
		return m, ErrKeys
	}
	body, err := unseal(keys.Access, w.Sealed, part{What: "roster", Pool: pool, Epoch: w.Epoch})
	if err != nil {
		return nil, err
	}
	if json.Unmarshal([]byte(body.Reveal()), &m.Roster) != nil || m.Roster.check() != nil {
		return nil, ErrForged
	}
	return m, nil
}

// follow goes along the chain from known to its end, and returns the public half there.
func follow(known Keys, pool string, chain []Link) (verify string, err error) {
	i := slices.IndexFunc(chain, func(l Link) bool { return l.Epoch == known.Epoch })
	if i < 0 || chain[i].Verify != known.Verify {
		return "", ErrForged
	}
	verify = known.Verify
	for _, l := range chain[i+1:] {
		sig := l.Sig
		l.Sig = nil
		text, err := message("epoch", pool, "", l)
		if err != nil {
			return "", err
		}
		if !verified(verify, text, sig) {
			return "", ErrForged
		}
		verify = l.Verify
	}
	return verify, nil
}

func (w *metaWire) check() error {
	if err := checkVersion(w.V, w.Epoch); err != nil {
		return err
	}
	n := len(w.Chain)
	if w.Oldest < 1 || w.Oldest > w.Epoch || n == 0 || n > maxLinks || w.Chain[n-1].Epoch != w.Epoch {
		return ErrMalformed
	}
	for i := range n - 1 {
		if w.Chain[i].Epoch < 1 || w.Chain[i+1].Epoch != w.Chain[i].Epoch+1 {
			return ErrMalformed
		}
	}
	return nil
}

func (r *Roster) check() error {
	for _, m := range r.Machines {
		if _, err := parseRecipient(m.Recipient); err != nil || !index.ValidMachineID(m.ID) || !m.Role.Valid() {
			return ErrMalformed
		}
	}
	for _, t := range r.Tickets {
		if _, err := parseRecipient(t.Recipient); err != nil || !index.ValidTicketID(t.ID) || !t.Role.Valid() {
			return ErrMalformed
		}
	}
	for _, e := range r.Exposed {
		if !index.ValidID(e.Account) {
			return ErrMalformed
		}
	}
	return nil
}

// CheckName reports whether a machine may have this name: one line of 1 to 64 printable
// ASCII characters without a slash, as it is part of commands.
func CheckName(name string) bool {
	return name != "" && len(name) <= 64 && !strings.HasPrefix(name, "-") && !strings.HasPrefix(name, "mach_") &&
		!strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r > '~' || r == '/' })
}
