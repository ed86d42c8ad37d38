package account

import (
	"cmp"
	"context"
	"errors"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
)

// exchange redeems the code and stores the tokens. From here on an interrupt has no effect,
// because a code can be used only once. The manifest names the new account first, so that a
// crash before the tokens are stored leaves something that doctor can report.
func (l *login) exchange(ctx context.Context, nonce string, redeem func(context.Context) (*oauth.Token, error)) (*LoggedIn, error) {
	whole := context.WithoutCancel(ctx)
	defer hangOn()()
	o, err := l.announce(whole)
	if err != nil {
		return nil, err
	}
	defer l.lock.Release()
	o, let, err := o.Hold()
	if err != nil {
		return nil, err
	}
	defer let()
	l.f = o.Folder
	kept := false
	defer func() {
		if !kept {
			o.Discard(whole, l.lock.Account)
		}
	}()
	bounded, cancel := oauth.WithPatience(whole, l.f.HTTPTimeout)
	defer cancel()
	tok, err := redeem(bounded)
	if err != nil {
		return nil, l.failed(err)
	}
	folder.Reached("K21")
	who, err := l.identify(whole, tok, nonce)
	if err != nil {
		return nil, l.failed(err)
	}
	n := l.account(tok, who)
	var done *LoggedIn
	patience := patience(l.f, n)
	waiting := patience.Until(func() error {
		if done, err = l.settle(whole, n); errors.Is(err, index.ErrGone) {
			return err
		}
		return nil
	})
	err = cmp.Or(waiting, err)
	kept = err == nil && done.Account.ID == l.lock.Account
	return done, err
}

// announce names the new account in the manifest, and takes its rotation lock.
func (l *login) announce(ctx context.Context) (o *folder.Opened, err error) {
	err = folder.WhileMoving(func() error {
		if o, err = l.f.Prepare(ctx, func(*index.Index) error { return nil }); err != nil {
			return err
		}
		if l.lock, err = o.LockNew(ctx, index.NewID()); err != nil {
			return err
		}
		if err = o.ChangeManifest(ctx, func(m *record.Manifest) { m.Add(l.lock.Account) }); err != nil {
			l.lock.Release()
		}
		return err
	})
	return o, err
}

// identify asks whose login it is. If the server can't be asked, the login is kept without
// a name; if the ID token is for another client, the login fails.
func (l *login) identify(ctx context.Context, tok *oauth.Token, nonce string) (oauth.Identity, error) {
	if !l.proof.Empty() { // nobody is behind it but the client itself
		return oauth.Identity{Issuer: cmp.Or(l.endpoint.Issuer, l.endpoint.TokenEndpoint), Subject: l.endpoint.ClientID, Name: l.endpoint.ClientID}, nil
	}
	ctx, over := l.f.Within(ctx, l.f.HTTPTimeout, forProvider(l.provider.Name))
	defer over()
	who, err := l.client().Identify(ctx, l.provider, l.endpoint, tok, nonce)
	if e, ok := errors.AsType[*oauth.Error](err); ok {
		l.f.Log.Warn("the userinfo endpoint failed", "provider", l.provider.Name, "error", e)
		return oauth.Identity{}, nil
	}
	return who, err
}

func (l *login) account(tok *oauth.Token, who oauth.Identity) NewAccount {
	n := NewAccount{
		Provider: l.provider, ClientID: l.endpoint.ClientID, AuthStyle: l.endpoint.AuthStyle, Label: l.req.Label, Pool: l.req.Pool,
		AccessToken: tok.AccessToken, RefreshToken: tok.RefreshToken, TokenType: tok.TokenType,
		Scopes: l.provider.Scopes, Identity: who, Service: l.service, Proof: l.proof, ObtainedAt: tok.ArrivedAt, Lock: l.lock,
	}
	if granted := strings.Fields(tok.Scope); len(granted) > 0 {
		n.Scopes = granted // RFC 6749 §5.1: as asked for, unless the answer says otherwise
		l.withheld = l.missing(granted)
	}
	if tok.ExpiresIn > 0 {
		n.ExpiresAt = tok.ArrivedAt.Add(tok.ExpiresIn).UTC()
	}
	if tok.RefreshExpiresIn > 0 {
		n.RefreshExpiresAt = tok.ArrivedAt.Add(tok.RefreshExpiresIn).UTC()
	}
	return n
}

