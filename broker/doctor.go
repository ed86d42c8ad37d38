package broker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

// Check is one thing that Doctor looked at.
type Check struct {
	Name    string
	Status  CheckStatus
	Message string
	Next    []fault.Remedy // what mends it
}

// CheckStatus is how a Check came out.
type CheckStatus string

// The outcomes.
const (
	CheckOK      CheckStatus = "ok"
	CheckWarning CheckStatus = "warning" // works, and a person should know
	CheckFail    CheckStatus = "fail"    // something does not work
)

// fixing is what mends what doctor itself can.
var fixing = fault.Remedy{Do: fault.Fix}

// Doctor looks at folder, index, keystore, locks and accounts. It asks no
// provider. With fix it also mends what can be mended without losing a login; the
// checks then say how things are afterwards.
func (b *Broker) Doctor(ctx context.Context, fix bool) []Check {
	d := &doctor{b: b, fix: fix}
	if !d.owner() {
		return d.checks
	}
	d.folder()
	if d.index(ctx) {
		if d.keystore(ctx) && d.idx.Store != "" && d.manifest(ctx) {
			d.leftovers(ctx)
			d.shared = d.b.shared(ctx)
			for i := range d.idx.Accounts {
				d.account(ctx, &d.idx.Accounts[i])
			}
			d.twins()
		}
		d.bindings()
		d.locks()
		d.clock()
	}
	d.settings()
	return d.checks
}

// doctor is one examination.
type doctor struct {
	b      *Broker
	fix    bool
	idx    *index.Index
	o      *folder.Opened   // once the keystore works
	shared map[string]Check // by account: another program has its login too
	checks []Check
}

func (d *doctor) say(name string, status CheckStatus, format string, args ...any) {
	d.advise(name, status, nil, format, args...)
}

// try is say with what mends it.
func (d *doctor) try(name string, status CheckStatus, next fault.Remedy, format string, args ...any) {
	d.advise(name, status, []fault.Remedy{next}, format, args...)
}

func (d *doctor) advise(name string, status CheckStatus, next []fault.Remedy, format string, args ...any) {
	d.checks = append(d.checks, Check{name, status, fmt.Sprintf(format, args...), next})
}

// fail reports err with what helps.
func (d *doctor) fail(name string, err error) {
	var next []fault.Remedy
	if e, ok := errors.AsType[*fault.Error](err); ok {
		next = e.Next
	}
	d.advise(name, CheckFail, next, "%v", err)
}

// index reads the index, and reports whether there is a usable one.
func (d *doctor) index(ctx context.Context) bool {
	idx, err := d.b.ReadOrEmpty()
	if fault.CodeOf(err) == fault.IndexCorrupt {
		good, lastErr := d.b.File().LastGood()
		switch {
		case errors.Is(lastErr, fs.ErrNotExist), errors.Is(lastErr, index.ErrCorrupt):
			return d.lost(ctx)
		case lastErr != nil:
			d.fail("index", folder.Fault(lastErr))
			return false
		case !d.fix:
			d.try("index", CheckFail, fixing, "index.json is damaged; accounts in its backup: %d", len(good.Accounts))
			return false
		}
		if idx, err = d.mendIndex(ctx, good, "restored from its backup"); err != nil {
			d.fail("index", err)
			return false
		}
	}
	if err != nil {
		d.fail("index", folder.Fault(err))
		return false
	}
	d.idx = idx
	switch {
	case idx.Store == "" && d.b.File().HasVault():
		return d.lost(ctx)
	case idx.Store != "" && !d.place(ctx):
		return false
	}
	d.say("index", CheckOK, "%s", plural(len(d.idx.Accounts), "account"))
	return true
}

// mendIndex puts ix in the place of an index that can't be used, and returns what
// is there then: another doctor may have been faster.
func (d *doctor) mendIndex(ctx context.Context, ix *index.Index, how string) (*index.Index, error) {
	now, mended, err := d.b.Mend(ctx, ix)
	if err != nil {
		return nil, err
	}
	if mended {
		d.say("index", CheckOK, "index.json was damaged; it was %s", how)
	} else {
		d.say("index", CheckOK, "index.json was damaged; somebody else mended it meanwhile")
	}
	return now, nil
}

