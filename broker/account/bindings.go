package account

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf8"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
)

// Bindings returns every bound directory, by path and provider.
func Bindings(f *folder.Folder) ([]pool.BindingView, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	return pool.ViewBindings(idx), nil
}

// Bind makes dir, and what is below it, use an account or a pool for its provider. Exactly
// one of account and pool is given. The binding has the resolved path. Errors: NoAccount,
// Ambiguous, Usage (the directory).
func Bind(ctx context.Context, f *folder.Folder, dir, account, poolName string) (*index.Binding, error) {
	real, err := index.RealPath(dir)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "there is no directory %s", fault.Quote(dir))
	}
	switch info, err := os.Stat(real); {
	case err != nil || !info.IsDir():
		return nil, fault.Errorf(fault.Usage, "%s is not a directory", fault.Quote(dir))
	case !utf8.ValidString(real): // JSON would change such a name
		return nil, fault.Errorf(fault.Usage, "the path of %s is not valid UTF-8; bind the directory above it", fault.Quote(dir))
	}
	if _, err := f.Read(); err != nil {
		return nil, err
	}
	m, err := place.Mounted(f.Dir)
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "the table of mounts can't be read").Because(err)
	}
	bd := index.Binding{Dir: real}
	return &bd, f.Update(ctx, index.Durable, func(idx *index.Index) error {
		if poolName != "" {
			name, p, ok := idx.FindPool(poolName)
			if !ok {
				return pool.NoPool(idx, poolName)
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

// Unbind removes the bindings of dir itself, and returns them.
func Unbind(ctx context.Context, f *folder.Folder, dir string) ([]index.Binding, error) {
	given, err := filepath.Abs(dir)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "there is no directory %s", fault.Quote(dir)).Because(err)
	}
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	// The path of a binding is used as it is: the directory may be gone, or on a server
	// that doesn't answer.
	is := func(path string) bool { return path == dir || path == given }
	if !slices.ContainsFunc(idx.Bindings, func(o index.Binding) bool { return is(o.Dir) }) {
		if real, err := index.RealPath(dir); err == nil {
			m, err := place.Mounted(f.Dir)
			if err != nil {
				return nil, fault.Errorf(fault.Internal, "the table of mounts can't be read").Because(err)
			}
			is = func(path string) bool { return m.Same(path, real) }
		}
	}
	var gone []index.Binding
	return gone, f.Update(ctx, index.Durable, func(idx *index.Index) error {
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