// settle stores the login where it belongs: in the account of its identity, or in a new
// one. Another process may be doing the same for the same identity.
func (l *login) settle(ctx context.Context, n NewAccount) (*LoggedIn, error) {
	for try := 1; ; try++ {
		idx, err := l.f.ReadOrEmpty()
		if err != nil {
			return nil, err
		}
		home, err := l.home(idx, n)
		if err != nil {
			return nil, err
		}
		if home != nil {
			if err := inPool(idx, home, l.req.Pool); err != nil {
				return nil, err
			}
			if l.req.Label != "" && !index.EqualLabel(l.req.Label, home.Label) {
				l.f.Warn("this login belongs to account "+fault.Quote(home.Label)+", which keeps its label", fault.Remedy{Do: fault.Rename, Account: pool.Reference(idx, home), Label: l.req.Label})
			}
			a, err := Replace(ctx, l.f, home.ID, n)
			if err != nil {
				return nil, err
			}
			l.warnOfEnd(a)
			l.warnOfScopes()
			return &LoggedIn{Account: *a, Renewed: true}, nil
		}
		if l.req.Label == "" {
			n.Label = FreeLabel(idx, n.Provider.Name, n.Identity.Name)
		} else if taken := idx.Labelled(l.provider.Name, l.req.Label); len(taken) > 0 {
			return nil, heldBy(taken[0])
		}
		a, err := Add(ctx, l.f, n)
		if try < 5 && (errors.Is(err, ErrSameIdentity) || fault.CodeOf(err) == fault.LabelTaken && l.req.Label == "") {
			continue // another process was first: look again
		}
		if err != nil {
			return nil, err
		}
		l.warnOfEnd(a)
		l.warnOfScopes()
		if n.Identity.Subject == "" {
			l.f.Warn("the provider does not say whose login this is; to renew it later, name it with --renew", pool.Renewal(a))
		}
		return &LoggedIn{Account: *a}, nil
	}
}

// warnOfEnd warns about a login that can't be refreshed.
func (l *login) warnOfEnd(a *index.Account) {
	if a.Fingerprint != "" {
		return
	}
	text := "the provider gave no refresh token; this login lasts as long as its access token"
	if slices.Contains(l.provider.Scopes, "offline_access") && l.provider.AuthorizeParams["prompt"] == "" {
		text += `; for offline_access it may want extra_authorize_params = { prompt = "consent" } in providers.toml`
	}
	l.f.Warn(text)
}

// missing are the scopes that a person named and that are not among those granted. What the
// server itself listed may be granted under other names.
func (l *login) missing(granted []string) (scopes []string) {
	if l.req.Remote == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(l.req.Remote.named), func(s string) bool { return slices.Contains(granted, s) })
}

// warnOfScopes warns about a login that can do less than a person asked for: a call that
// needs more would fail, and another login for the same scopes would not help.
func (l *login) warnOfScopes() {
	if len(l.withheld) > 0 {
		l.f.Warn("the server did not grant all scopes; it left out " + strings.Join(l.withheld, " ") + ", so it will refuse what needs that")
	}
}

// patience is for the writes that store n.
func patience(f *folder.Folder, n NewAccount) folder.Patience {
	if n.Lock == nil {
		return folder.Patience{}
	}
	return folder.Patience{Deadline: time.Now().Add(f.LoginPatience), Tell: func(message string) { f.Warn(message) }}
}

// ErrSameIdentity says that another process made an account of this identity meanwhile.
var ErrSameIdentity = errors.New("an account has this identity already")

