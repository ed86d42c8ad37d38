package doctor

import (
	"context"
	"errors"
	"fmt"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/takeover"
)

// Check is the result of one examination.
type Check struct {
	Name    string
	Status  Status
	Message string
	Next    []fault.Remedy // what fixes it
}

// Status is the outcome of a Check.
type Status string

// The outcomes.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, but a person should know
	Fail    Status = "fail"    // does not work
)

// fixing is the remedy for what doctor itself can fix.
var fixing = fault.Remedy{Do: fault.Fix}

// Examine checks folder, index, keystore, locks and accounts. It asks no provider. With fix
// it also fixes what can be fixed without losing a login; the checks then describe the
// state afterwards.
func Examine(ctx context.Context, f *folder.Folder, fix bool) []Check {
	d := &examination{f: f, fix: fix}
	if !d.owner() {
		return d.checks
	}
	d.folder()
	if d.index(ctx) {
		if d.keystore(ctx) && d.idx.Store != "" && d.manifest(ctx) {
			d.leftovers(ctx)
			d.shared = takeover.Shared(ctx, d.f)
			for i := range d.idx.Accounts {
				d.account(ctx, &d.idx.Accounts[i])
			}
			d.twins()
		}
		d.pools(ctx)
		d.bindings()
		d.locks()
		d.clock()
	}
	d.settings()
	return d.checks
}

// examination is a run of Examine.
type examination struct {
	f      *folder.Folder
	fix    bool
	idx    *index.Index
	o      *folder.Opened              // once the keystore works
	shared map[string]takeover.Holding // by account: another program has its login too
	checks []Check
}

func (d *examination) say(name string, status Status, format string, args ...any) {
	d.advise(name, status, nil, format, args...)
}

// try is say, with a remedy.
func (d *examination) try(name string, status Status, next fault.Remedy, format string, args ...any) {
	d.advise(name, status, []fault.Remedy{next}, format, args...)
}

func (d *examination) advise(name string, status Status, next []fault.Remedy, format string, args ...any) {
	d.checks = append(d.checks, Check{name, status, fmt.Sprintf(format, args...), next})
}

// fail reports err with its remedies.
func (d *examination) fail(name string, err error) {
	var next []fault.Remedy
	if e, ok := errors.AsType[*fault.Error](err); ok {
		next = e.Next
	}
	d.advise(name, Fail, next, "%v", err)
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
