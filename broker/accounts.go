package broker

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// NewAccount is a login to be kept: what a person chose, and what the provider
// (or another program's file) gave.
type NewAccount struct {
	Provider oauth.Provider
	ClientID string // overrides the provider's
	// AuthStyle is how the token endpoint took the client's secret, where the provider
	// does not say.
	AuthStyle string
	Label     string // empty: the identity, else provider + number
	Pool      string // empty: the provider's own

	AccessToken, RefreshToken keystore.Secret
	TokenType                 string
	ExpiresAt                 time.Time // zero: unknown
	RefreshExpiresAt          time.Time
	Scopes                    []string
	APIKey                    keystore.Secret // instead of tokens
	LongLived                 bool            // AccessToken is a long-lived one, and all there is
	Identity                  oauth.Identity
	Service                   oauth.Service // the remote MCP server that it is for
	ObtainedAt                time.Time     // zero: now
	// Imported: authferry did not see the token's issue, so its lifetime is
	// not known.
	Imported bool

	Shared   string       // where another program still has this login; empty: nowhere
	Holds    []index.Hold // that it comes with
	Disabled bool

	// lock is the account-to-be's rotation lock where that is held already, and the
	// tokens exist nowhere else; else nil.
	lock *folder.Rotation
}

// Add keeps a new login. The secrets are in the keystore before the index names
// the account; if the keystore refuses, no account stays behind. Errors:
// LabelTaken, Usage (the label), and those of keystore and index.
func (b *Broker) Add(ctx context.Context, n NewAccount) (*index.Account, error) {
	now := time.Now().UTC()
	id := index.NewID()
	if n.lock != nil {
		id = n.lock.Account
	}
	a, err := newEntry(id, n, now)
	if err != nil {
		return nil, err
	}
	g, acc := newRecords(id, n, now)
	check := func(idx *index.Index) error {
		if ownerOf(idx, a.Provider, n.Identity) != nil {
			return errSameIdentity
		}
		return admissible(idx, &a, n.credential())
	}
	var added *index.Account
	err = folder.WhileMoving(func() (err error) {
		added, err = b.add(ctx, n, a, g, acc, check)
		return err
	})
	return added, err
}

func (b *Broker) add(ctx context.Context, n NewAccount, a index.Account, g *record.Grant, acc *record.Access, check func(*index.Index) error) (*index.Account, error) {
	// The index is made and checked first, so that a bad label or an unwritable
	// folder costs no keystore write.
	o, err := b.Prepare(ctx, check)
	if err != nil {
		return nil, err
	}
	o, release, err := o.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	if g.ClientSecret, err = o.Store.HasClientSecret(ctx, g.Endpoint); err != nil {
		return nil, err
	}
	lock := n.lock
	if lock == nil {
		if lock, err = o.LockNew(ctx, a.ID); err != nil {
			return nil, err
		}
		defer lock.Release()
	}
	// The manifest is before the records, so that a crash leaves no secret that nobody
	// knows of.
	persist := b.patience(n)
	err = persist.Until(func() error { return o.ChangeManifest(ctx, func(m *record.Manifest) { m.Add(a.ID) }) })
	var added *index.Account
	if err == nil {
		added, err = o.Commit(ctx, lock, folder.Login{Slot: "a", Grant: g, Access: acc, New: &a, Check: check, Patience: persist})
	}
	if err != nil {
		o.Discard(ctx, a.ID)
		return nil, err
	}
	return added, nil
}

// newEntry is what the index will say of n.
func newEntry(id string, n NewAccount, now time.Time) (index.Account, error) {
	label, err := index.CheckLabel(n.Label)
	if err != nil {
		return index.Account{}, fault.Errorf(fault.Usage, "invalid label").Because(err)
	}
	poolName := n.Pool
	if poolName == "" {
		poolName = n.Provider.Name
	} else if poolName, err = pool.CheckName(poolName); err != nil {
		return index.Account{}, err
	}
	a := index.Account{
		ID: id, Label: label, Provider: n.Provider.Name, Pool: poolName, Kind: index.KindOAuth,
		Issuer: cmp.Or(n.Identity.Issuer, n.Provider.Issuer), Subject: n.Identity.Subject, Organization: n.Identity.Organization,
		Identity: n.Identity.Name, AddedAt: now.Truncate(time.Second),
		Shared: n.Shared, Holds: n.Holds, Disabled: n.Disabled,
	}
	if !n.APIKey.Empty() {
		a.Kind = index.KindAPIKey
	}
	return a, nil
}

