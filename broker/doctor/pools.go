package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/place"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/share/pipe"
)

// pools checks what shared pools need here, and says how their engines last were. It asks
// none of them.
func (d *examination) pools(ctx context.Context) {
	if len(d.idx.Shares) == 0 {
		return
	}
	d.shareProgram(ctx)
	for i := range d.idx.Shares {
		p := &d.idx.Shares[i]
		name, doctor := "shared pool "+fault.Quote(p.Pool), fault.Remedy{Do: fault.ShareDoctor, Pool: p.Pool}
		last := "has not answered yet"
		if !p.SeenAt.IsZero() {
			last = "last answered " + pool.AtTime(p.SeenAt, time.Now())
		}
		switch p.Engine {
		case index.EngineRestored:
			d.try(name, Fail, doctor, "the engine has forgotten something, as after restoring a backup; nothing is refreshed until that is confirmed")
		case index.EngineUnreachable:
			d.try(name, Warning, doctor, "the engine can't be reached, and %s; tokens that are valid are handed out as ever", last)
		case index.EngineRefused:
			d.try(name, Fail, fault.Remedy{Do: fault.ShareLeave, Pool: p.Pool}, "this machine is no longer let in, and the engine %s; tokens that are valid are handed out until they end", last)
		default:
			d.say(name, OK, "this machine is %s, a %s; the engine %s", fault.Quote(p.Machine), p.Role, last)
		}
	}
}

// shareProgram checks whether the program for shared pools is there, and of this version.
func (d *examination) shareProgram(ctx context.Context) {
	const name = "authferry-share"
	cmd, err := folder.ShareCommand(ctx, d.f, pipe.Command)
	if err == nil {
		err = pipe.Probe(cmd)
	}
	if err != nil {
		d.fail(name, err)
		return
	}
	d.say(name, OK, "is installed, and of this version")
}

// twins warns about two accounts with one login: whichever refreshes first logs the other
// out.
func (d *examination) twins() {
	seen := map[string]*index.Account{}
	for i := range d.idx.Accounts {
		a := &d.idx.Accounts[i]
		if a.Fingerprint == "" || a.Kind == index.KindAPIKey {
			continue
		}
		if other := seen[a.Fingerprint]; other != nil {
			d.try("shared login", Warning, fault.Remedy{Do: fault.RemoveHere, Account: pool.Reference(d.idx, a)}, "accounts %s and %s have the same login; whichever refreshes first logs the other out", fault.Quote(other.Label), fault.Quote(a.Label))
		}
		seen[a.Fingerprint] = a
	}
}

// shares warns about an account whose login is also in another program's file.
func (d *examination) shares(name string, h takeover.Holding) {
	next := fault.Remedy{Do: fault.Import, Name: h.Source}
	if h.ClientNeeded {
		next.Value = "ID" // of the client
	}
	message := "%s (%s) has this login too; whichever refreshes first logs the other out"
	if h.APIKey {
		message = "%s (%s) has this API key too, where every program can read it"
	}
	d.try(name, Warning, next, message, h.Title, h.Path)
}

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
