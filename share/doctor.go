package share

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/share/pipe"
	"github.com/authferry/authferry/share/seal"
)

// Doctor checks a shared pool, or all of them: its engine, this machine's part in it, and
// every account. With req.Fix it puts back what the engine has lost and this machine has,
// and confirms the state of an engine that was restored from a backup. Errors: NotAMember
// (no such pool), and those of keystore and index; what is wrong with a pool is in the
// checks.
func Doctor(ctx context.Context, f *folder.Folder, dial Dialer, req pipe.DoctorRequest) (*pipe.DoctorResult, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	done := &pipe.DoctorResult{Checks: []pipe.Check{}}
	err = each(ctx, f, req.Pool, func(id string) error {
		o, err := opened(ctx, f)
		if err != nil {
			return err
		}
		m, err := membership(ctx, o, id)
		if m == nil || err != nil {
			return err
		}
		x := &examination{fix: req.Fix, done: done}
		if x.p, err = connect(ctx, o, m, dial); err != nil {
			x.p = newParty(&link{Membership: m, o: o}, dial)
			x.fail("engine", err)
			return nil
		}
		defer x.p.close()
		x.examine(ctx)
		return nil
	})
	return done, err
}

// The statuses of a check.
const (
	checkOK      = "ok"
	checkWarning = "warning"
	checkFail    = "fail"
)

// examination is one look at one pool.
type examination struct {
	p    *party
	fix  bool
	done *pipe.DoctorResult
}

func (x *examination) say(name, status string, next []fault.Remedy, format string, args ...any) {
	x.done.Checks = append(x.done.Checks, pipe.Check{Name: x.p.Local + ": " + name, Status: status, Message: fmt.Sprintf(format, args...), Next: next})
}

func (x *examination) fail(name string, err error) {
	c := pipe.Check{Name: x.p.Local + ": " + name, Status: checkFail, Message: err.Error()}
	if e, ok := asFault(err); ok {
		c.Next = slices.DeleteFunc(slices.Clone(e.Next), func(r fault.Remedy) bool { return r.Do == fault.ShareDoctor })
		if e.Code == fault.EngineRestored && !x.fix && x.p.Role == seal.Holder {
			c.Next = append(c.Next, x.fixing()...)
		}
	}
	x.done.Checks = append(x.done.Checks, c)
}

// fixing is the remedy for what Doctor itself can fix.
func (x *examination) fixing() []fault.Remedy {
	return []fault.Remedy{{Do: fault.ShareFix, Pool: x.p.Local}}
}

func (x *examination) examine(ctx context.Context) {
	x.certificate()
	if err := x.p.finished(); err != nil {
		x.fail("membership", err)
		return
	}
	err := x.p.members.look(ctx)
	if code := fault.CodeOf(err); x.p.members.meta == nil && (code == fault.EngineRestored || code == fault.Fenced) {
		err = x.listLost(ctx, err)
	}
	if err != nil {
		x.fail("engine", err)
		_, _ = x.p.alone(ctx, err) // only shown
		return
	}
	if !x.member() {
		return
	}
	good, bad, err := x.p.records.read(ctx)
	if err != nil {
		x.fail("engine", err)
		return
	}
	for id, err := range bad {
		x.fail("account "+id, err)
	}
	if x.p.Role == seal.Holder {
		if err := x.settleAll(ctx); err != nil {
			x.fail("members", err)
			return
		}
	}
	x.accounts(ctx, good, bad)
	x.history(ctx, good)
	x.exposed(good)
	if err := x.p.note(ctx); err != nil {
		x.fail("index", err)
	}
}

// certificate looks at how long the engine will take this machine's certificate.
func (x *examination) certificate() {
	ends := x.p.endsAt()
	now := time.Now()
	renew := []fault.Remedy{{Do: fault.ShareStart, Pool: x.p.Local}}
	switch {
	case ends.IsZero():
	case now.After(ends):
		x.say("certificate", checkFail, renew, "this machine's certificate for the engine has ended %s", humantime.Relative(ends, now))
	case ends.Sub(now) < 14*24*time.Hour:
		x.say("certificate", checkWarning, renew, "this machine's certificate for the engine ends %s", humantime.Relative(ends, now))
	default:
		x.say("certificate", checkOK, nil, "this machine's certificate for the engine ends %s", humantime.Relative(ends, now))
	}
}