// admissible says why a can't be added to idx.
func admissible(idx *index.Index, a *index.Account, secret keystore.Secret) error {
	for _, o := range idx.Accounts {
		if o.Provider == a.Provider && index.EqualLabel(o.Label, a.Label) && !o.Removing {
			return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(a.Label), a.Provider).
				Try(fault.Remedy{Do: fault.Again, Label: "L"}, fault.Remedy{Do: fault.Rename, Account: pool.Reference(idx, &o)})
		}
	}
	owner := oauth.Identity{Issuer: a.Issuer, Subject: a.Subject}
	if o := record.KnownAs(idx, a.Provider, a.Kind, secret, owner); o != nil {
		return alreadyHere(idx, o)
	}
	_, err := pool.For(idx, a.Pool, a.Provider)
	return err
}

// alreadyHere is the error for a login, key or token that account o has.
func alreadyHere(idx *index.Index, o *index.Account) error {
	if o.Removing {
		return fault.Errorf(fault.LabelTaken, "this login is here already, in account %s, whose removal was cut off; nothing was added", fault.Quote(o.Label)).
			Try(fault.Remedy{Do: fault.Fix}, fault.Remedy{Do: fault.Again})
	}
	return fault.Errorf(fault.LabelTaken, "this login is already here as %s; two accounts can't own one", fault.Quote(o.Label)).
		Try(fault.Remedy{Do: fault.ShowAccount, Account: pool.Reference(idx, o)})
}

// newRecords pins in the records everything that decides where a secret may go.
func newRecords(id string, n NewAccount, now time.Time) (*record.Grant, *record.Access) {
	p := n.Provider
	endpoint := p.Endpoint()
	if n.ClientID != "" {
		endpoint.ClientID = n.ClientID
	}
	endpoint.AuthStyle = cmp.Or(endpoint.AuthStyle, n.AuthStyle)
	g := &record.Grant{
		Account: id, Generation: 1, Provider: p.Name,
		RefreshToken: n.RefreshToken, Endpoint: endpoint,
		Scopes: n.Scopes, Headers: p.TokenHeaders(), Origins: p.APIOrigins, API: p.API(), Service: n.Service,
		RefreshExpiresAt: n.RefreshExpiresAt,
	}
	if who := n.Identity; who.Subject != "" {
		g.Owner = oauth.Identity{Issuer: who.Issuer, Subject: who.Subject, Organization: who.Organization}
	}
	if !n.APIKey.Empty() {
		g.APIKey, g.Endpoint, g.Headers = n.APIKey, oauth.Endpoint{}, p.KeyHeaders()
	}
	if n.AccessToken.Empty() {
		return g, nil
	}
	if n.LongLived {
		g.TokenFingerprint = record.Fingerprint(n.AccessToken)
	}
	if !n.ObtainedAt.IsZero() {
		now = n.ObtainedAt.UTC()
	}
	tokenType := n.TokenType
	if tokenType == "" {
		tokenType = "Bearer"
	}
	return g, &record.Access{
		Account: id, Generation: 1, AccessToken: n.AccessToken, TokenType: tokenType,
		ExpiresAt: n.ExpiresAt, ObtainedAt: now, Imported: n.Imported, Boot: record.BootNow(),
		Headers: g.Headers, Origins: g.Origins, API: g.API, Resource: g.Endpoint.Resource, Address: g.Service.Address,
	}
}

// Rename changes an account's label and nothing else. Errors: NoAccount,
// Ambiguous, LabelTaken, Usage.
func (b *Broker) Rename(ctx context.Context, account, label string) (*index.Account, error) {
	label, err := index.CheckLabel(label)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "invalid label").Because(err)
	}
	var renamed *index.Account
	err = b.updateAccount(ctx, account, func(idx *index.Index, a *index.Account) error {
		for i := range idx.Accounts {
			o := &idx.Accounts[i]
			if o.ID != a.ID && o.Provider == a.Provider && index.EqualLabel(o.Label, label) && !o.Removing {
				return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(label), a.Provider).Try(fault.Remedy{Do: fault.ListAccounts})
			}
		}
		a.Label, renamed = label, a
		return nil
	})
	return renamed, err
}

