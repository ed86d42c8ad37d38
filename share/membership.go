package share

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/seal"
)

// Membership is this machine's part in a shared pool, an item of its keystore. Where to
// connect and what to believe is in there alone, whatever index.json says.
type Membership struct {
	Pool  string // id
	Local string // the pool's name here
	Connection

	Machine  string // id
	Name     string // of this machine
	Role     seal.Role
	Passing  bool
	WithKeys bool
	Identity keystore.Secret // age; that of the ticket, if Ticket is reusable
	Keys     seal.Ring
	// Next are keys that this machine made and may not have handed out yet.
	Next *seal.Keys

	// Cluster and Revision are the engine's, as last confirmed.
	Cluster  string
	Revision int64
	// Meta is the pool's meta as last seen, in case the engine loses it.
	Meta []byte

	// Unfinished: a start or a join was interrupted; it goes on when it is done again.
	Unfinished bool
	// Ticket is the one that this machine has joined by, or is joining by.
	Ticket     string
	Reusable   bool
	ticketSign keystore.Secret
}

type membershipWire struct {
	V          int             `json:"v"`
	Pool       string          `json:"pool"`
	Local      string          `json:"name"`
	Prefix     string          `json:"prefix"`
	Endpoints  []string        `json:"endpoints"`
	CA         string          `json:"ca,omitempty"`
	Cert       string          `json:"cert,omitempty"`
	Key        string          `json:"key,omitempty"`
	Machine    string          `json:"machine"`
	Name       string          `json:"machine_name"`
	Role       seal.Role       `json:"role"`
	Passing    bool            `json:"passing,omitempty"`
	WithKeys   bool            `json:"with_keys,omitempty"`
	Identity   string          `json:"identity"`
	Keys       json.RawMessage `json:"keys"`
	Next       json.RawMessage `json:"next,omitempty"`
	Cluster    string          `json:"cluster,omitempty"`
	Revision   int64           `json:"revision,omitempty"`
	Meta       []byte          `json:"meta,omitempty"`
	Unfinished bool            `json:"unfinished,omitempty"`
	Ticket     string          `json:"ticket,omitempty"`
	Reusable   bool            `json:"reusable,omitempty"`
	TicketSign string          `json:"ticket_sign,omitempty"`
}

// membershipVersion is the v of the item.
const membershipVersion = 1

var (
	errMembership      = errors.New("not a membership in a shared pool")
	errNewerMembership = errors.New("the membership is of a newer authferry")
)

// maxMeta is the size of the largest Meta that is kept: keychains are slow with more.
const maxMeta = 64 << 10

func (m *Membership) encode() (keystore.Secret, error) {
	w := membershipWire{
		V: membershipVersion, Pool: m.Pool, Local: m.Local, Prefix: m.Prefix, Endpoints: m.Endpoints, CA: m.CA, Cert: m.Cert, Key: m.Key.Reveal(),
		Machine: m.Machine, Name: m.Name, Role: m.Role, Passing: m.Passing, WithKeys: m.WithKeys, Identity: m.Identity.Reveal(),
		Cluster: m.Cluster, Revision: m.Revision, Unfinished: m.Unfinished, Ticket: m.Ticket, Reusable: m.Reusable, TicketSign: m.ticketSign.Reveal(),
	}
	if len(m.Meta) <= maxMeta {
		w.Meta = m.Meta
	}
	keys, err := m.Keys.Encode()
	if err != nil {
		return keystore.Secret{}, err
	}
	w.Keys = json.RawMessage(keys.Reveal())
	if m.Next != nil {
		if keys, err = (seal.Ring{*m.Next}).Encode(); err != nil {
			return keystore.Secret{}, err
		}
		w.Next = json.RawMessage(keys.Reveal())
	}
	text, err := json.Marshal(w)
	return keystore.NewSecret(string(text)), err
}

// decodeMembership reads what encode returned. Its errors never quote the input.
func decodeMembership(s keystore.Secret) (*Membership, error) {
	var w membershipWire
	if json.Unmarshal([]byte(s.Reveal()), &w) != nil || w.V < 1 {
		return nil, errMembership
	}
	if w.V > membershipVersion {
		return nil, errNewerMembership
	}
	m := &Membership{
		Pool: w.Pool, Local: w.Local, Connection: Connection{w.Endpoints, w.Prefix, w.CA, w.Cert, keystore.NewSecret(w.Key)},
		Machine: w.Machine, Name: w.Name, Role: w.Role, Passing: w.Passing, WithKeys: w.WithKeys, Identity: keystore.NewSecret(w.Identity),
		Cluster: w.Cluster, Revision: w.Revision, Meta: w.Meta, Unfinished: w.Unfinished, Ticket: w.Ticket, Reusable: w.Reusable, ticketSign: keystore.NewSecret(w.TicketSign),
	}
	var err error
	if m.Keys, err = seal.DecodeRing(keystore.NewSecret(string(w.Keys))); err != nil {
		return nil, errMembership
	}
	if w.Next != nil {
		next, err := seal.DecodeRing(keystore.NewSecret(string(w.Next)))
		if err != nil {
			return nil, errMembership
		}
		m.Next = &next[0]
	}
	if _, err := seal.Recipient(m.Identity); err != nil || !index.ValidSharedPoolID(m.Pool) || !index.ValidMachineID(m.Machine) || !m.Role.Valid() ||
		m.Prefix == "" || m.Role == seal.Holder && !m.Keys.Newest().Holder() {
		return nil, errMembership
	}
	return m, nil
}