// member reports whether this machine is in the roster, or need not be.
func (x *examination) member() bool {
	if x.p.members.meta.Roster.Machine(x.p.Machine) == nil && !x.p.Reusable && (x.p.Role == seal.Holder || x.p.members.meta.Roster.Ticket(x.p.Ticket) == nil) {
		x.fail("membership", x.p.members.outside())
		return false
	}
	x.say("membership", checkOK, nil, "this machine is %s in the pool, a %s; %s in all", fault.Quote(x.p.Name), x.p.Role, plural(len(x.p.members.meta.Roster.Machines), "machine"))
	return true
}

// settleAll does what holders owe the others, also what an interrupted removal left.
func (x *examination) settleAll(ctx context.Context) error {
	if !x.fix && x.p.restored {
		return nil
	}
	if err := x.p.members.settle(ctx); err != nil {
		return err
	}
	return x.p.records.reseal(ctx)
}

// accounts compares the engine's records with the accounts of this folder.
func (x *examination) accounts(ctx context.Context, good map[string]*seal.Record, bad map[string]error) {
	for _, a := range shared(x.p.o.Index, x.p.Pool) {
		if bad[a.ID] != nil {
			continue
		}
		x.account(ctx, a, good[a.ID])
	}
	for _, a := range x.p.o.Index.Members(x.p.Local) {
		if a.Share != nil || x.p.Role != seal.Holder {
			continue
		}
		name := "account " + fault.Quote(a.Label)
		switch {
		case !x.fix:
			x.say(name, checkWarning, x.fixing(), "it is in the pool here, and not shared with the other machines")
		default:
			if err := x.p.accounts.enter(ctx, a.ID); err != nil {
				x.fail(name, err)
			} else {
				x.say(name, checkOK, nil, "it is shared now")
			}
		}
	}
	for _, r := range byRank(good) {
		if x.p.o.Index.Account(r.Account) != nil || r.Public.Removing || r.LocalGrant() == nil {
			continue
		}
		name := "account " + fault.Quote(r.Public.Label)
		if !x.fix {
			x.say(name, checkWarning, x.fixing(), "another machine has put it into the pool, and it isn't here yet")
		} else if err := x.p.accounts.welcome(ctx, r); err != nil {
			x.fail(name, err)
		} else {
			x.say(name, checkOK, nil, "it is here now")
		}
	}
}

// account looks at one account.
func (x *examination) account(ctx context.Context, a *index.Account, r *seal.Record) {
	name := "account " + fault.Quote(a.Label)
	_, best, err := x.p.accounts.mine(ctx, a.ID)
	if r != nil && r.Gen < a.Share.Generation {
		x.p.restored = true
	}
	switch {
	case err != nil:
		x.fail(name, err)
	case r != nil && r.Public.Removing && !x.fix:
		x.say(name, checkWarning, x.fixing(), "it was taken out of the pool, and is still here")
	case r != nil && r.Public.Removing:
		if err := x.p.accounts.taken(ctx, a, r); err != nil {
			x.fail(name, err)
		} else {
			x.say(name, checkOK, nil, "it was taken out of the pool, and is done with here")
		}
	case r == nil && x.p.Role == seal.Consumer:
		x.say(name, checkFail, nil, "the engine has lost it; a machine that holds its login can put it back")
	case r == nil && !x.fix:
		x.say(name, checkFail, x.fixing(), "the engine has lost it, and this machine has it")
	case r == nil:
		if err := x.putBack(ctx, a.ID); err != nil {
			x.fail(name, err)
		} else {
			x.say(name, checkOK, nil, "put back what the engine had lost")
		}
	case best.PoolGeneration > r.Gen && !x.fix:
		x.say(name, checkWarning, x.fixing(), "this machine has a newer login than the engine: generation %d, not %d", best.PoolGeneration, r.Gen)
	case best.PoolGeneration > r.Gen:
		if err := x.p.accounts.reconcile(ctx, a.ID); err != nil {
			x.fail(name, err)
		} else {
			x.say(name, checkOK, nil, "the engine has this machine's newer login now")
		}
	case r.State == seal.Sending && r.Claim.Machine != x.p.Machine && time.Since(a.Share.Since) > stalled:
		x.say(name, checkWarning, []fault.Remedy{{Do: fault.ShareRecover, Account: pool.Reference(x.p.o.Index, a)}}, "it waits for machine %s, which may have refreshed it and hasn't come back", fault.Quote(x.p.members.nameOf(r.Claim.Machine)))
	case r.State == seal.Dead:
		x.say(name, checkFail, []fault.Remedy{{Do: fault.Login, Provider: a.Provider, Account: pool.Reference(x.p.o.Index, a)}}, "the provider refused its login for good")
	case x.p.Role == seal.Holder && len(x.others()) > 0 && !known(a, r):
		x.stranger(ctx, name, a.ID)
	default:
		x.say(name, checkOK, nil, "the machines agree on generation %d", r.Gen)
	}
}

