package doctor

import (
	"cmp"
	"errors"
	"io/fs"
	"os"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
)

// locks checks whether locks work here, and who has held one for long.
func (d *examination) locks() {
	if d.idx.Store == "" {
		return // a new folder is left as it is
	}
	quiet := d.lock(lock.Index, "the index", indexPatience)
	for _, l := range []struct {
		name lock.Name
		of   string
	}{{lock.Manifest, "the manifest"}, {lock.Probe, "the keystore's probe"}, {lock.Import, "the import"}} {
		quiet = d.lock(l.name, l.of, folder.StorePatience) && quiet
	}
	for _, p := range d.idx.Shares {
		quiet = d.lock(lock.Exchange(p.ID), "the exchange of limits of shared pool "+fault.Quote(p.Pool), folder.StorePatience) && quiet
	}
	for _, a := range d.idx.Accounts {
		quiet = d.lock(lock.Rotation(a.ID), "account "+fault.Quote(a.Label), folder.StorePatience) && quiet
		quiet = d.lock(lock.Gate(a.ID), "the gate of account "+fault.Quote(a.Label), folder.StorePatience) && quiet
		quiet = d.lock(lock.Login(a.ID), "the login of account "+fault.Quote(a.Label), account.LoginPatience) && quiet
	}
	if quiet {
		d.say("locks", OK, "locks work, and none is held")
	}
}

// indexPatience is far above what a change of the index takes: it never waits for a
// network, a keystore or a person.
const indexPatience = 10 * time.Second

// lock reports whether a lock is free. One that was never taken is.
func (d *examination) lock(name lock.Name, of string, patience time.Duration) (free bool) {
	if _, err := os.Lstat(name.In(d.f.Dir)); errors.Is(err, fs.ErrNotExist) && name != lock.Index {
		return true
	}
	l, err := d.f.TryLock(name)
	switch {
	case err == nil:
		l.Release()
		return true
	case errors.Is(err, lock.ErrBusy):
		h, _ := d.f.Holder(name)
		status := OK
		if time.Since(h.StartedAt) > patience {
			status = Warning
		}
		d.say("locks", status, "%s is held by %s since %s (%s)", of, h, humantime.At(h.StartedAt, time.Now()), cmp.Or(h.State, "at work"))
	default:
		d.fail("locks", folder.Fault(err))
	}
	return false
}

// clock detects a clock that was set back, which makes tokens look younger than they are.
func (d *examination) clock() {
	ahead := time.Now().Add(2 * time.Minute)
	for _, a := range d.idx.Accounts {
		if used := cmp.Or(a.RefreshedAt, a.AddedAt); a.ObtainedAt.After(ahead) || used.After(ahead) {
			d.try("clock", Warning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, &a)}, "account %s was last used in the future: this machine's clock is or was wrong", fault.Quote(a.Label))
			return
		}
	}
	d.say("clock", OK, "the clock looks right")
}