// home is the account that the login n belongs to; nil: a new one.
func (l *login) home(idx *index.Index, n NewAccount) (*index.Account, error) {
	who := n.Identity
	owner := OwnerOf(idx, l.provider.Name, l.kind(), who)
	if owner == nil {
		owner = holderOf(idx, l.provider.Name, record.Fingerprint(n.RefreshToken))
	}
	if l.renew == "" {
		return owner, nil
	}
	a := idx.Account(l.renew)
	switch {
	case a == nil || a.Removing:
		return nil, fault.Errorf(fault.NoAccount, "the account was removed meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Login, Provider: l.provider.Name})
	case owner != nil && owner.ID != a.ID:
		return nil, fault.Errorf(fault.LoginFailed, "this login is that of account %s, not of %s; nothing was changed", fault.Quote(owner.Label), fault.Quote(a.Label)).
			Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, Account: a.Label})
	case a.Subject != "" && (owner == nil || who.Subject == ""):
		return nil, fault.Errorf(fault.LoginFailed, "account %s is %s, and this login is %s; nothing was changed", fault.Quote(a.Label), fault.Quote(cmp.Or(a.Identity, a.Subject)), fault.Quote(cmp.Or(who.Name, who.Subject, "of an unknown user"))).
			Try(fault.Remedy{Do: fault.Again}, fault.Remedy{Do: fault.Login, Provider: a.Provider})
	}
	return a, nil
}

// OwnerOf finds the account of an identity; nil: there is none.
func OwnerOf(idx *index.Index, provider, kind string, who oauth.Identity) *index.Account {
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; who.Subject != "" && !a.Removing && a.Provider == provider && a.Kind == kind &&
			a.Subject == who.Subject && a.Issuer == who.Issuer && a.Organization == who.Organization {
			return a
		}
	}
	return nil
}

// holderOf finds the account that has this same refresh token; nil: none. A server that
// doesn't rotate may issue it again, to an account whose identity was not known before.
func holderOf(idx *index.Index, provider, fp string) *index.Account {
	for i := range idx.Accounts {
		if a := &idx.Accounts[i]; fp != "" && !a.Removing && a.Provider == provider && a.Fingerprint == fp && a.Subject == "" {
			return a
		}
	}
	return nil
}

// UsualLabel is what a new account of provider is called if nobody says what, and nobody
// says whose it is.
func UsualLabel(f *folder.Folder, provider string) (string, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return "", err
	}
	return FreeLabel(idx, provider, ""), nil
}

// labelTaken is the error for a label that another account of provider has.
func labelTaken(provider, label string, next ...fault.Remedy) error {
	return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(label), provider).Try(next...)
}

// FreeLabel is a free label for an account of provider: the identity's name, else provider
// + number.
func FreeLabel(idx *index.Index, provider, name string) string {
	free := func(label string) bool { return len(idx.Labelled(provider, label)) == 0 }
	if label, err := index.CheckLabel(name); err == nil && free(label) {
		return label
	}
	for i := 1; ; i++ {
		if label := provider + "-" + strconv.Itoa(i); free(label) {
			return label
		}
	}
}