// stranger is for an account that this machine doesn't refresh, as it has never seen its
// login alive: with fix it does from now on.
func (x *examination) stranger(ctx context.Context, name, id string) {
	if !x.fix {
		x.say(name, checkWarning, x.fixing(), "this machine has never seen its login alive, and refreshes it once another one has, or you confirm that the engine wasn't restored from a backup; others that hold it: %s", strings.Join(x.others(), ", "))
		return
	}
	if err := x.p.o.Folder.Change(ctx, index.Durable, id, func(_ *index.Index, a *index.Account) {
		s := *a.Share
		s.Known = true
		a.Share = &s
	}); err != nil {
		x.fail(name, err)
		return
	}
	x.say(name, checkOK, nil, "its state is confirmed")
}

// others are the names of the other machines that hold the logins.
func (x *examination) others() (names []string) {
	for _, m := range x.p.members.meta.Roster.Machines {
		if m.ID != x.p.Machine && m.Role == seal.Holder {
			names = append(names, fault.Quote(m.Name))
		}
	}
	return names
}

// putBack makes the engine's record of an account again.
func (x *examination) putBack(ctx context.Context, id string) error {
	l, err := x.p.o.Folder.LockAccount(ctx, id, 0)
	if err != nil {
		return err
	}
	defer l.Release()
	a, best, err := x.p.accounts.mine(ctx, id)
	if err != nil {
		return err
	}
	return x.p.records.publish(ctx, a, best)
}

// history looks whether the engine has forgotten something, as after restoring a backup.
func (x *examination) history(ctx context.Context, good map[string]*seal.Record) {
	switch others := x.others(); {
	case !x.p.restored:
		x.say("engine", checkOK, nil, "it answers, and has forgotten nothing")
	case !x.fix:
		more := ""
		if len(others) > 0 {
			more = "; first let the other machines that hold its logins put back what they know: " + strings.Join(others, ", ")
		}
		x.say("engine", checkFail, x.fixing(), "it has forgotten something, as after restoring a backup, so this machine refreshes nothing until you confirm its state%s", more)
	default:
		x.p.Cluster, x.p.Revision, x.p.restored = x.p.id.Cluster, x.p.id.Revision, false
		err := x.p.save(ctx, x.p.o)
		if err == nil {
			err = x.p.o.Folder.Update(ctx, index.Durable, func(idx *index.Index) error {
				if s := idx.SharedPool(x.p.Pool); s != nil {
					s.Engine, s.Revision = index.EngineOK, x.p.id.Revision
				}
				for i := range idx.Accounts {
					if a := &idx.Accounts[i]; a.Share != nil && a.Share.Pool == x.p.Pool {
						known := *a.Share
						known.Known = true
						if r := good[a.ID]; r != nil {
							known.Generation = min(known.Generation, r.Gen)
						}
						a.Share = &known
					}
				}
				x.p.o.Index = idx
				return nil
			})
		}
		if err != nil {
			x.fail("engine", err)
			return
		}
		x.say("engine", checkOK, nil, "its state is confirmed")
	}
}

// exposed looks at what removed machines could read.
func (x *examination) exposed(good map[string]*seal.Record) {
	for _, e := range x.p.members.meta.Roster.Exposed {
		if r := good[e.Account]; r != nil && !e.Over(r) {
			x.say("account "+fault.Quote(r.Public.Label), checkWarning, []fault.Remedy{{Do: fault.ShareRemove, Pool: x.p.Local, Name: e.Machine}},
				"machine %s, which was removed, still knows what it needs to use it", fault.Quote(e.Machine))
		}
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
