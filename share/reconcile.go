package share

import (
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/share/engine"
	"github.com/authferry/authferry/share/seal"
)

// reconcile makes the folder and the engine agree on the newest generation (rules 1 to 3).
func (t *turn) reconcile(ctx context.Context) error {
	for try := 0; ; try++ {
		if err := t.look(ctx); err != nil {
			return err
		}
		mine := 0
		if t.mine != nil {
			mine = t.mine.PoolGeneration
		}
		switch {
		case t.mine != nil && t.mine.Login && t.rec.Gen >= mine-1 && t.rec.Grant != nil && !t.mine.ToldBy(t.rec.Grant):
			if won, err := t.renew(ctx); err != nil && (!errors.Is(err, engine.ErrUnknown) || try == swapTries) {
				return t.explain(ctx, err)
			} else if !won {
				continue
			}
			if t.rec.Gen != mine {
				if err := t.adopt(ctx); err != nil {
					return err
				}
			}
		case t.rec.Gen > mine, t.rec.Gen == mine && t.rec.FP != seal.Fingerprint(t.mine),
			t.rec.Gen == mine && t.rec.Access != nil && t.account.AccessSlot == "": // it was published, and not yet stored
			if err := t.adopt(ctx); err != nil {
				return err
			}
		case mine > t.rec.Gen:
			if mine != t.rec.Gen+1 || !follows(t.mine, t.rec.FP) {
				t.restored = true
			}
			folder.Reached("S0")
			next, err := t.sealed(ctx, t.mine)
			if err != nil {
				return err
			}
			won, err := t.swap(ctx, next)
			switch {
			case err != nil && (!errors.Is(err, engine.ErrUnknown) || try == swapTries):
				return t.explain(ctx, err)
			case !won:
				continue
			}
		case t.endedHere(mine):
			next := *t.rec
			next.State, next.Claim = seal.Dead, nil
			won, err := t.swap(ctx, &next)
			switch {
			case err != nil && (!errors.Is(err, engine.ErrUnknown) || try == swapTries):
				return t.explain(ctx, err)
			case !won:
				continue
			}
		}
		return t.notes.seen(ctx)
	}
}

// endedHere reports whether this machine knows that the provider refused the login for good,
// and the engine doesn't: it was restored from a backup, or couldn't be told. A machine that
// didn't hear of it would send the refresh token once more. Another machine that may have sent
// it already is left alone: it finds that out by itself.
func (t *turn) endedHere(mine int) bool {
	if t.mine == nil || t.seat.Role != seal.Holder || t.rec.Gen != mine {
		return false
	}
	if c := t.rec.Claim; t.rec.State == seal.Sending {
		note := t.notes.own(c.Nonce)
		return c.Machine == t.seat.Machine && note != nil && note.Refused
	}
	return t.rec.State != seal.Dead && t.account.Dead != "" && t.account.Dead == t.account.Fingerprint
}

// renew publishes a new login over whatever the engine has: a request with the refresh token
// before it, even one that is under way, is of no use any more (rule 16).
func (t *turn) renew(ctx context.Context) (won bool, err error) {
	g := *t.mine
	g.PoolGeneration = t.rec.Gen + 1
	next, err := t.sealed(ctx, &g)
	if err != nil {
		return false, err
	}
	return t.swap(ctx, next)
}

// swapTries is how often a swap with an unknown outcome is looked after at once.
const swapTries = 3

// follows reports whether g is what became of the grant with this fingerprint.
func follows(g *record.Grant, parent string) bool {
	return seal.Fingerprint(g) == parent || len(g.Spent) > 0 && g.Spent[len(g.Spent)-1] == parent
}

// sealed is the idle record of g, with the access token that the folder has for it.
func (t *turn) sealed(ctx context.Context, g *record.Grant) (*seal.Record, error) {
	acc, _, err := t.o.Store.AccessOf(ctx, t.l.Account, g.Generation)
	if err != nil {
		return nil, err
	}
	var client *record.ClientSecret
	if g.NeedsClient() {
		cs, err := t.o.Store.ClientSecret(ctx, g.Endpoint)
		if err != nil {
			return nil, err
		}
		client = &cs
	}
	return t.seal(t.contents(g, client, acc))
}