// updateAccount changes one account's entry, found by what the user called it.
func (b *Broker) updateAccount(ctx context.Context, account string, change func(*index.Index, *index.Account) error) error {
	if _, err := b.Read(); err != nil {
		return err // a folder without an index is not made just to find nothing in it
	}
	return b.Update(ctx, index.Durable, func(idx *index.Index) error {
		a, err := pool.FindAccount(idx, account, "")
		if err != nil {
			return err
		}
		return change(idx, a)
	})
}

// Removal says what Remove did.
type Removal struct {
	Account index.Account
	Revoked bool
	Warning string         // why it was not revoked, if it was tried
	Next    []fault.Remedy // what helps with that
}

// Revocation says whether Remove ends the login at the provider too.
type Revocation int

// RevokeOwn leaves a login alone that another program's file still has, RevokeAsAsked
// does what the removal that was cut off was to do.
const (
	RevokeOwn Revocation = iota
	RevokeNever
	RevokeAlways
	RevokeAsAsked
)

func (how Revocation) of(a *index.Account) bool {
	switch how {
	case RevokeAlways:
		return true
	case RevokeOwn:
		return a.Shared == ""
	case RevokeAsAsked:
		return a.Revoke
	}
	return false
}

// Remove revokes the account's refresh token at the provider, where how says so
// and the provider has an endpoint for it (RFC 7009; a failure is a warning),
// deletes the secrets, and last the entry. A crash on the way leaves an entry
// marked as being removed, which Remove or doctor finishes.
func (b *Broker) Remove(ctx context.Context, account string, how Revocation) (*Removal, error) {
	f, release, err := b.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	b = b.in(f)
	idx, err := b.Read()
	if err != nil {
		return nil, err
	}
	a, err := pool.FindAccount(idx, account, "")
	if err != nil {
		return nil, err
	}
	l, err := b.LockAccount(ctx, a.ID, 0)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	if idx, err = b.Read(); err != nil {
		return nil, err
	}
	if a = idx.Account(a.ID); a == nil {
		return nil, folder.Removed()
	}
	o, err := b.OpenForChange(ctx, idx)
	if err != nil {
		return nil, err
	}
	done := &Removal{Account: *a}
	stored, err := o.Grants(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	revoke := how.of(a)
	if err := o.ChangeManifest(ctx, func(m *record.Manifest) { m.Bury(a.ID) }); err != nil {
		return nil, err
	}
	if err := b.Update(ctx, index.Durable, func(idx *index.Index) error {
		if t := idx.Account(a.ID); t != nil {
			t.Removing, t.Revoke = true, revoke
		}
		return nil
	}); err != nil {
		return nil, err
	}
	folder.Reached("K19")
	if revoke && stored.Best != nil && !stored.Best.RefreshToken.Empty() && stored.Best.Endpoint.RevocationEndpoint != "" {
		if err := endLogin(ctx, o, stored.Best); err != nil {
			done.Warning = notRevoked(stored.Best, err)
			if e, ok := errors.AsType[*oauth.Error](err); ok {
				if next, ok := e.Remedy(); ok {
					done.Next = []fault.Remedy{next}
				}
			}
		} else {
			done.Revoked = true
		}
	}
	if err := o.DeleteItems(ctx, a.ID); err != nil {
		return nil, err
	}
	if err := o.ChangeManifest(ctx, func(m *record.Manifest) { m.Remove(a.ID) }); err != nil {
		return nil, err
	}
	if err := b.Update(ctx, index.Durable, func(idx *index.Index) error {
		drop(idx, a.ID)
		return nil
	}); err != nil {
		return nil, err
	}
	if g := stored.Best; revoke && g != nil && g.Service.Registration == oauth.RegistrationDynamic {
		b.retire(ctx, o, g, done)
	}
	return done, nil
}

// drop removes an account's entry. A directory that is bound to it stays so, and gets
// no token: that of another account would be outside of the fence.
func drop(idx *index.Index, id string) {
	a := idx.Account(id)
	if a == nil {
		return
	}
	poolName := a.Pool
	idx.Accounts = slices.DeleteFunc(idx.Accounts, func(x index.Account) bool { return x.ID == id })
	members := idx.Members(poolName)
	if len(members) == 0 {
		delete(idx.Pools, poolName)
		return
	}
	for i, m := range members {
		m.Rank = i + 1
	}
	if p := idx.Pools[poolName]; p.Current == id {
		p.Current = members[0].ID
		idx.Pools[poolName] = p
	}
}
