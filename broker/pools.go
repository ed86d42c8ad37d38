package broker

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
)

// Use makes an account current in its pool. Errors: NoAccount, Ambiguous.
func (b *Broker) Use(ctx context.Context, account string) (*index.Account, error) {
	return b.updated(ctx, account, func(idx *index.Index, a *index.Account) error {
		if a.Disabled {
			return fault.Errorf(fault.NoAccount, "account %s is disabled", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.Enable, Account: pool.Reference(idx, a)})
		}
		idx.Use(a)
		return nil
	})
}

// Bind makes dir, and what is below it, use an account, or one of a pool, for
// its provider; account and pool are exclusive. A binding is kept by the
// resolved path. Errors: NoAccount, Ambiguous, Usage (the directory).
func (b *Broker) Bind(ctx context.Context, dir, account, poolName string) (*index.Binding, error) {
	real, err := index.RealPath(dir)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "there is no directory %s", fault.Quote(dir))
	}
	switch info, err := os.Stat(real); {
	case err != nil || !info.IsDir():
		return nil, fault.Errorf(fault.Usage, "%s is not a directory", fault.Quote(dir))
	case !utf8.ValidString(real): // index.json is JSON, and would have another name there
		return nil, fault.Errorf(fault.Usage, "the path of %s is not valid UTF-8; bind the directory above it", fault.Quote(dir))
	}
	if _, err := b.Read(); err != nil {
		return nil, err
	}
	m, err := place.Mounted(b.Dir)
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "the table of mounts can't be read").Because(err)
	}
	bd := index.Binding{Dir: real}
	return &bd, b.Update(ctx, index.Durable, func(idx *index.Index) error {
		if poolName != "" {
			name, p, ok := idx.FindPool(poolName)
			if !ok {
				return fault.Errorf(fault.NoAccount, "there is no pool %s; there are: %s", fault.Quote(poolName), pool.Names(idx, "")).Try(fault.Remedy{Do: fault.ListAccounts})
			}
			bd.Pool, bd.Provider = name, p.Provider
		} else {
			a, err := pool.FindAccount(idx, account, "")
			if err != nil {
				return err
			}
			bd.Account, bd.Provider = a.ID, a.Provider
		}
		idx.Bindings = slices.DeleteFunc(idx.Bindings, func(o index.Binding) bool { return o.Provider == bd.Provider && m.Same(o.Dir, real) })
		idx.Bindings = append(idx.Bindings, bd)
		return nil
	})
}

// Unbind removes the bindings of dir itself and returns them.
func (b *Broker) Unbind(ctx context.Context, dir string) ([]index.Binding, error) {
	given, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "there is no directory %s", fault.Quote(dir)).Because(err)
	}
	idx, err := b.Read()
	if err != nil {
		return nil, err
	}
	// What a binding says is taken as it is: the directory may be gone, or on a server
	// that doesn't answer.
	is := func(path string) bool { return path == dir || path == given }
	if !slices.ContainsFunc(idx.Bindings, func(o index.Binding) bool { return is(o.Dir) }) {
		if real, err := index.RealPath(dir); err == nil {
			m, err := place.Mounted(b.Dir)
			if err != nil {
				return nil, fault.Errorf(fault.Internal, "the table of mounts can't be read").Because(err)
			}
			is = func(path string) bool { return m.Same(path, real) }
		}
	}
	var gone []index.Binding
	return gone, b.Update(ctx, index.Durable, func(idx *index.Index) error {
		idx.Bindings = slices.DeleteFunc(idx.Bindings, func(o index.Binding) bool {
			if is(o.Dir) {
				gone = append(gone, o)
				return true
			}
			return false
		})
		return nil
	})
}

// Disable keeps an account out of selection; where it is current, its pool
// moves on. Enable takes that back. Errors: NoAccount, Ambiguous.
func (b *Broker) Disable(ctx context.Context, account string) (*index.Account, error) {
	return b.updated(ctx, account, func(idx *index.Index, a *index.Account) error {
		b.rules().MoveOn(idx, a, time.Now(), func() { a.Disabled = true })
		return nil
	})
}

// Enable makes an account selectable again.
func (b *Broker) Enable(ctx context.Context, account string) (*index.Account, error) {
	return b.updated(ctx, account, func(_ *index.Index, a *index.Account) error {
		a.Disabled = false
		return nil
	})
}

