package place

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
)

// At is where a caller is.
type At struct {
	Dir     string // the working directory; empty: no binding applies
	Unknown bool   // there is one, and nobody can tell which
}

// Bound returns the binding that counts in the caller's directory for provider or,
// where that is empty, the nearest one. Nil: the directory is not bound for it.
//
// "Not known" is not "not bound". Where bindings exist and nobody can tell whether
// one of them is for this directory, the error is Fenced. A directory that is bound
// for several providers of which none is named is bound for the one that has
// accounts; for more than one the error is Ambiguous.
func Bound(idx *index.Index, home string, at At, provider string) (*index.Binding, error) {
	if at.Dir == "" && !at.Unknown {
		return nil, nil
	}
	var all []*index.Binding
	for i := range idx.Bindings {
		if bd := &idx.Bindings[i]; provider == "" || bd.Provider == provider {
			all = append(all, bd)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	if at.Unknown {
		return nil, noPlace(errors.New("it was deleted, or may not be read"))
	}
	found, err := nearest(all, home, at.Dir)
	if len(found) > 1 {
		if alive := slices.DeleteFunc(slices.Clone(found), func(bd *index.Binding) bool { return len(idx.PoolsOf(bd.Provider)) == 0 }); len(alive) > 0 {
			found = alive
		}
	}
	switch {
	case err != nil:
		return nil, err
	case len(found) == 0:
		return nil, nil
	case len(found) > 1 && len(idx.PoolsOf(found[0].Provider)) > 0:
		return nil, fault.Errorf(fault.Ambiguous, "which provider? this directory is bound for %s and for %s", found[0].Provider, found[1].Provider).
			Try(fault.Remedy{Do: fault.Again, Provider: found[0].Provider}, fault.Remedy{Do: fault.Again, Provider: found[1].Provider})
	}
	return found[0], nil
}

// UnknownError is why the working directory is unknown.
type UnknownError struct{ error }

// noPlace is the error for a directory whose binding is not known.
func noPlace(why error) *fault.Error {
	return fault.Errorf(fault.Fenced, "the working directory is unknown, and there are directories that are bound to a pool or an account").
		Try(fault.Remedy{Do: fault.LeaveFolder}).Because(UnknownError{why})
}

// MaxCompared is how many bindings of an index are compared as files, by each token.
const MaxCompared = 1000

// nearest returns those of bindings that are for dir or the closest of its parents,
// one for each provider. A parent is compared with them by its path first, then by
// the other paths at which it is mounted or lies below an overlay, and as a file: the path of a binding may be
// a link by now, or say the same in another case. What index.json names on a file
// server is not looked at; unless the path decides, the place is then unknown.
func nearest(bindings []*index.Binding, home, dir string) ([]*index.Binding, error) {
	real, err := index.RealPath(dir)
	if err != nil {
		return nil, noPlace(err)
	}
	var near matches
	for _, bd := range bindings {
		near.add(bd, stepsUp(real, bd.Dir))
	}
	if len(near.found) > 0 && near.steps == 0 || len(near.found) == len(bindings) {
		return near.found, nil
	}
	if len(bindings) > MaxCompared {
		return nil, noPlace(fmt.Errorf("over %d directories are bound, too many to compare", MaxCompared)).
			Try(fault.Remedy{Do: fault.Unbind, Path: bindings[0].Dir})
	}
	m, err := Mounted(home)
	if err != nil {
		return nil, noPlace(err)
	}
	var also matches
	names := m.namesOf(real)
	for _, bd := range bindings {
		for _, name := range slices.Concat(names, m.layersOf(real)) {
			also.add(bd, stepsUp(name, bd.Dir))
		}
	}
	var unseen error
	for _, bd := range bindings {
		info, err := m.Stat(bd.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			unseen = noPlace(err).Try(fault.Remedy{Do: fault.Unbind, Path: bd.Dir})
			continue
		}
		for _, name := range append(names, real) {
			steps, err := stepsToFile(name, info)
			if err != nil {
				return nil, noPlace(err)
			}
			also.add(bd, steps)
		}
	}
	switch {
	case len(also.found) > 0 && (len(near.found) == 0 || also.steps < near.steps):
		return also.found, also.contradiction()
	case len(near.found) > 0:
		return near.found, nil
	}
	return nil, unseen
}

// matches are the bindings that are the fewest steps up from a directory.
type matches struct {
	found []*index.Binding
	steps int
}

// add takes a binding that is so many steps up; -1: it is not among the parents.
func (m *matches) add(bd *index.Binding, steps int) {
	switch {
	case steps < 0 || len(m.found) > 0 && steps > m.steps:
	case len(m.found) == 0 || steps < m.steps:
		m.found, m.steps = []*index.Binding{bd}, steps
	case !slices.ContainsFunc(m.found, func(o *index.Binding) bool {
		return o.Provider == bd.Provider && o.Account == bd.Account && o.Pool == bd.Pool
	}):
		m.found = append(m.found, bd)
	}
}

// contradiction is an error where two paths to one directory are bound to different
// things.
func (m *matches) contradiction() error {
	for i, x := range m.found {
		for _, y := range m.found[:i] {
			if x.Provider == y.Provider {
				return fault.Errorf(fault.Fenced, "this directory is bound twice, as %s and as %s", fault.Quote(y.Dir), fault.Quote(x.Dir)).
					Try(fault.Remedy{Do: fault.Unbind, Path: x.Dir})
			}
		}
	}
	return nil
}

// stepsUp is how many parents of path it takes to come to dir; -1: it is none of them.
func stepsUp(path, dir string) int {
	for steps := 0; ; steps++ {
		if path == dir {
			return steps
		}
		parent := filepath.Dir(path)
		if parent == path {
			return -1
		}
		path = parent
	}
}

// stepsToFile is stepsUp for the directory that info is of.
func stepsToFile(path string, info fs.FileInfo) (int, error) {
	for steps := 0; ; steps++ {
		own, err := os.Stat(path)
		if err != nil {
			return -1, err
		}
		if os.SameFile(own, info) {
			return steps, nil
		}
		parent := filepath.Dir(path)
		if parent == path {
			return -1, nil
		}
		path = parent
	}
}
