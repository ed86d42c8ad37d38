package share

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// link is a shared pool as this machine reaches it: its part in the pool, its folder, and a
// connection to the pool's engine.
type link struct {
	*Membership
	o      *folder.Opened
	engine engine.Engine

	id       engine.Identity // the engine's, as of its last answer
	restored bool            // the engine has forgotten something
}

func (p *link) key(kind, id string) string { return Key(p.Prefix, p.Pool, kind, id) }

// reread makes p see the folder's index as it is now.
func (p *link) reread() error {
	idx, err := p.o.Folder.Read()
	if err != nil {
		return err
	}
	o, err := p.o.Folder.Open(idx)
	if err == nil {
		p.o = o
	}
	return err
}

// watch takes note of what the engine says of itself.
func (p *link) watch(id engine.Identity) {
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
func (p *link) unrestored() error {
	if !p.restored {
		return nil
	}
	return fault.Errorf(fault.EngineRestored, "the engine of pool %s has forgotten something, as after restoring a backup; nothing was changed", fault.Quote(p.Local)).
		Try(fault.Remedy{Do: fault.ShareDoctor, Pool: p.Local})
}

func (p *link) get(ctx context.Context, key string) (engine.Entry, error) {
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
func (p *link) all(ctx context.Context, kind string) (map[string]engine.Entry, error) {
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
func (p *link) change(ctx context.Context, key string, next func(now []byte) ([]byte, error)) error {
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

// swap replaces a value, if the engine still has that version of it. won false without an
// error: it hasn't, or the outcome is unknown.
func (p *link) swap(ctx context.Context, key string, version engine.Version, value []byte) (now engine.Entry, won bool, err error) {
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	now, won, err = p.engine.Swap(call, key, version, value)
	if err != nil && !errors.Is(err, engine.ErrUnknown) {
		return now, false, p.engineFault(ctx, err)
	}
	return now, won, nil
}

// unbelievable is the error for a value that no machine of the pool has stored like that.
func (p *link) unbelievable(what string, err error) error {
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
func (p *link) note(ctx context.Context) error {
	state := index.EngineOK
	if p.restored {
		state = index.EngineRestored
	}
	return p.o.Folder.Update(ctx, index.Fast, func(idx *index.Index) error {
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
