package share

import (
	"cmp"
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// DefaultPrefix begins the keys of shared pools in an engine.
const DefaultPrefix = "authferry"

// Start shares a pool of this machine: it makes the pool's keys, publishes its accounts, and
// marks them as shared. After a crash or an error it goes on when it is called again.
// Errors: NoAccount (no such pool), Fenced (shared already, or an account that can't be),
// Usage, and those of engine, keystore and index.
func Start(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.StartRequest) (*pipe.StartResult, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	o, err := opened(ctx, f)
	if err != nil {
		return nil, err
	}
	name, _, ok := o.Index.FindPool(req.Pool)
	if !ok {
		return nil, pool.NoPool(o.Index, req.Pool)
	}
	c := Connection{req.Endpoints, cmp.Or(req.Prefix, DefaultPrefix), req.CA, req.Cert, keystore.NewSecret(req.Key)}
	if err := c.check(); err != nil {
		return nil, err
	}
	m, err := starting(ctx, o, name, req, c)
	if err != nil {
		return nil, err
	}
	p, err := connect(ctx, o, m, dial)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.start(ctx, name); err != nil {
		return nil, err
	}
	d, err := p.statusOrAlone(ctx)
	return &pipe.StartResult{Pool: d}, err
}

// starting is the membership to begin with, or to go on with. It isn't stored yet.
func starting(ctx context.Context, o *folder.Opened, name string, req pipe.StartRequest, c Connection) (*Membership, error) {
	all, err := memberships(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if m.Local != name {
			continue
		}
		if !m.Unfinished || m.Ticket != "" {
			return nil, fault.Errorf(fault.Fenced, "pool %s is shared already", fault.Quote(name)).
				Try(fault.Remedy{Do: fault.ShareStatus, Pool: name}, fault.Remedy{Do: fault.ShareInvite, Pool: name})
		}
		if c.Prefix = m.Prefix; req.Prefix != "" && req.Prefix != m.Prefix {
			return nil, fault.Errorf(fault.Usage, "sharing pool %s was begun with the prefix %s", fault.Quote(name), fault.Quote(m.Prefix))
		}
		m.Connection = c
		return m, nil
	}
	for _, a := range o.Index.Members(name) {
		stored, err := o.Grants(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		if stored.Best == nil {
			return nil, pool.Lost(a)
		}
		if err := shareable(o.Index, a, stored.Best); err != nil {
			return nil, err
		}
	}
	m := &Membership{Pool: index.NewSharedPoolID(), Local: name, Connection: c, Machine: index.NewMachineID(), Role: seal.Holder, Unfinished: true}
	if m.Name, err = machineName(req.Machine, nil); err != nil {
		return nil, err
	}
	if m.Identity, _, err = seal.NewIdentity(); err != nil {
		return nil, err
	}
	keys, err := seal.NewKeys(1)
	m.Keys = seal.Ring{keys}
	return m, err
}

// start does what is left to do of Start.
func (p *party) start(ctx context.Context, name string) error {
	// Nothing is stored until the engine has answered.
	e, err := p.get(ctx, p.key("meta", ""))
	if err != nil {
		return err
	}
	p.Cluster, p.Revision, p.restored = p.id.Cluster, p.id.Revision, false
	if err := p.save(ctx, p.o); err != nil {
		return err
	}
	folder.Reached("S12")
	if e.Version == 0 {
		recipient, err := seal.Recipient(p.Identity)
		if err != nil {
			return err
		}
		me := seal.Machine{ID: p.Machine, Name: p.Name, Role: seal.Holder, Recipient: recipient, User: p.user(), Since: time.Now().UTC().Truncate(time.Second)}
		meta := seal.NewMeta(p.Pool, p.Keys.Newest(), seal.Roster{Name: name, Provider: p.o.Index.Pools[name].Provider, Machines: []seal.Machine{me}})
		value, err := meta.Encode(p.Keys)
		if err != nil {
			return p.unbelievable("the list of its machines", err)
		}
		if err := p.change(ctx, p.key("meta", ""), func(now []byte) ([]byte, error) {
			if now != nil {
				return now, nil
			}
			return value, nil
		}); err != nil {
			return err
		}
	}
	if err := p.members.look(ctx); err != nil {
		return err
	}
	if err := p.members.handOut(ctx); err != nil {
		return err
	}
	if err := p.note(ctx); err != nil {
		return err
	}
	folder.Reached("S13")
	for {
		if err := p.reread(); err != nil {
			return err
		}
		entered := false
		for _, a := range p.o.Index.Members(name) {
			if a.Share != nil && a.Share.Pool == p.Pool && a.Share.State != "" {
				continue
			}
			if err := p.accounts.enter(ctx, a.ID); err != nil {
				return err
			}
			entered = true
		}
		if !entered { // none was added meanwhile
			break
		}
	}
	folder.Reached("S14")
	p.Unfinished = false
	return p.save(ctx, p.o)
}
