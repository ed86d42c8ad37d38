package share

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// members are the machines and the tickets of a pool, and the keys that they have: what the
// pool's meta says, and what holders hand out.
type members struct {
	*link
	meta *seal.Meta // as last read or written; nil: not read yet
}

// look reads the pool's meta, and gets later keys if there are any.
func (p *members) look(ctx context.Context) error {
	e, err := p.get(ctx, p.key("meta", ""))
	if err != nil {
		return err
	}
	m, err := p.openMeta(ctx, e.Value)
	if err != nil {
		return err
	}
	p.meta = m
	keep := e.Value
	if len(keep) > maxMeta {
		keep = nil // an older list would be without the newest machines
	}
	if !p.restored && !bytes.Equal(p.Meta, keep) {
		p.Meta = slices.Clone(keep)
		p.Cluster, p.Revision = p.id.Cluster, max(p.Revision, p.id.Revision)
		return p.save(ctx, p.o)
	}
	return nil
}

// openMeta opens the pool's meta, and gets later keys if it needs them.
func (p *members) openMeta(ctx context.Context, value []byte) (*seal.Meta, error) {
	if value == nil {
		p.restored = true
		next := []fault.Remedy{{Do: fault.ShareDoctor, Pool: p.Local}}
		if p.Role == seal.Consumer { // which can't put it back
			next = append(next, fault.Remedy{Do: fault.ShareLeave, Pool: p.Local})
		}
		return nil, fault.Errorf(fault.EngineRestored, "the engine no longer knows pool %s", fault.Quote(p.Local)).Try(next...)
	}
	m, err := seal.OpenMeta(p.Keys, p.Pool, value)
	if errors.Is(err, seal.ErrKeys) && m != nil {
		if p.Next != nil && p.Next.Epoch == m.Epoch && p.Next.Verify == m.Chain[len(m.Chain)-1].Verify {
			p.Keys = p.ring() // this machine's own are in use now
			err = p.save(ctx, p.o)
		} else {
			err = p.renewKeys(ctx, m)
		}
		if err != nil {
			return nil, err
		}
		m, err = seal.OpenMeta(p.Keys, p.Pool, value)
	}
	if err != nil {
		return nil, p.unbelievable("the list of its machines", err)
	}
	return m, p.prune(ctx, m)
}

// prune forgets keys that are over, and those of this machine that the pool has others for.
func (p *members) prune(ctx context.Context, m *seal.Meta) error {
	changed := false
	if p.Next != nil && m.Epoch >= p.Next.Epoch {
		p.Next, changed = nil, true
	}
	if kept := p.Keys.From(m.Oldest); len(kept) > 0 && len(kept) < len(p.Keys) {
		p.Keys, changed = kept, true
	}
	if !changed {
		return nil
	}
	return p.save(ctx, p.o)
}

// renewKeys gets the keys of m's epoch, which a holder has sealed to this machine.
func (p *members) renewKeys(ctx context.Context, m *seal.Meta) error {
	kind, id := "member", p.Machine
	if p.Reusable {
		kind, id = "invite", p.Ticket
	}
	e, err := p.get(ctx, p.key(kind, id))
	if err != nil {
		return err
	}
	if e.Version == 0 {
		return p.outside()
	}
	var ring seal.Ring
	if p.Reusable {
		ring, _, err = seal.OpenInvite(p.Identity, m, id, e.Value)
	} else {
		ring, err = seal.OpenMember(p.Identity, m, id, e.Value)
	}
	switch {
	case errors.Is(err, seal.ErrKeys):
		return p.newKeys()
	case err != nil:
		return p.unbelievable("this machine's keys", err)
	}
	p.Keys = ring
	return p.save(ctx, p.o)
}

// newKeys is the error while a machine is being removed and this one's turn is yet to come.
func (p *members) newKeys() error {
	return fault.Errorf(fault.EngineUnreachable, "pool %s is getting new keys, and this machine doesn't have them yet", fault.Quote(p.Local)).Try(fault.Remedy{Do: fault.Again})
}

// outside is the error for a machine that isn't in the pool any more.
func (p *members) outside() error {
	return fault.Errorf(fault.NotAMember, "this machine is no longer a member of pool %s", fault.Quote(p.Local)).
		Try(fault.Remedy{Do: fault.ShareLeave, Pool: p.Local}, fault.Remedy{Do: fault.ShareJoin})
}

// nameOf is what people call a machine.
func (p *members) nameOf(id string) string {
	if m := p.meta.Roster.Machine(id); m != nil {
		return m.Name
	}
	return id
}

// Members says who shares a pool, and which tickets can still be used. Errors: NotAMember,
// and those of the engine.
func Members(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.MembersResult, error) {
	p, err := openToChange(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	done := &pipe.MembersResult{Pool: p.Local, Machines: []pipe.Machine{}, Tickets: []pipe.Ticket{}}
	for _, m := range p.members.meta.Roster.Machines {
		done.Machines = append(done.Machines, pipe.Machine{
			ID: m.ID, Name: m.Name, Role: string(m.Role), Passing: m.Passing, WithKeys: m.WithKeys, JoinedAt: m.Since, Self: m.ID == p.Machine,
		})
	}
	for _, t := range p.members.meta.Roster.Tickets {
		done.Tickets = append(done.Tickets, pipe.Ticket{
			ID: t.ID, Role: string(t.Role), Passing: t.Passing, WithKeys: t.WithKeys, Reusable: t.Reusable, ExpiresAt: t.ExpiresAt,
		})
	}
	return done, p.note(ctx)
}
