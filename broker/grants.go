package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/record"
)

// readGrants reads all four slots. One that is damaged or of another account
// was not written; one that can't be read now is an error, because it could be
// the newest.
func (b *Broker) readGrants(ctx context.Context, idx *index.Index, id string) (record.Grants, error) {
	var found record.Grants
	pointed := ""
	if a := idx.Account(id); a != nil {
		pointed = a.GrantSlot
	}
	for _, slot := range record.Slots {
		g, err := b.readGrant(ctx, idx, id, slot)
		if err != nil {
			return record.Grants{}, err
		}
		if g == nil {
			continue
		}
		if found.Best == nil || g.Generation > found.Best.Generation || g.Generation == found.Best.Generation && slot == pointed {
			found = record.Grants{Best: g, Slot: slot}
		}
	}
	return found, nil
}

// readGrant reads one slot; nil is what was not written, or is another account's.
func (b *Broker) readGrant(ctx context.Context, idx *index.Index, id, slot string) (*record.Grant, error) {
	s, err := b.get(ctx, record.GrantItem(idx, id, slot))
	if unwritten(err) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	g, err := record.DecodeGrant(s)
	switch {
	case errors.Is(err, record.ErrNewerRecord):
		return nil, fault.Errorf(fault.IndexTooNew, "this account's login was stored by a newer authferry").WithHint("install the newer version; nothing was changed")
	case err == nil && g.Account == id:
		return g, nil
	}
	return nil, nil
}

// rollForward makes the index point to what the keystore has: a rotation may
// have ended between its last write and its commit, or the index may come from
// a backup, which must not bring a spent refresh token back. It returns the
// account as it then is.
func (b *Broker) rollForward(ctx context.Context, idx *index.Index, a *index.Account, stored record.Grants) (*index.Account, error) {
	fp := record.Fingerprint(stored.Best.Secret())
	if a.GrantSlot == stored.Slot && a.Fingerprint == fp && a.Generation >= stored.Best.Generation && stored.Best.IsOf(a) {
		return a, nil
	}
	acc, accessSlot, err := b.accessOf(ctx, idx, a.ID, stored.Best.Generation)
	if err != nil {
		return nil, err
	}
	var rolled *index.Account
	err = b.update(ctx, index.Durable, func(idx *index.Index) error {
		if rolled = idx.Account(a.ID); rolled == nil {
			return fault.Errorf(fault.NoAccount, "the account was removed meanwhile").WithHint("authferry list")
		}
		g := *stored.Best
		g.Generation = max(g.Generation, rolled.Generation)
		commit(rolled, &g, stored.Slot, acc, accessSlot)
		return nil
	})
	return rolled, err
}

// accessOf finds the access record of a generation; nil: there is none.
func (b *Broker) accessOf(ctx context.Context, idx *index.Index, id string, generation int) (acc *record.Access, slot string, err error) {
	for _, s := range record.Slots {
		v, err := b.get(ctx, record.AccessItem(idx, id, s))
		if unwritten(err) {
			continue
		}
		if err != nil {
			return nil, "", storeError(err)
		}
		if r, err := record.DecodeAccess(v); err == nil && r.Account == id && r.Generation == generation {
			acc, slot = r, s
		}
	}
	return acc, slot, nil
}

// commit points an index entry to new records; acc is nil where there is no
// access token of that generation.
func commit(a *index.Account, g *record.Grant, grantSlot string, acc *record.Access, accessSlot string) {
	fp := record.Fingerprint(g.Secret())
	if a.Fingerprint != "" && a.Fingerprint != fp {
		a.Spent = record.AddSpent(a.Spent, a.Fingerprint)
	}
	a.Generation, a.GrantSlot, a.Fingerprint = g.Generation, grantSlot, fp
	a.TokenFingerprint = g.TokenFingerprint
	a.RefreshExpiresAt = g.RefreshExpiresAt
	if g.Owner.Subject != "" {
		a.Issuer, a.Subject, a.Organization = g.Owner.Issuer, g.Owner.Subject, g.Owner.Organization
	}
	a.AccessSlot, a.ExpiresAt, a.ObtainedAt = "", time.Time{}, time.Time{}
	if acc != nil {
		a.AccessSlot, a.ExpiresAt = accessSlot, acc.ExpiresAt
		if !acc.Imported {
			a.ObtainedAt = acc.ObtainedAt
		}
	}
	a.Intents, a.Failure = nil, nil
	if a.Dead != a.Fingerprint {
		a.Dead = ""
	}
}

