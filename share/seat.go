package share

import (
	"context"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/share/seal"
)

// NewPeers returns the other machines of the folder's shared pools, by way of their engines.
func NewPeers(dial Dialer) *Peers {
	return &Peers{Open: func(ctx context.Context, o *folder.Opened, pool string) (*Seat, error) {
		m, err := membership(ctx, o, pool)
		if err != nil {
			return nil, err
		}
		if m == nil {
			return nil, fault.Errorf(fault.NotAMember, "this machine is not a member of the shared pool %s; nothing was sent", pool).Try(fault.Remedy{Do: fault.ShareJoin})
		}
		// What a rotator stored is told while it goes on in the folder.
		apart, release, err := o.Apart()
		if err != nil {
			return nil, err
		}
		p, err := connect(ctx, apart, m, dial)
		if err != nil {
			release()
			return nil, err
		}
		s := p.members.seat()
		s.Release = release
		return s, nil
	}}
}

// seat is p as rotations need it. They close it.
func (p *members) seat() *Seat {
	return &Seat{
		Pool: p.Pool, Prefix: p.Prefix, Machine: p.Machine, Role: p.Role, Passing: p.Passing && CanPass(), Keys: p.Keys,
		Cluster: p.Cluster, Revision: p.Revision, Engine: p.engine,
		Renew: func(ctx context.Context) (seal.Ring, error) {
			if err := p.look(ctx); err != nil {
				return nil, err
			}
			return p.Keys, nil
		},
		Others: func(ctx context.Context) ([]Other, error) {
			if err := p.look(ctx); err != nil {
				return nil, err
			}
			var others []Other
			for _, m := range p.meta.Roster.Machines {
				if m.ID != p.Machine {
					others = append(others, Other{ID: m.ID, Name: m.Name, Holder: m.Role == seal.Holder})
				}
			}
			return others, nil
		},
	}
}
