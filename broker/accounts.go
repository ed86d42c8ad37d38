package broker

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/lock"
	"github.com/authferry/authferry/broker/oauth"
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
	ObtainedAt                time.Time // zero: now
	// Imported: authferry did not see the token's issue, so its lifetime is
	// not known.
	Imported bool

	Shared   string       // where another program still has this login; empty: nowhere
	Holds    []index.Hold // that it comes with
	Disabled bool

	// id is empty for a new one; otherwise its rotation lock is held already, and
	// the tokens exist nowhere else.
	id string
}

// Add keeps a new login. The secrets are in the keystore before the index names
// the account; if the keystore refuses, no account stays behind. Errors:
// LabelTaken, Usage (the label), and those of keystore and index.
func (b *Broker) Add(ctx context.Context, n NewAccount) (*index.Account, error) {
	now := time.Now().UTC()
	a, err := newEntry(n, now)
	if err != nil {
		return nil, err
	}
	g, acc := newRecords(a.ID, n, now)
	check := func(idx *index.Index) error {
		if ownerOf(idx, a.Provider, n.Identity) != nil {
			return errSameIdentity
		}
		return admissible(idx, &a, n.credential())
	}

	var added *index.Account
	err = whileMoving(func() (err error) {
		added, err = b.add(ctx, n, a, g, acc, check)
		return err
	})
	return added, err
}

func (b *Broker) add(ctx context.Context, n NewAccount, a index.Account, g *record.Grant, acc *record.Access, check func(*index.Index) error) (*index.Account, error) {
	// The index is made and checked first, so that a bad label or an unwritable
	// folder costs no keystore write.
	idx, err := b.prepare(ctx, check)
	if err != nil {
		return nil, err
	}
	b, release, err := b.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	if g.ClientSecret, err = b.hasClientSecret(ctx, idx, g.Endpoint); err != nil {
		return nil, err
	}
	if n.id == "" {
		defer b.holdNew(ctx, a.ID)()
	}
	persist := b.patience(n)
	if err := persist.until(func() error { return b.secure(ctx, idx, &a, g, acc) }); err != nil {
		b.discard(ctx, idx, a.ID)
		return nil, storeError(err)
	}
	commit(&a, g, "a", acc, "a")
	var refused error // by what the index says now, which asking again would not change
	err = persist.until(func() error {
		return b.update(ctx, index.Durable, func(i *index.Index) error {
			if i.Account(a.ID) != nil {
				return nil // it came this far, and only its folder could not be synced
			}
			if refused = check(i); refused == nil {
				refused = b.unmoved(i, idx)
			}
			if refused == nil {
				i.Keystore = idx.Keystore // the first secret decides
				enlist(i, &a)
			}
			return nil
		})
	})
	if err := cmp.Or(err, refused); err != nil {
		b.discard(ctx, idx, a.ID)
		return nil, err
	}
	return &a, nil
}

// newEntry is what the index will say of n.
func newEntry(n NewAccount, now time.Time) (index.Account, error) {
	label, err := index.CheckLabel(n.Label)
	if err != nil {
		return index.Account{}, fault.Errorf(fault.Usage, "the label does not do").Because(err)
	}
	pool := n.Pool
	if pool == "" {
		pool = n.Provider.Name
	} else if pool, err = poolName(pool); err != nil {
		return index.Account{}, err
	}
	a := index.Account{
		ID: cmp.Or(n.id, index.NewID()), Label: label, Provider: n.Provider.Name, Pool: pool, Kind: index.KindOAuth,
		Issuer: cmp.Or(n.Identity.Issuer, n.Provider.Issuer), Subject: n.Identity.Subject, Organization: n.Identity.Organization,
		Identity: n.Identity.Name, AddedAt: now.Truncate(time.Second),
		Shared: n.Shared, Holds: n.Holds, Disabled: n.Disabled,
	}
	if !n.APIKey.Empty() {
		a.Kind = index.KindAPIKey
	}
	return a, nil
}

// holdNew takes the rotation lock of an account that is not in the index yet, so
// that doctor does not take it for one that was given up. Nobody else wants it; in
// a folder where there is no lock to be had, no account can be added, and what
// comes next says why.
func (b *Broker) holdNew(ctx context.Context, id string) (release func()) {
	l, err := b.lock(ctx, lock.Rotation(id))
	if err != nil {
		return func() {}
	}
	return l.Release
}

