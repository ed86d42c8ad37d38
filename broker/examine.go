package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/migrate"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// account holds one entry of the index against the keystore, which is the truth.
func (d *doctor) account(ctx context.Context, a *index.Account) {
	name := "account " + a.Provider + "/" + a.Label
	renew := pool.Renewal(a)
	if a.Removing {
		d.tombstone(ctx, name, a)
		return
	}
	stored, err := d.o.Grants(ctx, a.ID)
	if err != nil {
		d.fail(name, err)
		return
	}
	now := time.Now()
	switch {
	case stored.Best == nil && a.GrantSlot == "":
		d.try(name, CheckFail, renew, "it was logged in by another folder, which this one is a copy of")
	case stored.Best == nil:
		d.try(name, CheckFail, renew, "the keystore has no login of it any more")
	case a.Generation < stored.Best.Generation || a.Generation == stored.Best.Generation && a.GrantSlot != stored.Slot || !stored.Best.IsOf(a):
		d.behind(ctx, name, a)
	case a.Kind == index.KindAPIKey && a.Generation > stored.Best.Generation:
		d.try(name, CheckWarning, renew, "the keystore is older than the index, as one from a backup is: this may be an API key from before")
	case a.Generation > stored.Best.Generation:
		d.try(name, CheckWarning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}, "the keystore is older than the index, as one from a backup is: the provider may know a newer login than this")
	case pool.WantsLogin(a, now) && a.Fingerprint == "" && !pool.RejectedForGood(a):
		d.try(name, CheckWarning, renew, "its token is over, and it has no refresh token")
	case pool.WantsLogin(a, now):
		d.try(name, CheckWarning, renew, "the provider no longer accepts its login")
	case a.Failure != nil:
		again := fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}
		if pool.BackingOff(a, now) && a.Failure.Stated {
			again.Do = fault.RefreshNow
		}
		d.try(name, CheckWarning, again, "its last refresh failed: %s", a.Failure.Message)
	case a.UnderWay() != nil:
		d.say(name, CheckOK, "process %d is refreshing it", a.UnderWay().PID)
	case len(a.Intents) > 0:
		d.try(name, CheckWarning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}, "a refresh was cut off, and what became of it is not known")
	case !pool.EndsSoon(a, now).IsZero():
		d.try(name, CheckWarning, renew, "its login ends at %s", pool.EndsSoon(a, now).Local().Format(time.DateTime))
	case a.Kind == index.KindOAuth && a.Fingerprint == "":
		d.say(name, CheckOK, "index and keystore agree; it has no refresh token, and ends %s", pool.AtTime(a.ExpiresAt))
	default:
		if _, err := d.o.Store.Endpoint(ctx, stored.Best); err != nil { // its client secret is gone
			d.fail(name, err)
		} else {
			d.say(name, CheckOK, "index and keystore agree")
		}
	}
	if c, ok := d.shared[a.ID]; ok {
		d.advise(name, c.Status, c.Next, "%s", c.Message)
	} else if a.Shared != "" && d.b.stillIn(ctx, a) {
		d.try(name, CheckWarning, renew, "%s has this login too; whichever refreshes first logs the other out", a.Shared)
	}
}

// behind is an index that is older than the keystore: a crash before the commit,
// or a backup that was restored. The next refresh would mend it by itself.
func (d *doctor) behind(ctx context.Context, name string, a *index.Account) {
	if !d.fix {
		d.try(name, CheckWarning, fixing, "the index is behind the keystore")
		return
	}
	lock, err := d.b.LockAccount(ctx, a.ID, 0)
	if err == nil {
		defer lock.Release()
		var stored record.Grants
		if stored, err = d.o.Grants(ctx, a.ID); err == nil && stored.Best != nil {
			_, err = d.o.RollForward(ctx, a, stored)
		}
	}
	if err != nil {
		d.fail(name, err)
		return
	}
	d.say(name, CheckOK, "the index follows the keystore again")
}

// tombstone is a removal that was cut off. Where the keystore bears out that a
// person asked for it, its secrets were to be deleted, so that is safe to finish;
// whether the provider was told is not known, but whether it was to be.
func (d *doctor) tombstone(ctx context.Context, name string, a *index.Account) {
	m, err := d.o.Store.Manifest(ctx)
	if err != nil {
		d.fail(name, record.Fault(err))
		return
	}
	stored, err := d.o.Grants(ctx, a.ID)
	if err != nil {
		d.fail(name, err)
		return
	}
	switch {
	case stored.Best != nil && !slices.Contains(m.Removing, a.ID):
		d.try(name, CheckWarning, fault.Remedy{Do: fault.Remove, Account: a.ID}, "index.json has it as being removed, and the keystore knows nothing of that; its login was left alone")
		return
	case !d.fix:
		d.try(name, CheckWarning, fixing, "its removal was cut off")
		return
	}
	done, err := d.b.Remove(ctx, a.ID, RevokeAsAsked)
	if err != nil && fault.CodeOf(err) != fault.NoAccount {
		d.fail(name, err)
		return
	}
	told := "the provider was not told"
	switch {
	case done != nil && done.Revoked:
		told = "the login was revoked at the provider"
	case done != nil && done.Warning != "":
		told = done.Warning
	}
	d.say(name, CheckOK, "its removal is finished; %s", told)
}

// stillIn reports whether the file that the account was taken from, and left in,
// has a login of its provider yet: the other program may have refreshed it since.
func (b *Broker) stillIn(ctx context.Context, a *index.Account) bool {
	return !b.Strange(a.Shared) && slices.ContainsFunc(migrate.Sources(), func(s migrate.Source) bool {
		t, err := b.newTakeover(ctx, TakeoverRequest{Source: s, Path: a.Shared}, true)
		return err == nil && slices.ContainsFunc(t.candidates, func(c *candidate) bool { return c.n.Provider.Name == a.Provider })
	})
}

// shared finds the accounts whose login another program's file has too, and the
// command that ends it.
func (b *Broker) shared(ctx context.Context) map[string]Check {
	found := map[string]Check{}
	for _, s := range migrate.Sources() {
		for _, path := range s.Present() {
			t, err := b.newTakeover(ctx, TakeoverRequest{Source: s, Path: path}, true)
			if err != nil {
				continue
			}
			for _, c := range t.candidates {
				if id := cmp.Or(c.held, c.whole); id != "" {
					next := fault.Remedy{Do: fault.Import, Name: s.Name}
					if c.next != nil {
						next.Value = "ID" // of the client
					}
					message := "%s (%s) has this login too; whichever refreshes first logs the other out"
					if !c.login.APIKey.Empty() {
						message = "%s (%s) has this API key too, for every program to read"
					}
					found[id] = Check{Status: CheckWarning, Next: []fault.Remedy{next}, Message: fmt.Sprintf(message, s.Title, path)}
				}
			}
		}
	}
	return found
}
