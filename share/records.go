package share

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// records are what the engine has of a pool's accounts, as commands read and write it. While
// a login is refreshed, that is a turn's.
type records struct {
	*link
	members *members
}

// open opens the engine's record of an account, which e has.
func (p *records) open(id string, e engine.Entry) (*seal.Record, error) {
	r, err := seal.Open(p.Keys, p.Pool, id, e.Value)
	if err != nil {
		return nil, p.unbelievable("account "+id, err)
	}
	return r, nil
}

// read opens all records of the engine that can be opened. The others' ids are in bad, but
// for those whose keys are over: they are as good as none.
func (p *records) read(ctx context.Context) (good map[string]*seal.Record, bad map[string]error, err error) {
	entries, err := p.all(ctx, "acc")
	if err != nil {
		return nil, nil, err
	}
	good, bad = map[string]*seal.Record{}, map[string]error{}
	for id, e := range entries {
		switch r, err := seal.Open(p.Keys, p.Pool, id, e.Value); {
		case err == nil:
			good[id] = r
		case !errors.Is(err, seal.ErrOver):
			bad[id] = p.unbelievable("account "+id, err)
		}
	}
	return good, bad, nil
}

// firstGeneration is the pool's generation for an account that comes into it: 1, or above the
// last one of the same account, if it was in it before.
func (p *records) firstGeneration(ctx context.Context, id string) (int, error) {
	e, err := p.get(ctx, p.key("acc", id))
	if err != nil || e.Version == 0 {
		return 1, err
	}
	r, err := p.open(id, e)
	if err != nil {
		return 0, err
	}
	return r.Gen + 1, nil
}

// publish makes the engine's record of an account that it doesn't have.
func (p *records) publish(ctx context.Context, a *index.Account, g *record.Grant) error {
	for {
		r, err := p.first(ctx, a, g)
		if err != nil {
			return err
		}
		if err := p.change(ctx, p.key("acc", a.ID), func(now []byte) ([]byte, error) { return p.unlessThere(ctx, r, now) }); err != nil {
			return err
		}
		// If the pool has got new keys meanwhile, nobody believes what was stored with the old.
		if err := p.members.look(ctx); err != nil {
			return err
		}
		if r.Epoch < p.members.meta.Epoch {
			continue
		}
		return p.o.Folder.Change(ctx, index.Fast, a.ID, func(_ *index.Index, a *index.Account) {
			show(a, p.Pool, p.Role, r.State, r.Gen)
			a.Share.Settings = settingsOf(r.Public)
		})
	}
}

// first is the record of an account of this folder, as if it were the first.
func (p *records) first(ctx context.Context, a *index.Account, g *record.Grant) (*seal.Record, error) {
	acc, _, err := p.o.Store.AccessOf(ctx, a.ID, g.Generation)
	if err != nil {
		return nil, err
	}
	c := seal.Contents{Pool: p.Pool, Account: a.ID, Gen: g.PoolGeneration, Grant: g, Access: acc, Public: publicOf(a)}
	if g.NeedsClient() {
		cs, err := p.o.Store.ClientSecret(ctx, g.Endpoint)
		if err != nil {
			return nil, err
		}
		c.Client = &cs
	}
	r, err := seal.Seal(p.Keys, c)
	if err != nil {
		return nil, p.unbelievable("the login of account "+fault.Quote(a.Label), err)
	}
	if a.Dead != "" && a.Dead == a.Fingerprint {
		r.State = seal.Dead
	}
	return r, nil
}

// unlessThere is r, or what the engine has in its place already: stored by this machine
// before a crash, or by another that has seen more.
func (p *records) unlessThere(ctx context.Context, r *seal.Record, now []byte) ([]byte, error) {
	if now != nil {
		switch there, err := seal.Open(p.Keys, p.Pool, r.Account, now); {
		case errors.Is(err, seal.ErrOver):
		case err != nil:
			return nil, p.unbelievable("account "+fault.Quote(r.Public.Label), err)
		case there.Public.Removing && there.Gen < r.Gen:
		case there.Epoch < r.Epoch:
			return p.resealed(ctx, there)
		default:
			return now, nil
		}
	}
	value, err := r.Encode(p.Keys)
	if err != nil {
		return nil, p.unbelievable("the login of account "+fault.Quote(r.Public.Label), err)
	}
	return value, nil
}

// publicOf is what all machines may know of an account.
func publicOf(a *index.Account) seal.Public {
	return seal.Public{
		Label: a.Label, Provider: a.Provider, Kind: a.Kind, Rank: a.Rank, Disabled: a.Disabled,
		Identity: a.Identity, Issuer: a.Issuer, Subject: a.Subject, Organization: a.Organization,
	}
}

// reseal seals every record with the newest keys, and then stops believing older ones.
func (p *records) reseal(ctx context.Context) error {
	if p.members.meta.Oldest == p.members.meta.Epoch {
		return nil
	}
	entries, err := p.all(ctx, "acc")
	if err != nil {
		return err
	}
	for id := range entries {
		if err := p.change(ctx, p.key("acc", id), func(now []byte) ([]byte, error) {
			if now == nil {
				return nil, nil
			}
			r, err := seal.Open(p.Keys, p.Pool, id, now)
			switch {
			case errors.Is(err, seal.ErrOver):
				return now, nil // nobody believes it
			case err != nil:
				return nil, p.unbelievable("account "+id, err)
			case r.Epoch == p.members.meta.Epoch:
				return now, nil
			}
			return p.resealed(ctx, r)
		}); err != nil {
			return err
		}
	}
	// A machine may have answered its ticket with the old keys, just before the ticket got
	// new ones: it would never be read later.
	if err := p.members.settle(ctx); err != nil {
		return err
	}
	folder.Reached("S22")
	if err := p.members.changeMeta(ctx, func(m *seal.Meta) (bool, error) {
		changed := m.Oldest != m.Epoch && m.Epoch == p.Keys.Newest().Epoch
		if changed {
			m.Oldest = m.Epoch
		}
		return changed, nil
	}); err != nil {
		return err
	}
	return p.members.look(ctx)
}

// resealed is r with the newest keys.
func (p *records) resealed(ctx context.Context, r *seal.Record) ([]byte, error) {
	if err := p.members.expose(ctx, r); err != nil {
		return nil, err
	}
	next, err := r.Reseal(p.Keys)
	if err != nil {
		return nil, p.unbelievable("account "+r.Account, err)
	}
	return next.Encode(p.Keys)
}

// byRank sorts records as the machine that put them into the pool had them.
func byRank(all map[string]*seal.Record) []*seal.Record {
	var sorted []*seal.Record
	for _, r := range all {
		sorted = append(sorted, r)
	}
	slices.SortFunc(sorted, func(a, b *seal.Record) int {
		if a.Public.Rank != b.Public.Rank {
			return a.Public.Rank - b.Public.Rank
		}
		return cmp.Compare(a.Account, b.Account)
	})
	return sorted
}