// enlist puts a new account last in its pool, which may be there in another spelling.
func enlist(idx *index.Index, a *index.Account) {
	a.Pool, _, _ = findPool(idx, a.Pool)
	a.Rank = len(idx.Members(a.Pool)) + 1
	idx.Accounts = append(idx.Accounts, *a)
	p := idx.Pools[a.Pool]
	p.Provider = a.Provider
	if idx.Account(p.Current) == nil {
		p.Current = a.ID
	}
	if idx.Pools == nil {
		idx.Pools = map[string]index.Pool{}
	}
	idx.Pools[a.Pool] = p
}

// prepare makes the folder and its index where there are none, asks check, and
// opens the keystore. The index that it returns names that keystore; the one on
// disk does so when the first secret is in it.
func (b *Broker) prepare(ctx context.Context, check func(*index.Index) error) (*index.Index, error) {
	var idx index.Index
	if err := b.updateOrMake(ctx, index.Durable, func(i *index.Index) error {
		kind, err := b.kind(i)
		if err != nil {
			return err
		}
		idx = *i
		idx.Keystore = string(kind)
		return check(i)
	}); err != nil {
		return nil, err
	}
	return &idx, b.forChange(ctx, &idx)
}

// admissible says why a can't be added to idx.
func admissible(idx *index.Index, a *index.Account, secret keystore.Secret) error {
	for _, o := range idx.Accounts {
		if o.Provider == a.Provider && index.EqualLabel(o.Label, a.Label) && !o.Removing {
			return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", quote(a.Label), a.Provider).
				WithHint("authferry rename %s NEW-LABEL, or choose another --label", argFor(idx, &o))
		}
	}
	owner := oauth.Identity{Issuer: a.Issuer, Subject: a.Subject}
	if o := knownAs(idx, a.Provider, a.Kind, secret, owner); o != nil {
		return alreadyHere(idx, o)
	}
	_, err := poolFor(idx, a.Pool, a.Provider)
	return err
}

// alreadyHere is the error for a login, key or token that account o has.
func alreadyHere(idx *index.Index, o *index.Account) error {
	if o.Removing {
		return fault.Errorf(fault.LabelTaken, "this login is here already, in account %s, whose removal was cut off; nothing was added", quote(o.Label)).
			WithHint("authferry doctor --fix, then run the command again")
	}
	return fault.Errorf(fault.LabelTaken, "this login is already here as %s; two accounts can't own one", quote(o.Label)).
		WithHint("authferry info %s", argFor(idx, o))
}

// knownAs is the account that has this refresh token, API key or long-lived token, or
// had it; nil: none does. A refresh token is known whatever the provider is called,
// unless both sides say whose it is, and of which issuer: two servers can have the same
// token. A key or a long-lived token may be for a gateway that stands for several.
func knownAs(idx *index.Index, provider, kind string, secret keystore.Secret, owner oauth.Identity) *index.Account {
	fp := record.Fingerprint(secret)
	i := slices.IndexFunc(idx.Accounts, func(o index.Account) bool {
		if owner.Subject != "" && o.Subject != "" && owner.Issuer != o.Issuer {
			return false
		}
		if fp != "" && o.TokenFingerprint == fp {
			return o.Provider == provider
		}
		return fp != "" && (o.Fingerprint == fp || slices.Contains(o.Spent, fp)) && (kind != index.KindAPIKey || o.Provider == provider)
	})
	if i < 0 {
		return nil
	}
	return &idx.Accounts[i]
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
		Scopes: n.Scopes, Headers: p.TokenHeaders(), Origins: p.APIOrigins, API: p.API(),
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
		Headers: g.Headers, Origins: g.Origins, API: g.API,
	}
}

// secure writes an account's first records, the manifest before them so that a
// crash leaves no secret that nobody knows of.
func (b *Broker) secure(ctx context.Context, idx *index.Index, a *index.Account, g *record.Grant, acc *record.Access) error {
	if err := b.changeManifest(ctx, idx, func(m *record.Manifest) { m.Add(a.ID) }); err != nil {
		return err
	}
	v, err := g.Encode()
	if err != nil {
		return err
	}
	if err := b.set(ctx, record.GrantItem(idx, a.ID, "a"), v); err != nil || acc == nil {
		return err
	}
	if v, err = acc.Encode(); err != nil {
		return err
	}
	return b.set(ctx, record.AccessItem(idx, a.ID, "a"), v)
}

