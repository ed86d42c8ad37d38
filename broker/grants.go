package broker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
)

// grants is what the keystore has of an account: the record with the highest
// generation, and its slot.
type grants struct {
	best *grant
	slot string
}

// readGrants reads all four slots. One that is damaged or of another account
// was not written; one that can't be read now is an error, because it could be
// the newest.
func (b *Broker) readGrants(ctx context.Context, idx *index.Index, id string) (grants, error) {
	var found grants
	pointed := ""
	if a := idx.Account(id); a != nil {
		pointed = a.GrantSlot
	}
	for _, slot := range slots {
		g, err := b.readGrant(ctx, idx, id, slot)
		if err != nil {
			return grants{}, err
		}
		if g == nil {
			continue
		}
		if found.best == nil || g.Generation > found.best.Generation || g.Generation == found.best.Generation && slot == pointed {
			found = grants{g, slot}
		}
	}
	return found, nil
}

// readGrant reads one slot; nil is what was not written, or is another account's.
func (b *Broker) readGrant(ctx context.Context, idx *index.Index, id, slot string) (*grant, error) {
	s, err := b.get(ctx, grantItem(idx, id, slot))
	if unwritten(err) {
		return nil, nil
	}
	if err != nil {
		return nil, storeError(err)
	}
	g, err := decodeGrant(s)
	switch {
	case errors.Is(err, errNewerRecord):
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
func (b *Broker) rollForward(ctx context.Context, idx *index.Index, a *index.Account, stored grants) (*index.Account, error) {
	fp := fingerprint(stored.best.secret())
	if a.GrantSlot == stored.slot && a.Fingerprint == fp && a.Generation >= stored.best.Generation && stored.best.isOf(a) {
		return a, nil
	}
	acc, accessSlot, err := b.accessOf(ctx, idx, a.ID, stored.best.Generation)
	if err != nil {
		return nil, err
	}
	var rolled *index.Account
	err = b.update(ctx, index.Durable, func(idx *index.Index) error {
		if rolled = idx.Account(a.ID); rolled == nil {
			return fault.Errorf(fault.NoAccount, "the account was removed meanwhile").WithHint("authferry list")
		}
		g := *stored.best
		g.Generation = max(g.Generation, rolled.Generation)
		commit(rolled, &g, stored.slot, acc, accessSlot)
		return nil
	})
	return rolled, err
}

// maxLead is how many generations the index may be ahead of the keystore, as it
// is of one from a backup. What it says beyond that is not believed: it would
// become the truth in the next record.
const maxLead = 1 << 10

// nextGeneration is that of the record to be written: above all that the
// keystore and the index have, and above every request whose answer may still be
// stored, late.
func nextGeneration(a *index.Account, stored *grant) int {
	known := 0
	if stored != nil {
		known = stored.Generation
	}
	claimed := a.Generation
	for _, in := range a.Intents {
		claimed = max(claimed, in.Generation)
	}
	return max(known, min(claimed, known+maxLead)) + 1
}

// isOf reports that the index does not say of a that it is somebody else's.
func (g *grant) isOf(a *index.Account) bool {
	return g.Owner.Subject == "" || g.Owner == oauth.Identity{Issuer: a.Issuer, Subject: a.Subject, Organization: a.Organization}
}

// accessOf finds the access record of a generation; nil: there is none.
func (b *Broker) accessOf(ctx context.Context, idx *index.Index, id string, generation int) (acc *access, slot string, err error) {
	for _, s := range slots {
		v, err := b.get(ctx, accessItem(idx, id, s))
		if unwritten(err) {
			continue
		}
		if err != nil {
			return nil, "", storeError(err)
		}
		if r, err := decodeAccess(v); err == nil && r.Account == id && r.Generation == generation {
			acc, slot = r, s
		}
	}
	return acc, slot, nil
}

// rememberSpent is how many spent refresh tokens an account is known by.
const rememberSpent = 16

func addSpent(spent []string, fp string) []string {
	spent = append(slices.Clone(spent), fp)
	return spent[max(0, len(spent)-rememberSpent):]
}

// follow notes in g which refresh token it takes the place of.
func (g *grant) follow(old *grant) {
	g.Spent = old.Spent
	if fp := fingerprint(old.secret()); fp != "" && !g.secret().Equal(old.secret()) {
		g.Spent = addSpent(g.Spent, fp)
	}
}

// commit points an index entry to new records; acc is nil where there is no
// access token of that generation.
func commit(a *index.Account, g *grant, grantSlot string, acc *access, accessSlot string) {
	fp := fingerprint(g.secret())
	if a.Fingerprint != "" && a.Fingerprint != fp {
		a.Spent = addSpent(a.Spent, a.Fingerprint)
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

// newAccess makes the access record of a token that just came in. Its end is
// the moment of arrival plus its lifetime, in this machine's time, so that
// neither clock being wrong matters.
func newAccess(g *grant, tok *oauth.Token) *access {
	a := &access{
		Account: g.Account, Generation: g.Generation,
		AccessToken: tok.AccessToken, TokenType: tok.TokenType,
		ObtainedAt: tok.ArrivedAt.UTC(), Boot: bootNow(),
		Headers: g.Headers, Origins: g.Origins, API: g.API,
	}
	if tok.ExpiresIn > 0 {
		a.ExpiresAt = a.ObtainedAt.Add(tok.ExpiresIn)
	}
	return a
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
