package share

import (
	"cmp"
	"context"
	"slices"
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
// marks them as shared. After a crash or an error it goes on when it is called again. For a
// pool that is shared already, whoever began that, it only changes how this machine reaches
// the engine: what req leaves out stays. Errors: NoAccount (no such pool), Fenced (an account
// that can't be shared, or nothing to change), Usage, and those of engine, keystore and index.
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
	if m, err := sharedAlready(ctx, o, req.Pool); err != nil || m != nil {
		if err != nil {
			return nil, err
		}
		return reconnect(ctx, o, m, dial, req)
	}
	name, _, ok := o.Index.FindPool(req.Pool)
	if !ok {
		return nil, pool.NoPool(o.Index, req.Pool)
	}
	c := Connection{req.Endpoints, cmp.Or(req.Prefix, DefaultPrefix), req.CA, req.Cert, keystore.NewSecret(req.Key)}
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := c.mayBeMachines(); err != nil { // here it is the person's own affair
		o.Folder.Warn(err.Error(), fault.Remedy{Do: fault.ShareRights})
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

// sharedAlready is this machine's part in the pool of that name or id; nil: it has none, or
// hasn't finished it.
func sharedAlready(ctx context.Context, o *folder.Opened, name string) (*Membership, error) {
	all, err := memberships(ctx, o)
	if err != nil {
		return nil, err
	}
	for _, m := range all {
		if !m.Unfinished && (m.Pool == name || index.EqualLabel(m.Local, name)) {
			return m, nil
		}
	}
	return nil, nil
}

// reconnect changes the engine's addresses for this machine, or what it shows to the engine,
// once the pool was found there.
func reconnect(ctx context.Context, o *folder.Opened, m *Membership, dial Dialer, req pipe.StartRequest) (*pipe.StartResult, error) {
	c := m.Connection
	c.Endpoints, c.CA = req.Endpoints, cmp.Or(req.CA, c.CA)
	if req.Cert != "" || req.Key != "" {
		c.Cert, c.Key = req.Cert, keystore.NewSecret(req.Key)
	}
	switch {
	case cmp.Or(req.Prefix, c.Prefix) != c.Prefix, cmp.Or(req.Machine, m.Name) != m.Name:
		return nil, fault.Errorf(fault.Usage, "pool %s is shared already, with the prefix %s, and this machine is %s in it; that can't be changed", fault.Quote(m.Local), fault.Quote(m.Prefix), fault.Quote(m.Name))
	case slices.Equal(c.Endpoints, m.Endpoints) && c.CA == m.CA && c.Cert == m.Cert && c.Key.Reveal() == m.Key.Reveal():
		return nil, fault.Errorf(fault.Fenced, "pool %s is shared already", fault.Quote(m.Local)).
			Try(fault.Remedy{Do: fault.ShareStatus, Pool: m.Local}, fault.Remedy{Do: fault.ShareInvite, Pool: m.Local})
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	if c.user() != m.user() { // by which the others would shut it out
		return nil, fault.Errorf(fault.Usage, "the certificate is that of %s, and this machine is known to the engine as %s", fault.Quote(c.user()), fault.Quote(m.user()))
	}
	stays := list(m.Endpoints)
	m.Connection = c
	p, err := connect(ctx, o, m, dial)
	if err != nil {
		return nil, err
	}
	defer p.close()
	if err := p.members.look(ctx); err != nil {
		return nil, fault.Errorf(fault.CodeOf(err), "this machine still looks for pool %s at %s: %v", fault.Quote(m.Local), stays, err).Try(fault.Remedy{Do: fault.ShareStatus, Pool: m.Local})
	}
	if err := p.save(ctx, p.o); err != nil {
		return nil, err
	}
	d, err := p.statusOrAlone(ctx)
	return &pipe.StartResult{Pool: d, Changed: true}, err
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
		if m.Ticket != "" {
			return nil, m.finished()
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