// Replace puts a new login in the place of account id's old one, as a rotation does: into a
// free slot, and the index last. Label, pool, rank and holds stay.
func Replace(ctx context.Context, f *folder.Folder, id string, n NewAccount) (*index.Account, error) {
	f, release, err := f.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	lock, err := lockForTokens(ctx, f, id)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	idx, err := f.Read()
	if err != nil {
		return nil, err
	}
	a, err := folder.Living(idx, id)
	if err != nil {
		return nil, fault.Errorf(fault.NoAccount, "the account was removed meanwhile; nothing was changed").Try(fault.Remedy{Do: fault.Login, Provider: n.Provider.Name})
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return nil, err
	}
	old, err := o.Grants(ctx, id)
	if err != nil {
		return nil, err
	}
	if old.Best != nil { // what is stored now must not be overwritten
		if a, err = o.RollForward(ctx, a, old); err != nil {
			return nil, err
		}
	}
	now := time.Now().UTC()
	g, acc := newRecords(id, n, now)
	g.Generation = record.NextGeneration(a, old.Best)
	if before := old.Best; before != nil {
		if err := ofServer(before, g.Endpoint.Resource, g.Service.Address, a.Label); err != nil {
			return nil, err
		}
		if before.Owner.Subject != "" && before.Owner != g.Owner && (g.Owner.Subject != "" || n.Lock != nil) {
			return nil, fault.Errorf(fault.LoginFailed, "account %s belongs to another user, whatever index.json says; nothing was changed", fault.Quote(a.Label)).
				Try(fault.Remedy{Do: fault.Fix}, fault.Remedy{Do: fault.Again})
		}
		if before.Share != "" {
			if before.Mark != "" || a.Share != nil && a.Share.Role == index.RoleConsumer {
				return nil, fault.Errorf(fault.NotAMember, "account %s is shared, and this machine gets access tokens only; nothing was changed", fault.Quote(a.Label)).Try(fault.Remedy{Do: fault.ShareMembers, Pool: a.Pool})
			}
			g.Share, g.PoolGeneration, g.Login = before.Share, before.PoolGeneration+1, true
		}
		g.Inherit(before, a.Dead)
		inheritAccess(ctx, o, acc, before)
		g.Follow(before)
	}
	if acc != nil {
		acc.Generation, acc.PoolGeneration = g.Generation, g.PoolGeneration
	}
	if err := noteSecret(ctx, o, g); err != nil {
		return nil, err
	}
	return o.Commit(ctx, lock, folder.Login{
		Slot: index.FreeSlot(*a, index.GrantRecord), Grant: g, Access: acc, Patience: patience(f, n), Peers: g.Login,
		Enter: func(_ *index.Index, renewed, before *index.Account) {
			renewed.RefreshedAt, renewed.Shared, renewed.RejectedAt = now.Truncate(time.Second), "", time.Time{}
			// A guess from the old token's refusal doesn't apply to the new one.
			renewed.Holds = slices.DeleteFunc(renewed.Holds, func(h index.Hold) bool { return !h.Proven && pool.IsRefusal(h.Source) })
			if fp := renewed.Fingerprint; fp != "" && fp == before.Fingerprint {
				// The refresh token is the same, so what is known of it stays: who else has
				// it, and its requests with unknown outcome.
				renewed.Shared = before.Shared
				renewed.Intents = slices.DeleteFunc(before.Intents, func(in index.Intent) bool { return in.Fingerprint != fp })
			}
			if n.Identity.Subject != "" {
				renewed.Identity = cmp.Or(n.Identity.Name, renewed.Identity)
			}
		},
	})
}

// inheritAccess keeps what is known of an access token that is the same as before.
func inheritAccess(ctx context.Context, o *folder.Opened, acc *record.Access, old *record.Grant) {
	if acc == nil || !acc.ExpiresAt.IsZero() {
		return
	}
	before, _, err := o.Store.AccessOf(ctx, old.Account, old.Generation)
	if err == nil && before != nil && before.AccessToken.Equal(acc.AccessToken) {
		acc.ExpiresAt, acc.ObtainedAt, acc.Imported, acc.Boot = before.ExpiresAt, before.ObtainedAt, before.Imported, before.Boot
	}
}

// lockForTokens waits longer than other commands do, because the caller has tokens that
// exist nowhere else.
func lockForTokens(ctx context.Context, f *folder.Folder, id string) (*folder.Rotation, error) {
	l, err := f.LockAccount(ctx, id, 0)
	if fault.CodeOf(err) != fault.LockTimeout {
		return l, err
	}
	f.Warn(err.Error() + "; the new login waits for it")
	return f.LockAccount(ctx, id, folder.StorePatience)
}

// hangOn ignores a closed terminal or pipe, until the returned function is called.
func hangOn() (letGo func()) {
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	return func() { signal.Reset(syscall.SIGHUP, syscall.SIGPIPE) }
}
