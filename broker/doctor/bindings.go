package doctor

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
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
	fine := 0
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
			fine++
			continue
		}
		d.try("bindings", Warning, fault.Remedy{Do: fault.Unbind, Path: bd.Dir}, "%s %s", fault.Quote(bd.Dir), why)
	}
	if fine < len(d.idx.Bindings) {
		return
	}
	const most = 3
	var bound []string
	for _, v := range pool.ViewBindings(d.idx)[:min(len(d.idx.Bindings), most)] {
		bound = append(bound, fault.Quote(v.Dir)+" of "+v.Provider)
	}
	if more := len(d.idx.Bindings) - most; more > 0 {
		bound = append(bound, fmt.Sprintf("and %d more", more))
	}
	d.say("bindings", OK, "%s: %s", plural(len(d.idx.Bindings), "binding"), strings.Join(bound, ", "))
}
