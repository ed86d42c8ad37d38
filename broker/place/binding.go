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
	Unknown bool   // there is one, but it is unknown
}

// Bound returns the binding that applies to the caller's directory for provider; where
// provider is empty, the nearest one. Nil: the directory is not bound for it.
//
// Where bindings exist and it can't be told whether one of them applies, the error is
// Fenced. Where no provider is named and the directory is bound for several, the one that
// has accounts counts; if several have, the error is Ambiguous.
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

// UnknownError says why the working directory is unknown.
type UnknownError struct{ error }

// noPlace is the error where it is unknown whether a binding applies.
func noPlace(why error) *fault.Error {
	return fault.Errorf(fault.Fenced, "the working directory is unknown, and there are directories that are bound to a pool or an account").
		Try(fault.Remedy{Do: fault.LeaveFolder}).Because(UnknownError{why})
}

// MaxCompared is how many bindings are compared as files, for each token.
const MaxCompared = 1000

// nearest returns, for each provider, the binding of dir or else of the closest of its
// parents. Each parent is compared with the bindings by its path first, then by the other
// paths at which it is mounted or visible through an overlay, and last as a file: a bound
// path may be a link by now, or differ in case. Bound paths on a file server are not
// accessed: unless text decides, the place is unknown.
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

// matches are the bindings that are the fewest levels above a directory.
type matches struct {
	found []*index.Binding
	steps int
}

// add takes a binding that many levels up; -1: it is not among the parents.
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

// contradiction is the error where two paths of one directory are bound differently.
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

// stepsUp is how many levels dir is above path; -1: it is not above it.
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
