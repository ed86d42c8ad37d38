package doctor

import (
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/humantime"
)

// account compares one entry of the index with the keystore, which is the truth.
func (d *examination) account(ctx context.Context, a *index.Account) {
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
		d.try(name, Fail, renew, "it was logged in by another folder, which this one is a copy of")
	case stored.Best == nil:
		d.try(name, Fail, renew, "the keystore no longer has its login")
	case a.Generation < stored.Best.Generation || a.Generation == stored.Best.Generation && a.GrantSlot != stored.Slot || !stored.Best.IsOf(a):
		d.behind(ctx, name, a)
	case a.Kind == index.KindAPIKey && a.Generation > stored.Best.Generation:
		d.try(name, Warning, renew, "the keystore is older than the index, as after restoring a backup: this may be an old API key")
	case a.Generation > stored.Best.Generation:
		d.try(name, Warning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}, "the keystore is older than the index, as after restoring a backup: the provider may have a newer login")
	case pool.WantsLogin(a, now) && a.Fingerprint == "" && !pool.RejectedForGood(a):
		d.try(name, Warning, renew, "its token has expired, and it has no refresh token")
	case pool.WantsLogin(a, now):
		said := "the provider no longer accepts its login"
		if until := account.LeftAlone(d.f, a.ID); !until.IsZero() {
			said += "; nobody finished the login that an MCP bridge asked for, and none is asked for again before " + humantime.At(until, now)
		}
		d.try(name, Warning, renew, "%s", said)
	case a.Failure != nil:
		again := fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}
		if pool.BackingOff(a, now) && a.Failure.Stated {
			again.Do = fault.RefreshNow
		}
		d.try(name, Warning, again, "its last refresh failed: %s", a.Failure.Message)
	case a.UnderWay() != nil:
		d.say(name, OK, "process %d is refreshing it", a.UnderWay().PID)
	case len(a.Intents) > 0:
		d.try(name, Warning, fault.Remedy{Do: fault.Refresh, Account: pool.Reference(d.idx, a)}, "a refresh was interrupted, and its outcome is unknown")
	case !pool.EndsSoon(a, now).IsZero():
		d.try(name, Warning, renew, "its login ends at %s", humantime.At(pool.EndsSoon(a, now), now))
	case a.Kind == index.KindOAuth && a.Fingerprint == "":
		d.say(name, OK, "index and keystore agree; it has no refresh token, and ends %s", pool.AtTime(a.ExpiresAt, now))
	default:
		if _, err := d.o.Store.Endpoint(ctx, stored.Best); err != nil { // its client secret is gone
			d.fail(name, err)
		} else {
			d.say(name, OK, "index and keystore agree")
		}
	}
	if h, ok := d.shared[a.ID]; ok {
		d.shares(name, h)
	} else if a.Shared != "" && takeover.StillIn(ctx, d.f, a) {
		d.try(name, Warning, renew, "%s has this login too; whichever refreshes first logs the other out", a.Shared)
	}
}

// behind is for an index that is older than the keystore: a crash before the commit, or a
// restored backup. The next refresh would fix it too.
func (d *examination) behind(ctx context.Context, name string, a *index.Account) {
	if !d.fix {
		d.try(name, Warning, fixing, "the index is behind the keystore")
		return
	}
	lock, err := d.f.LockAccount(ctx, a.ID, 0)
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
	d.say(name, OK, "the index follows the keystore again")
}

// tombstone is for a removal that was interrupted. If the keystore confirms that a person
// asked for it, it is safe to finish, because its secrets were to be deleted. It is not
// known whether the provider was asked to revoke the login, but it is known whether it was
// to be.
func (d *examination) tombstone(ctx context.Context, name string, a *index.Account) {
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
		d.try(name, Warning, fault.Remedy{Do: fault.Remove, Account: a.ID}, "index.json says that it is being removed, and the keystore doesn't; its login was kept")
		return
	case !d.fix:
		d.try(name, Warning, fixing, "its removal was interrupted")
		return
	}
	done, err := account.Remove(ctx, d.f, a.ID, account.RevokeAsAsked)
	if err != nil && fault.CodeOf(err) != fault.NoAccount {
		d.fail(name, err)
		return
	}
	told := "it was not revoked at the provider"
	switch {
	case done != nil && done.Revoked:
		told = "the login was revoked at the provider"
	case done != nil && done.Warning != "":
		told = done.Warning
	}
	d.say(name, OK, "its removal is finished; %s", told)
}
