package share

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Join uses a ticket: this machine becomes a member of its pool, and gets its accounts.
// After a crash or an error it goes on when it is called again with the same ticket.
// Errors: TicketUsed (used, over or withdrawn), LabelTaken (a pool or a login that is here
// already), EngineRestored, Usage (no ticket), and those of engine, keystore and index.
func Join(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.JoinRequest) (*pipe.JoinResult, error) {
	t, err := parseTicket(req.Ticket)
	if err != nil {
		return nil, err
	}
	o, err := f.Prepare(ctx, func(*index.Index) error { return nil })
	if err != nil {
		return nil, err
	}
	o, release, err := o.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	m, err := membership(ctx, o, t.Pool)
	if err != nil {
		return nil, err
	}
	if m != nil && m.Unfinished && m.Ticket != t.ID {
		return nil, fault.Errorf(fault.LabelTaken, "joining that pool was interrupted here; go on with the same ticket, or leave the pool before you use another").
			Try(fault.Remedy{Do: fault.ShareLeave, Pool: m.Local}, fault.Remedy{Do: fault.ShareJoin})
	}
	if m != nil && !m.Unfinished {
		return nil, fault.Errorf(fault.LabelTaken, "this machine is a member of that pool already, as %s", fault.Quote(m.Local)).
			Try(fault.Remedy{Do: fault.ShareStatus, Pool: m.Local}, fault.Remedy{Do: fault.ShareLeave, Pool: m.Local})
	}
	begun := m != nil
	if !begun {
		if m, err = joining(o, t, req); err != nil {
			return nil, err
		}
	}
	p, err := connect(ctx, o, m, dial)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.join(ctx, t, req, begun); err != nil {
		return nil, err
	}
	d, err := p.statusOrAlone(ctx)
	return &pipe.JoinResult{Pool: d}, err
}

// joining is the membership to begin with. It isn't stored yet.
func joining(o *folder.Opened, t *ticket, req pipe.JoinRequest) (*Membership, error) {
	name := t.Name
	if req.As != "" {
		name = req.As
	}
	name, err := pool.CheckName(name)
	if err != nil {
		return nil, err
	}
	if known, _, ok := o.Index.FindPool(name); ok || o.Index.SharedAs(name) != nil {
		return nil, fault.Errorf(fault.LabelTaken, "this machine has a pool %s already", fault.Quote(known)).Try(fault.Remedy{Do: fault.Again, Name: "as", Value: "NAME"})
	}
	m := &Membership{
		Pool: t.Pool, Local: name, Connection: t.Connection, Machine: index.NewMachineID(),
		Cluster: t.Cluster, Revision: t.Revision,
		Unfinished: true, Ticket: t.ID, Reusable: t.Reusable, ticketSign: t.Sign,
	}
	if t.Reusable {
		m.Identity = t.Identity // there is no other by which holders could reach it later
		return m, nil
	}
	m.Identity, _, err = seal.NewIdentity()
	return m, err
}

