package share

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// defaultExpiry is how long a ticket can be used if nobody says, longestExpiry at most.
const (
	defaultExpiry = 15 * time.Minute
	longestExpiry = 366 * 24 * time.Hour
)

// Invite makes a ticket for a machine. Errors: NotAMember (this machine isn't a holder),
// Usage, and those of the engine.
func Invite(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.InviteRequest) (*pipe.InviteResult, error) {
	switch {
	case req.Reusable && !req.Consumer:
		return nil, fault.Errorf(fault.Usage, "only machines that get access tokens alone can share one ticket").Try(fault.Remedy{Do: fault.Again, Name: "consumer"})
	case req.WithKeys && !req.Consumer:
		return nil, fault.Errorf(fault.Usage, "a machine that holds the logins gets keys in any case").Try(fault.Remedy{Do: fault.Again, Name: "consumer"})
	case req.For < 0 || req.For > longestExpiry:
		return nil, fault.Errorf(fault.Usage, "a ticket can be used for a year at most")
	}
	p, err := openAsHolder(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	c := p.Connection
	c.Cert, c.Key = req.Cert, keystore.NewSecret(req.Key)
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := p.free(c, req.Consumer); err != nil {
		return nil, err
	}
	life := req.For
	if life == 0 {
		life = defaultExpiry
	}
	t := seal.Ticket{
		ID: index.NewTicketID(), Role: seal.Holder, Passing: req.Passing, WithKeys: req.WithKeys, Reusable: req.Reusable,
		User: c.user(), ExpiresAt: time.Now().Add(life).UTC().Truncate(time.Second), By: p.Machine,
	}
	if req.Consumer {
		t.Role = seal.Consumer
	}
	keys, err := seal.NewTicket(&t)
	if err != nil {
		return nil, err
	}
	if err := p.members.changeMeta(ctx, func(m *seal.Meta) (bool, error) {
		if m.Roster.Ticket(t.ID) != nil {
			return false, nil
		}
		m.Roster.Tickets = append(slices.Clone(m.Roster.Tickets), t)
		return true, nil
	}); err != nil {
		return nil, err
	}
	if err := p.members.put(ctx, p.key("invite", t.ID), func() ([]byte, error) { return t.Seal(p.Keys, p.Pool) }); err != nil {
		return nil, err
	}
	newest := p.Keys.Newest()
	text, err := (&ticket{
		Connection: c, ID: t.ID, Pool: p.Pool, Name: p.members.meta.Roster.Name, TicketKeys: keys, Reusable: t.Reusable, ExpiresAt: t.ExpiresAt,
		Epoch: newest.Epoch, Verify: newest.Verify, Cluster: p.id.Cluster, Revision: p.id.Revision,
	}).text()
	if err != nil {
		return nil, err
	}
	if err := p.members.look(ctx); err != nil { // so that this machine knows when the ticket is over
		return nil, err
	}
	return &pipe.InviteResult{Ticket: text, ID: t.ID, ExpiresAt: t.ExpiresAt}, p.note(ctx)
}

// free is the error for a certificate that the machine of a ticket can't have.
func (p *party) free(c Connection, consumer bool) error {
	if c.Cert == "" && p.Cert != "" {
		return fault.Errorf(fault.Usage, "the machine needs a certificate of its own for the engine").Try(fault.Remedy{Do: fault.ShareRights})
	}
	if c.Cert != "" && c.Cert == p.Cert {
		return fault.Errorf(fault.Usage, "this is this machine's own certificate; with one for each machine, one of them can be shut out later").Try(fault.Remedy{Do: fault.ShareRights})
	}
	if err := c.mayBeMachines(); err != nil {
		return err
	}
	user := c.user()
	for _, m := range p.members.meta.Roster.Machines {
		if user != "" && m.User == user && (!consumer || m.Role == seal.Holder) {
			p.o.Folder.Warn(fmt.Sprintf("machine %s has this certificate too; the engine can shut out only both of them", fault.Quote(m.Name)), fault.Remedy{Do: fault.ShareRights})
		}
	}
	return nil
}