// Move puts an account into another pool of its provider, as the last one
// there; a pool that does not exist is made. Errors: NoAccount, Ambiguous,
// Fenced (a pool of another provider), Usage (the name).
func (b *Broker) Move(ctx context.Context, account, poolName string) (*index.Account, error) {
	called, err := pool.CheckName(poolName)
	if err != nil {
		return nil, err
	}
	return b.updated(ctx, account, func(idx *index.Index, a *index.Account) error {
		name, err := pool.For(idx, called, a.Provider)
		if err != nil {
			return err
		}
		from := a.Pool
		if from == name {
			return nil
		}
		a.Rank = len(idx.Members(name)) + 1
		a.Pool = name
		to := idx.Pools[name]
		to.Provider = a.Provider
		if cur := idx.Account(to.Current); cur == nil || cur.Pool != name {
			to.Current = a.ID
		}
		idx.Pools[name] = to
		left := pool.Rank(idx.Members(from))
		if len(left) == 0 {
			delete(idx.Pools, from)
			return nil
		}
		if p := idx.Pools[from]; p.Current == a.ID {
			p.Current = left[0].ID
			idx.Pools[from] = p
		}
		return nil
	})
}

// Order gives an account the n-th rank of its pool, from 1; beyond the end is
// the end. Errors: NoAccount, Ambiguous, Usage.
func (b *Broker) Order(ctx context.Context, account string, n int) (*index.Account, error) {
	if n < 1 {
		return nil, fault.Errorf(fault.Usage, "ranks count from 1")
	}
	return b.updated(ctx, account, func(idx *index.Index, a *index.Account) error {
		members := idx.Members(a.Pool)
		others := slices.DeleteFunc(members, func(m *index.Account) bool { return m.ID == a.ID })
		pool.Rank(slices.Insert(others, min(n-1, len(others)), a))
		return nil
	})
}

// updated changes one account's entry and returns it as it then is.
func (b *Broker) updated(ctx context.Context, account string, change func(*index.Index, *index.Account) error) (*index.Account, error) {
	var changed *index.Account
	err := b.updateAccount(ctx, account, func(idx *index.Index, a *index.Account) error {
		changed = a
		if idx.Pools == nil {
			idx.Pools = map[string]index.Pool{}
		}
		return change(idx, a)
	})
	return changed, err
}

// ExecEnv returns the names of the variables in which programs of the
// account's provider expect its token. Errors: Usage where none is known, or the
// user's own providers can't be read.
func (b *Broker) ExecEnv(a *index.Account) ([]string, error) {
	ps, err := b.Providers()
	if err != nil {
		return nil, err
	}
	p, ok := ps.Get(a.Provider)
	if !ok {
		return nil, fault.Errorf(fault.Usage, "provider %s is not known any more, so name the variable", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	names := p.Env
	if a.Kind == index.KindAPIKey {
		names = p.KeyEnv()
	}
	if len(names) == 0 {
		return nil, fault.Errorf(fault.Usage, "provider %s sets no variable for its token", a.Provider).Try(fault.Remedy{Do: fault.Again, Name: "env", Value: "NAME"})
	}
	return names, nil
}

// Rename changes an account's label and nothing else. Errors: NoAccount,
// Ambiguous, LabelTaken, Usage.
func (b *Broker) Rename(ctx context.Context, account, label string) (*index.Account, error) {
	label, err := index.CheckLabel(label)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "invalid label").Because(err)
	}
	var renamed *index.Account
	err = b.updateAccount(ctx, account, func(idx *index.Index, a *index.Account) error {
		if slices.ContainsFunc(idx.Labelled(a.Provider, label), func(o *index.Account) bool { return o.ID != a.ID }) {
			return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(label), a.Provider).Try(fault.Remedy{Do: fault.ListAccounts})
		}
		a.Label, renamed = label, a
		return nil
	})
	return renamed, err
}

// updateAccount changes one account's entry, found by what the user called it.
func (b *Broker) updateAccount(ctx context.Context, account string, change func(*index.Index, *index.Account) error) error {
	if _, err := b.Read(); err != nil {
		return err // a folder without an index is not made just to find nothing in it
	}
	return b.Update(ctx, index.Durable, func(idx *index.Index) error {
		a, err := pool.FindAccount(idx, account, "")
		if err != nil {
			return err
		}
		return change(idx, a)
	})
}
