package share

import (
	"context"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// party is a shared pool at work, for a command: its parts, which have one link.
type party struct {
	*link
	members  *members
	records  *records
	accounts *accounts
	limits   *limits
	// release ends that the folder is held; nil: it isn't, or somebody else does.
	release func()
}

func newParty(l *link, dial Dialer) *party {
	m := &members{link: l}
	r := &records{link: l, members: m}
	return &party{link: l, members: m, records: r, accounts: &accounts{link: l, records: r, dial: dial}, limits: &limits{link: l, members: m, records: r}}
}

// opened opens the folder as it is now.
func opened(ctx context.Context, f *folder.Folder) (*folder.Opened, error) {
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	return f.OpenForChange(ctx, idx)
}

// open opens the pool that a person names, and reads its meta. The error of an engine that
// can't be reached comes with a party.
func open(ctx context.Context, f *folder.Folder, dial Dialer, name string) (*party, error) {
	o, err := opened(ctx, f)
	if err != nil {
		return nil, err
	}
	m, err := find(ctx, o, name)
	if err != nil {
		return nil, err
	}
	if err := m.finished(); err != nil {
		return nil, err
	}
	p, err := connect(ctx, o, m, dial)
	if err != nil {
		return nil, err
	}
	return p, p.members.look(ctx)
}

// openToChange is open for commands that change the pool.
func openToChange(ctx context.Context, f *folder.Folder, dial Dialer, name string) (*party, error) {
	p, err := open(ctx, f, dial, name)
	if p == nil {
		return nil, err
	}
	if err == nil {
		err = p.unrestored()
	}
	if err == nil && p.Role == seal.Holder {
		err = p.members.settle(ctx)
	}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openAsHolder is openToChange for what only holders can do. The folder is held until the
// party is closed.
func openAsHolder(ctx context.Context, f *folder.Folder, dial Dialer, name string) (*party, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	p, err := openToChange(ctx, f, dial, name)
	if err != nil {
		release()
		return nil, err
	}
	p.release = release
	if err := p.holder(); err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// openForAccount is openAsHolder for the pool of an account that a person names. If it isn't
// shared, own is what to do instead.
func openForAccount(ctx context.Context, f *folder.Folder, dial Dialer, name string, own fault.Action) (*party, *index.Account, error) {
	idx, err := f.Read()
	if err != nil {
		return nil, nil, err
	}
	a, err := pool.FindAccount(idx, name, "")
	if err != nil {
		return nil, nil, err
	}
	if a.Share == nil {
		return nil, nil, fault.Errorf(fault.NotAMember, "account %s is not shared with other machines", fault.Quote(a.Label)).Try(fault.Remedy{Do: own, Account: pool.Reference(idx, a)})
	}
	p, err := openAsHolder(ctx, f, dial, a.Share.Pool)
	return p, a, err
}

func connect(ctx context.Context, o *folder.Opened, m *Membership, dial Dialer) (*party, error) {
	e, err := dial(ctx, m.Connection)
	if err != nil {
		return nil, m.engineFault(ctx, err)
	}
	l := &link{Membership: m, o: o, engine: e}
	if s := o.Index.SharedPool(m.Pool); s != nil {
		l.restored = s.Engine == index.EngineRestored
	}
	return newParty(l, dial), nil
}

func (p *party) close() {
	_ = p.engine.Close()
	if p.release != nil {
		p.release()
	}
}

// describe is the pool as results show it.
func (p *party) describe() pipe.Pool {
	d := pipe.Pool{Pool: p.Local, ID: p.Pool, Machine: p.Name, Role: string(p.Role), Passing: p.Passing, Engine: index.EngineOK, SeenAt: pool.Seconds(time.Now()), Accounts: []pipe.State{}}
	if p.restored {
		d.Engine = index.EngineRestored
	}
	return d
}

func list(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