// contents is what a record of g has.
func (t *turn) contents(g *record.Grant, client *record.ClientSecret, acc *record.Access) seal.Contents {
	return seal.Contents{Pool: t.seat.Pool, Account: t.l.Account, Gen: g.PoolGeneration, Grant: g, Client: client, Access: acc, Public: t.rec.Public}
}

func (t *turn) seal(c seal.Contents) (*seal.Record, error) {
	next, err := seal.Seal(t.seat.Keys, c)
	if err != nil {
		return nil, fault.Errorf(fault.Internal, "the login of account %s can't be shared", t.label()).Because(err)
	}
	return next, nil
}

// adopt stores the engine's generation in the folder.
func (t *turn) adopt(ctx context.Context) error {
	r := t.rec
	g := r.LocalGrant()
	if g == nil {
		return fault.Errorf(fault.NotAMember, "this machine has no keys for the login of account %s", t.label()).ItsOwn().Try(fault.Remedy{Do: fault.ShareDoctor})
	}
	g.Generation = record.NextGeneration(t.account, t.mine)
	acc := t.access(g)
	if r.Client != nil {
		if cs, err := t.o.Store.ClientSecret(ctx, g.Endpoint); err != nil {
			return err
		} else if cs.Secret != r.Client.Secret {
			if err := t.o.SetClient(ctx, g.Endpoint, *r.Client); err != nil {
				return err
			}
			if err := t.reread(ctx); err != nil {
				return err
			}
		}
	}
	_, err := t.o.Commit(ctx, t.l, folder.Login{Slot: index.FreeSlot(*t.account, index.GrantRecord), Grant: g, Access: acc, Peers: true,
		Enter: func(idx *index.Index, a, _ *index.Account) {
			t.notes.show(idx, a)
			t.account, t.o.Index = a, idx
			if acc != nil {
				a.RefreshedAt = acc.ObtainedAt.Truncate(time.Second)
			}
			if r.State == seal.Dead {
				a.Dead = a.Fingerprint
			}
		}})
	if err == nil {
		t.mine = g
	}
	return err
}

// access is the record's access token as this machine's clocks see it; nil: there is none.
//
// A token that this machine saw coming was obtained after the look before it, whatever the
// clock says of the machine that obtained it. Any other one is as old as that clock says,
// but not from the future.
func (t *turn) access(g *record.Grant) *record.Access {
	if t.rec.Access == nil {
		return nil
	}
	acc := *t.rec.Access
	acc.Generation, acc.Boot = g.Generation, record.Boot{}
	lifetime := acc.ExpiresAt.Sub(acc.ObtainedAt)
	now := time.Now().UTC()
	switch {
	case t.watched.gen == t.rec.Gen-1 && t.watched.gen > 0:
		acc.ObtainedAt, acc.Boot = t.watched.at.Round(0).UTC(), t.watched.boot
	case acc.ObtainedAt.After(now):
		acc.ObtainedAt, acc.Boot = now, record.BootNow()
	}
	if !acc.ExpiresAt.IsZero() {
		acc.ExpiresAt = acc.ObtainedAt.Add(lifetime)
	}
	return &acc
}

// stranger reports whether this machine can't know that the engine's grant is the newest:
// it has never seen its access token alive, that ended long ago, and others may know more.
func (t *turn) stranger(ctx context.Context) (bool, error) {
	if known(t.account, t.rec) || t.seat.Others == nil {
		return false, nil
	}
	call, cancel := context.WithTimeout(ctx, engineCall)
	defer cancel()
	others, err := t.seat.Others(call)
	if err != nil {
		return false, t.explain(ctx, err)
	}
	for _, o := range others {
		if o.Holder && o.ID != t.seat.Machine {
			return true, nil
		}
	}
	return false, nil
}

// known reports whether this machine has seen the account's newest access token alive, or the
// one that r has may have been alive a while ago.
func known(a *index.Account, r *seal.Record) bool {
	return a.Share != nil && a.Share.Known || r.Access == nil || isNew(r.Access, time.Now())
}

// isNew reports whether the newest access token of an engine is alive, or has been not long
// ago. Then the engine wasn't restored from an old backup.
func isNew(acc *record.Access, now time.Time) bool {
	return acc != nil && (acc.ExpiresAt.IsZero() || now.Before(acc.ExpiresAt.Add(max(oldest, acc.ExpiresAt.Sub(acc.ObtainedAt)))))
}