func newIntent(slot string, generation int, fp string, attempt int, now time.Time) index.Intent {
	return index.Intent{Slot: slot, Generation: generation, Fingerprint: fp, Attempt: attempt, PID: os.Getpid(), StartedAt: now.UTC()}
}

// sameFolder reports that two paths lead to one folder: a bind mount, or another
// case where case doesn't matter.
func sameFolder(x, y string) bool {
	a, errA := os.Stat(x)
	b, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(a, b)
}

// isIn reports that path is real, or somewhere in it; a network share that real is not
// on is not looked at.
func isIn(path, real string) bool {
	if onShare(path) && !onShare(real) {
		return false
	}
	for p := filepath.Clean(path); ; p = filepath.Dir(p) {
		if sameFolder(p, real) {
			return true
		}
		if p == filepath.Dir(p) {
			return false
		}
	}
}

// isOriginal reports that the folder which the index says it came from is there. One
// whose index can't be read at this moment is one all the same; its locks tell it from
// a file that happens to be called so. That is not believed of what is in this folder:
// it could be put there together with the index.
func isOriginal(idx *index.Index, inside bool) bool {
	at := index.At(idx.Path)
	other, err := at.Read()
	if _, unusable := errors.AsType[*index.FileError](err); unusable && !inside {
		_, err := os.Lstat(lock.Index.In(at.Dir()))
		return err == nil
	}
	return err == nil && other.Store == idx.Store
}

// onShare reports that looking at path asks a file server, as on Windows does
// whatever begins with two slashes of either kind, and logs in there. What index.json
// says is no reason for that.
func onShare(path string) bool {
	path = strings.ReplaceAll(path, "/", `\`)
	return strings.HasPrefix(path, `\\`) || strings.HasPrefix(path, `\??\`)
}

// checkFolder refuses to rotate in a copy of a folder whose original is still
// there: both would own the same grants. A folder that was moved just learns
// its new path. Work under way was checked where it began, and goes with its folder.
func (b *Broker) checkFolder(idx *index.Index) error {
	if err := b.index.Still(); err != nil {
		return indexError(err)
	}
	if b.index.Dir() != b.index.Home() {
		return nil
	}
	real, err := index.RealPath(b.opt.Dir)
	if err != nil && b.held {
		err = index.ErrGone // at this moment
	}
	if err != nil {
		return indexError(err)
	}
	if onShare(idx.Path) && !onShare(real) {
		return fault.Errorf(fault.Fenced, "index.json says that this folder came from the network share %s; nothing was refreshed", quote(idx.Path)).
			WithHint("authferry doctor --fix")
	}
	if idx.Path == real || sameFolder(idx.Path, real) {
		return nil
	}
	switch inside := isIn(idx.Path, real); {
	case !isOriginal(idx, inside):
	case inside: // which of the two is the copy is not to be seen
		return fault.Errorf(fault.Fenced, "%s, in this folder, has the same logins, and two folders can't own one; nothing was refreshed", quote(idx.Path)).
			WithHint("export AUTHFERRY_DIR=%s if that is the one in use; else move it away", Arg(idx.Path))
	default:
		return fault.Errorf(fault.Fenced, "this folder is a copy of %s, and two folders can't own one login; nothing was refreshed", idx.Path).
			WithHint("authferry doctor --fix gives the copy its own identity; the original keeps the logins")
	}
	return b.update(context.Background(), index.Durable, func(idx *index.Index) error {
		idx.Path = real
		return nil
	})
}