// keystore probes it, and reports whether it works.
func (d *doctor) keystore(ctx context.Context) bool {
	s, err := d.b.KeystoreStatus(ctx)
	if err = cmp.Or(err, s.Err); err != nil {
		d.fail("keystore", err)
		return false
	}
	d.say("keystore", CheckOK, "%s: %s: written, read and deleted a probe", s.Kind, s.Backend)
	if d.o, err = d.b.Open(d.idx); err != nil {
		d.fail("keystore", err)
		return false
	}
	if s.Kind == string(keystore.File) {
		d.keyFileModes()
	} else {
		d.daemons()
	}
	return true
}

// locks looks whether they work here, and who has held one for long.
func (d *doctor) locks() {
	if d.idx.Store == "" {
		return // a new folder stays as it is
	}
	quiet := d.lock(lock.Index, "the index", indexPatience)
	for _, l := range []struct {
		name lock.Name
		of   string
	}{{lock.Manifest, "the manifest"}, {lock.Probe, "the keystore's probe"}, {lock.Import, "the import"}} {
		quiet = d.lock(l.name, l.of, folder.StorePatience) && quiet
	}
	for _, a := range d.idx.Accounts {
		quiet = d.lock(lock.Rotation(a.ID), "account "+fault.Quote(a.Label), folder.StorePatience) && quiet
		quiet = d.lock(lock.Gate(a.ID), "the gate of account "+fault.Quote(a.Label), folder.StorePatience) && quiet
	}
	if quiet {
		d.say("locks", CheckOK, "locks work, and nobody holds one")
	}
}

// indexPatience is far above what a change of the index takes: whoever makes one
// waits for no network, keystore or person.
const indexPatience = 10 * time.Second

// lock reports whether one is free. One that was never taken is.
func (d *doctor) lock(name lock.Name, of string, patience time.Duration) (free bool) {
	if _, err := os.Lstat(name.In(d.b.Dir)); errors.Is(err, fs.ErrNotExist) && name != lock.Index {
		return true
	}
	l, err := d.b.TryLock(name)
	switch {
	case err == nil:
		l.Release()
		return true
	case errors.Is(err, lock.ErrBusy):
		h, _ := d.b.Holder(name)
		status := CheckOK
		if time.Since(h.StartedAt) > patience {
			status = CheckWarning
		}
		d.say("locks", status, "%s is held by %s since %s (%s)", of, h, h.StartedAt.Local().Format(time.TimeOnly), cmp.Or(h.State, "at work"))
	default:
		d.fail("locks", folder.Fault(err))
	}
	return false
}

// clock notices one that was set back: it makes tokens look younger than they are.
func (d *doctor) clock() {
	ahead := time.Now().Add(2 * time.Minute)
	for _, a := range d.idx.Accounts {
		if used := cmp.Or(a.RefreshedAt, a.AddedAt); a.ObtainedAt.After(ahead) || used.After(ahead) {
			d.try("clock", CheckWarning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, &a)}, "account %s was used in the future: this machine's clock is, or was, wrong", fault.Quote(a.Label))
			return
		}
	}
	d.say("clock", CheckOK, "the clock looks right")
}

func (d *doctor) settings() {
	_, err := d.b.LoadConfig()
	var ps *oauth.Providers
	if err == nil {
		ps, err = d.b.Providers()
	}
	if err != nil {
		d.fail("settings", err)
		return
	}
	for name, keys := range ps.Unknown() {
		d.try("settings", CheckWarning, fault.Remedy{Do: fault.ShowProvider, Provider: name}, "%s", folder.Ignored(name, keys))
		return
	}
	d.say("settings", CheckOK, "config.toml and providers.toml are readable")
}

func plural(n int, noun string) string {
	switch n {
	case 0:
		return "no " + noun + " yet"
	case 1:
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
