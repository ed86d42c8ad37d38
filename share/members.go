package share

import (
	"context"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share/pipe"
)

// Members says who shares a pool, and which tickets can still be used. Errors: NotAMember,
// and those of the engine.
func Members(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.PoolRequest) (*pipe.MembersResult, error) {
	p, err := openToChange(ctx, f, dial, req.Pool)
	if err != nil {
		return nil, err
	}
	defer p.close()
	done := &pipe.MembersResult{Pool: p.Local, Machines: []pipe.Machine{}, Tickets: []pipe.Ticket{}}
	for _, m := range p.meta.Roster.Machines {
		done.Machines = append(done.Machines, pipe.Machine{
			ID: m.ID, Name: m.Name, Role: string(m.Role), Passing: m.Passing, WithKeys: m.WithKeys, JoinedAt: m.Since, Self: m.ID == p.Machine,
		})
	}
	for _, t := range p.meta.Roster.Tickets {
		done.Tickets = append(done.Tickets, pipe.Ticket{
			ID: t.ID, Role: string(t.Role), Passing: t.Passing, WithKeys: t.WithKeys, Reusable: t.Reusable, ExpiresAt: t.ExpiresAt,
		})
	}
	return done, p.note(ctx)
}