// discard deletes every item of an account that came to nothing, as well as it can.
// What it can't delete the manifest goes on naming. Somebody may have found the
// records and given them an entry; then they stay.
func (b *Broker) discard(ctx context.Context, idx *index.Index, id string) {
	ctx = context.WithoutCancel(ctx)
	if now, err := b.readOrEmpty(); err != nil || now.Account(id) != nil {
		return
	}
	if err := b.deleteItems(ctx, idx, id); err != nil {
		b.opt.Log.Warn("leftovers in the keystore", "account", id, "error", err)
		return
	}
	_ = b.changeManifest(ctx, idx, func(m *record.Manifest) { m.Remove(id) })
}

func (b *Broker) deleteItems(ctx context.Context, idx *index.Index, id string) error {
	for _, name := range record.Items(idx, id) {
		if err := b.del(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// Rename changes an account's label and nothing else. Errors: NoAccount,
// Ambiguous, LabelTaken, Usage.
func (b *Broker) Rename(ctx context.Context, account, label string) (*index.Account, error) {
	label, err := index.CheckLabel(label)
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "the label does not do").Because(err)
	}
	var renamed *index.Account
	err = b.updateAccount(ctx, account, func(idx *index.Index, a *index.Account) error {
		for i := range idx.Accounts {
			o := &idx.Accounts[i]
			if o.ID != a.ID && o.Provider == a.Provider && index.EqualLabel(o.Label, label) && !o.Removing {
				return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", quote(label), a.Provider).WithHint("choose another one")
			}
		}
		a.Label, renamed = label, a
		return nil
	})
	return renamed, err
}

// updateAccount changes one account's entry, found by what the user called it.
func (b *Broker) updateAccount(ctx context.Context, account string, change func(*index.Index, *index.Account) error) error {
	if _, err := b.read(); err != nil {
		return err // a folder without an index is not made just to find nothing in it
	}
	return b.update(ctx, index.Durable, func(idx *index.Index) error {
		a, err := FindAccount(idx, account, "")
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
	Warning string // why it was not revoked, if it was tried
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
	b, release, err := b.hold()
	if err != nil {
		return nil, err
	}
	defer release()
	idx, err := b.read()
	if err != nil {
		return nil, err
	}
	a, err := FindAccount(idx, account, "")
	if err != nil {
		return nil, err
	}
	l, err := b.lockAccount(ctx, a.ID)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	if idx, err = b.read(); err != nil {
		return nil, err
	}
	if a = idx.Account(a.ID); a == nil {
		return nil, fault.Errorf(fault.NoAccount, "the account was removed meanwhile").WithHint("authferry list")
	}
	if err := b.forChange(ctx, idx); err != nil {
		return nil, err
	}
	done := &Removal{Account: *a}
	stored, err := b.readGrants(ctx, idx, a.ID)
	if err != nil {
		return nil, err
	}
	revoke := how.of(a)
	if err := b.changeManifest(ctx, idx, func(m *record.Manifest) { m.Bury(a.ID) }); err != nil {
		return nil, storeError(err)
	}
	if err := b.update(ctx, index.Durable, func(idx *index.Index) error {
		if t := idx.Account(a.ID); t != nil {
			t.Removing, t.Revoke = true, revoke
		}
		return nil
	}); err != nil {
		return nil, err
	}
	reached("K19")
	if revoke && stored.Best != nil && !stored.Best.RefreshToken.Empty() && stored.Best.Endpoint.RevocationEndpoint != "" {
		if err := b.revoke(ctx, idx, stored.Best); err != nil {
			done.Warning = notRevoked(stored.Best, err)
		} else {
			done.Revoked = true
		}
	}
	if err := b.deleteItems(ctx, idx, a.ID); err != nil {
		return nil, storeError(err)
	}
	if err := b.changeManifest(ctx, idx, func(m *record.Manifest) { m.Remove(a.ID) }); err != nil {
		return nil, storeError(err)
	}
	return done, b.update(ctx, index.Durable, func(idx *index.Index) error {
		drop(idx, a.ID)
		return nil
	})
}

// drop removes an account's entry. A directory that is bound to it stays so, and gets
// no token: that of another account would be outside of the fence.
func drop(idx *index.Index, id string) {
	a := idx.Account(id)
	if a == nil {
		return
	}
	pool := a.Pool
	idx.Accounts = slices.DeleteFunc(idx.Accounts, func(x index.Account) bool { return x.ID == id })
	members := idx.Members(pool)
	if len(members) == 0 {
		delete(idx.Pools, pool)
		return
	}
	for i, m := range members {
		m.Rank = i + 1
	}
	if p := idx.Pools[pool]; p.Current == id {
		p.Current = members[0].ID
		idx.Pools[pool] = p
	}
}
