package doctor

import (
	"errors"
	"io/fs"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/place"
)

// bindings warns about bindings whose directory or target is gone, and about those that
// keep other directories from being recognized.
func (d *examination) bindings() {
	if len(d.idx.Bindings) == 0 {
		return
	}
	m, err := place.Mounted(d.f.Dir)
	if err != nil || len(d.idx.Bindings) > place.MaxCompared {
		d.say("bindings", Warning, "it is unknown which directories are bound; nearly all of them get no token of a provider that has bindings")
		return
	}
	for i := range d.idx.Bindings {
		bd := &d.idx.Bindings[i]
		var why string
		_, err := m.Stat(bd.Dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			why = "is gone; if it was moved, its new place is not bound"
		case err != nil:
			why = "can't be accessed, so unbound directories elsewhere get no token of provider " + bd.Provider
		case bd.Account != "" && d.idx.Account(bd.Account) == nil:
			why = "is bound to an account that was removed, and gets no token of provider " + bd.Provider
		case bd.Pool != "" && d.idx.Pools[bd.Pool].Provider != bd.Provider:
			why = "is bound to pool " + fault.Quote(bd.Pool) + ", which has no account of provider " + bd.Provider + " any more"
		default:
			continue
		}
		d.try("bindings", Warning, fault.Remedy{Do: fault.Unbind, Path: bd.Dir}, "%s %s", fault.Quote(bd.Dir), why)
	}
}