func (p *party) join(ctx context.Context, t *ticket, req pipe.JoinRequest, begun bool) error {
	e, err := p.members.invited(ctx, t, begun)
	if err != nil {
		return err
	}
	if p.restored && !begun {
		return fault.Errorf(fault.EngineRestored, "the engine has forgotten something since the ticket was made, as after restoring a backup; nothing was changed").
			Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	if !begun {
		if p.Name, err = machineName(req.Machine, &p.members.meta.Roster); err != nil {
			return err
		}
		all, _, err := p.records.read(ctx)
		if err != nil {
			return err
		}
		for _, r := range byRank(all) {
			if r.LocalGrant() == nil {
				continue
			}
			if p.o.Index.Account(r.Account) != nil {
				return fault.Errorf(fault.LabelTaken, "account %s of that pool is here already", fault.Quote(r.Public.Label)).
					Try(fault.Remedy{Do: fault.ShowAccount, Account: r.Account})
			}
			if err := clash(p.o.Index, r); err != nil {
				return err
			}
		}
		// From here on it can go on after a crash.
		if err := p.save(ctx, p.o); err != nil {
			return err
		}
		folder.Reached("S15")
	}
	if !t.Reusable {
		if err := p.members.answer(ctx, t, e); err != nil {
			if fault.CodeOf(err) == fault.TicketUsed {
				_ = p.o.DropShare(ctx, p.Pool) // else the next try with another ticket says so
			}
			return err
		}
		folder.Reached("S16")
	}
	if p.Role == seal.Holder {
		if err := p.members.settle(ctx); err != nil {
			return err
		}
	}
	if err := p.note(ctx); err != nil {
		return err
	}
	folder.Reached("S17")
	if _, _, err := p.accounts.sync(ctx); err != nil {
		return err
	}
	p.Unfinished, p.ticketSign = false, t.Sign
	if !p.Reusable {
		p.ticketSign = seal.TicketKeys{}.Sign
	}
	return p.save(ctx, p.o)
}

// invited opens the invitation of a ticket, and with the keys in it the pool's meta. begun:
// this machine may have answered it already.
func (p *members) invited(ctx context.Context, t *ticket, begun bool) (engine.Entry, error) {
	used := t.used("this ticket was used already, or was withdrawn; nothing was changed")
	e, err := p.get(ctx, p.key("invite", t.ID))
	if err != nil {
		return e, err
	}
	meta, err := p.get(ctx, p.key("meta", ""))
	if err != nil {
		return e, err
	}
	if meta.Version == 0 {
		return e, used
	}
	if begun && (e.Version == 0 || seal.Answered(e.Value)) { // perhaps by this machine
		p.meta, err = p.openMeta(ctx, meta.Value)
		return e, err
	}
	switch now := time.Now(); {
	case now.After(t.ExpiresAt):
		return e, t.used("this ticket ended " + humantime.Relative(t.ExpiresAt, now) + "; nothing was changed")
	case e.Version == 0 || seal.Answered(e.Value):
		return e, used
	}
	p.Keys = seal.Ring{{Epoch: t.Epoch, Verify: t.Verify}}
	m, err := seal.OpenMeta(p.Keys, p.Pool, meta.Value)
	if err != nil && !errors.Is(err, seal.ErrKeys) || m == nil {
		return e, p.unbelievable("what the engine has of it", err)
	}
	ring, _, err := seal.OpenInvite(t.Identity, m, t.ID, e.Value)
	switch {
	case errors.Is(err, seal.ErrKeys):
		return e, p.newKeys()
	case err != nil:
		return e, p.unbelievable("the invitation", err)
	}
	p.Keys = ring
	if p.meta, err = p.openMeta(ctx, meta.Value); err != nil {
		return e, err
	}
	listed := p.meta.Roster.Ticket(t.ID)
	if listed == nil || time.Now().After(listed.ExpiresAt) { // the ticket's own time could be changed
		return e, used
	}
	p.Role, p.Passing, p.WithKeys = listed.Role, listed.Passing, listed.WithKeys
	if p.Passing && p.Role == seal.Holder && !CanPass() {
		return e, fault.Errorf(fault.Usage, "this system can't be a machine that may vanish and hold logins; ask for a ticket without that")
	}
	return e, nil
}

// answer puts this machine's answer in the place of the invitation. Of two machines with
// the same ticket, one is first.
func (p *members) answer(ctx context.Context, t *ticket, e engine.Entry) error {
	recipient, err := seal.Recipient(p.Identity)
	if err != nil {
		return err
	}
	mine := seal.Answer{Machine: p.Machine, Name: p.Name, Recipient: recipient}
	for try := 0; ; try++ {
		listed := p.meta.Roster.Ticket(t.ID)
		switch {
		case p.meta.Roster.Machine(p.Machine) != nil:
			return nil // entered already
		case e.Version == 0 || listed == nil:
			return t.used("this ticket was used already, or was withdrawn")
		case seal.Answered(e.Value):
			a, err := seal.OpenAnswer(p.Keys, p.Pool, *listed, e.Value)
			if err == nil && a != nil && a.Machine == p.Machine {
				return nil
			}
			return t.used("another machine has used this ticket")
		case try == changeTries:
			return p.engineFault(ctx, engine.ErrUnreachable)
		}
		value, err := mine.Seal(p.Keys, t.TicketKeys, p.Pool, t.ID)
		if err != nil {
			return p.unbelievable("the answer", err)
		}
		if _, won, err := p.swap(ctx, e.Key, e.Version, value); won || err != nil {
			return err
		}
		if e, err = p.invited(ctx, t, true); err != nil { // the pool may have other keys now
			return err
		}
	}
}