// membership reads this machine's part in the pool with this id; nil: it has none.
func membership(ctx context.Context, o *folder.Opened, id string) (*Membership, error) {
	if !index.ValidSharedPoolID(id) {
		return nil, nil
	}
	s, err := o.Store.Share(ctx, id)
	if err != nil || s.Empty() {
		return nil, err
	}
	m, err := decodeMembership(s)
	switch {
	case errors.Is(err, errNewerMembership):
		return nil, fault.Errorf(fault.IndexTooNew, "this machine's part in a shared pool was stored by a newer authferry; nothing was changed").Try(fault.Remedy{Do: fault.ShowVersion})
	case err != nil:
		return nil, fault.Errorf(fault.KeystoreDenied, "this machine's part in the shared pool %s is damaged in the keystore", id).Because(err).Try(fault.Remedy{Do: fault.ShareJoin})
	case m.Pool != id:
		return nil, fault.Errorf(fault.KeystoreDenied, "the keystore has the part in another pool where that of %s should be", id)
	}
	return m, nil
}

// memberships are those in all pools that this machine shares, also where the index has lost
// them.
func memberships(ctx context.Context, o *folder.Opened) ([]*Membership, error) {
	listed, err := o.Store.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	for i := range o.Index.Shares {
		listed.AddShare(o.Index.Shares[i].ID)
	}
	slices.Sort(listed.Shares)
	var all []*Membership
	for _, id := range listed.Shares {
		m, err := membership(ctx, o, id)
		if err != nil {
			return nil, err
		}
		if m != nil {
			all = append(all, m)
		}
	}
	return all, nil
}

// find returns the membership in the pool that a person names: by its name here, or its id.
// An empty name is the only one that there is.
func find(ctx context.Context, o *folder.Opened, name string) (*Membership, error) {
	all, err := memberships(ctx, o)
	if err != nil {
		return nil, err
	}
	known, _, _ := o.Index.FindPool(name)
	var names []string
	for _, m := range all {
		if m.Pool == name || m.Local == known || name != "" && index.EqualLabel(m.Local, name) || name == "" && len(all) == 1 {
			return m, nil
		}
		names = append(names, fault.Quote(m.Local))
	}
	switch {
	case len(all) == 0:
		return nil, fault.Errorf(fault.NotAMember, "no pool of this machine is shared with others").Try(fault.Remedy{Do: fault.ShareStart, Pool: name}, fault.Remedy{Do: fault.ShareJoin})
	case name == "":
		return nil, fault.Errorf(fault.Ambiguous, "several pools of this machine are shared: %s", list(names)).Try(fault.Remedy{Do: fault.Again, Pool: "POOL"})
	}
	return nil, fault.Errorf(fault.NotAMember, "pool %s is not shared with other machines; shared are: %s", fault.Quote(name), list(names)).Try(fault.Remedy{Do: fault.ShareStatus})
}

// save stores m.
func (m *Membership) save(ctx context.Context, o *folder.Opened) error {
	s, err := m.encode()
	if err != nil {
		return fault.Errorf(fault.Internal, "this machine's part in a shared pool can't be stored").Because(err)
	}
	return o.SetShare(ctx, m.Pool, s)
}

// ring has all keys of this machine, those too that it may not have handed out.
func (m *Membership) ring() seal.Ring {
	if m.Next == nil {
		return m.Keys
	}
	return append(slices.Clone(m.Keys), *m.Next)
}

// holder is the error for what only a holder can do; nil: m is one.
func (m *Membership) holder() error {
	if m.Role == seal.Holder {
		return nil
	}
	return fault.Errorf(fault.NotAMember, "this machine only gets access tokens of pool %s; a machine that holds its logins can do this", fault.Quote(m.Local)).
		Try(fault.Remedy{Do: fault.ShareMembers, Pool: m.Local})
}

// finished is the error for a start or a join that was interrupted; nil: it wasn't.
func (m *Membership) finished() error {
	if !m.Unfinished {
		return nil
	}
	next := fault.Remedy{Do: fault.ShareStart, Pool: m.Local}
	if m.Ticket != "" {
		next = fault.Remedy{Do: fault.ShareJoin}
	}
	return fault.Errorf(fault.NotAMember, "sharing pool %s was interrupted; do it again to go on", fault.Quote(m.Local)).Try(next)
}
