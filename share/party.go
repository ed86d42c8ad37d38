package share

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// party is a shared pool at work: this machine's part in it, and a connection to its engine.
type party struct {
	*Membership
	o      *folder.Opened
	engine engine.Engine
	dial   Dialer
	// release ends that the folder is held; nil: it isn't, or somebody else does.
	release func()

	meta     *seal.Meta // as last read or written; nil: not read yet
	id       engine.Identity
	restored bool // the engine has forgotten something
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
	return p, p.look(ctx)
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
		err = p.settle(ctx)
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
	p := &party{Membership: m, o: o, engine: e, dial: dial}
	if s := o.Index.SharedPool(m.Pool); s != nil {
		p.restored = s.Engine == index.EngineRestored
	}
	return p, nil
}

func (p *party) close() {
	_ = p.engine.Close()
	if p.release != nil {
		p.release()
	}
}

func (p *party) key(kind, id string) string { return Key(p.Prefix, p.Pool, kind, id) }

// reread makes p see the folder's index as it is now.
func (p *party) reread() error {
	idx, err := p.o.Read()
	if err != nil {
		return err
	}
	o, err := p.o.Open(idx)
	if err == nil {
		p.o = o
	}
	return err
}

// watch takes note of what the engine says of itself.
func (p *party) watch(id engine.Identity) {
	pinned := p.Revision
	if s := p.o.Index.SharedPool(p.Pool); s != nil {
		pinned = max(pinned, s.Revision)
	}
	if p.Cluster != "" && id.Cluster != p.Cluster || id.Revision < max(pinned, p.id.Revision) {
		p.restored = true
	}
	p.id = id
}

// unrestored is the error for an engine that has forgotten something; nil: it hasn't.
func (p *party) unrestored() error {
	if !p.restored {
		return nil
	}
	return fault.Errorf(fault.EngineRestored, "the engine of pool %s has forgotten something, as after restoring a backup; nothing was changed", fault.Quote(p.Local)).
		Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
}

func (p *party) get(ctx context.Context, key string) (engine.Entry, error) {
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	e, id, err := p.engine.Get(call, key)
	if err != nil {
		return e, p.engineFault(ctx, err)
	}
	p.watch(id)
	return e, nil
}

// all reads the values of a kind, by their ids.
func (p *party) all(ctx context.Context, kind string) (map[string]engine.Entry, error) {
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	prefix := p.key(kind, "") + "/"
	entries, id, err := p.engine.List(call, prefix)
	if err != nil {
		return nil, p.engineFault(ctx, err)
	}
	p.watch(id)
	found := map[string]engine.Entry{}
	for _, e := range entries {
		found[strings.TrimPrefix(e.Key, prefix)] = e
	}
	return found, nil
}

// changeTries is how often a change is tried that others get in the way of.
const changeTries = 20

// change makes the value of key what next says, which is given what is there (nil: nothing).
// If that is right already, next returns it. As the outcome of a swap may be unknown, and
// others change values too, next may be called any number of times.
func (p *party) change(ctx context.Context, key string, next func(now []byte) ([]byte, error)) error {
	var last error
	for try := range changeTries {
		e, err := p.get(ctx, key)
		if err != nil {
			return err
		}
		value, err := next(e.Value)
		if err != nil || bytes.Equal(value, e.Value) {
			return err
		}
		call, cancel := context.WithTimeout(ctx, engineCall)
		_, won, err := p.engine.Swap(call, key, e.Version, value)
		cancel()
		switch {
		case won:
			return nil
		case err != nil && !errors.Is(err, engine.ErrUnknown):
			return p.engineFault(ctx, err)
		}
		last = err
		select {
		case <-time.After(min(firstPause<<min(try, 5), longestPause)):
		case <-ctx.Done():
			return p.engineFault(ctx, ctx.Err())
		}
	}
	return p.engineFault(ctx, errors.Join(engine.ErrUnreachable, last))
}

// look reads the pool's meta, and gets later keys if there are any.
func (p *party) look(ctx context.Context) error {
	e, err := p.get(ctx, p.key("meta", ""))
	if err != nil {
		return err
	}
	m, err := p.openMeta(ctx, e.Value)
	if err != nil {
		return err
	}
	p.meta = m
	if !p.restored && !bytes.Equal(p.Meta, e.Value) && len(e.Value) <= maxMeta {
		p.Meta = slices.Clone(e.Value)
		p.Cluster, p.Revision = p.id.Cluster, max(p.Revision, p.id.Revision)
		return p.save(ctx, p.o)
	}
	return nil
}

// openMeta opens the pool's meta, and gets later keys if it needs them.
func (p *party) openMeta(ctx context.Context, value []byte) (*seal.Meta, error) {
	if value == nil {
		p.restored = true
		return nil, fault.Errorf(fault.EngineRestored, "the engine no longer knows pool %s", fault.Quote(p.Local)).Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
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

// ring has all keys of this machine, those too that it may not have handed out.
func (p *party) ring() seal.Ring {
	if p.Next == nil {
		return p.Keys
	}
	return append(slices.Clone(p.Keys), *p.Next)
}

// prune forgets keys that are over, and those of this machine that the pool has others for.
func (p *party) prune(ctx context.Context, m *seal.Meta) error {
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
func (p *party) renewKeys(ctx context.Context, m *seal.Meta) error {
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
func (p *party) newKeys() error {
	return fault.Errorf(fault.EngineUnreachable, "pool %s is getting new keys, and this machine doesn't have them yet", fault.Quote(p.Local)).Try(fault.Remedy{Do: fault.Again})
}

// outside is the error for a machine that isn't in the pool any more.
func (p *party) outside() error {
	return fault.Errorf(fault.NotAMember, "this machine is no longer a member of pool %s", fault.Quote(p.Local)).
		Try(fault.Remedy{Do: fault.ShareLeave, Pool: p.Local}, fault.Remedy{Do: fault.ShareJoin})
}

// unbelievable is the error for a value that no machine of the pool has stored like that.
func (p *party) unbelievable(what string, err error) error {
	switch {
	case errors.Is(err, seal.ErrNewer):
		return fault.Errorf(fault.IndexTooNew, "pool %s has been used by a newer authferry; nothing was changed", fault.Quote(p.Local)).Try(fault.Remedy{Do: fault.ShowVersion})
	case errors.Is(err, seal.ErrOver):
		p.restored = true
		return p.unrestored()
	case errors.Is(err, seal.ErrTooBig):
		return fault.Errorf(fault.SecretTooBig, "pool %s: %s would be too big for its engine", fault.Quote(p.Local), what).Because(err)
	}
	return fault.Errorf(fault.Fenced, "pool %s: %s is not what a machine of the pool has stored; nothing was changed", fault.Quote(p.Local), what).
		Because(err).Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
}

// note records in the index how the engine is and what people are shown of the pool.
func (p *party) note(ctx context.Context) error {
	state := index.EngineOK
	if p.restored {
		state = index.EngineRestored
	}
	return p.o.Update(ctx, index.Fast, func(idx *index.Index) error {
		s := idx.SharedPool(p.Pool)
		if s == nil {
			idx.Shares = append(idx.Shares, index.SharedPool{ID: p.Pool})
			s = idx.SharedPool(p.Pool)
		}
		s.Pool, s.Machine, s.Role, s.Passing = p.Local, p.Name, string(p.Role), p.Passing
		s.SeenAt, s.Engine = time.Now().UTC(), state
		if !p.restored {
			s.Revision = max(s.Revision, p.id.Revision)
		}
		p.o.Index = idx
		return nil
	})
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
