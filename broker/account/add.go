package account

import (
	"cmp"
	"context"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// NewAccount is a login to be stored: what a person chose, and what the provider (or
// another program's file) gave.
type NewAccount struct {
	Provider oauth.Provider
	ClientID string // overrides the provider's
	// AuthStyle is how the token endpoint accepted the client's secret, if the provider's
	// data doesn't say.
	AuthStyle string
	Label     string // empty: the identity, else provider + number
	Pool      string // empty: the provider's own

	AccessToken, RefreshToken keystore.Secret
	TokenType                 string
	ExpiresAt                 time.Time // zero: unknown
	RefreshExpiresAt          time.Time
	Scopes                    []string
	APIKey                    keystore.Secret // instead of tokens
	Proof                     oauth.Proof     // instead of a refresh token
	LongLived                 bool            // AccessToken is a long-lived token, without a refresh token
	Identity                  oauth.Identity
	Service                   oauth.Service // the remote MCP server that it is for
	ObtainedAt                time.Time     // zero: now
	// Imported: authferry did not see the token's issue, so its lifetime is unknown.
	Imported bool

	Shared   string       // where another program still has this login; empty: nowhere
	Holds    []index.Hold // that the new account begins with
	Disabled bool

	// Lock is the rotation lock of the new account, if it is held already and the tokens
	// exist nowhere else; else nil.
	Lock *folder.Rotation
}

// Add stores a new login. The secrets are in the keystore before the index names the
// account; if the keystore refuses, no account is left behind. Errors: LabelTaken, Usage
// (the label), and those of keystore and index.
func Add(ctx context.Context, f *folder.Folder, n NewAccount) (*index.Account, error) {
	now := time.Now().UTC()
	id := index.NewID()
	if n.Lock != nil {
		id = n.Lock.Account
	}
	a, err := newEntry(id, n, now)
	if err != nil {
		return nil, err
	}
	g, acc := newRecords(id, n, now)
	check := func(idx *index.Index) error {
		if OwnerOf(idx, a.Provider, a.Kind, n.Identity) != nil {
			return ErrSameIdentity
		}
		return admissible(idx, &a, n.credential())
	}
	var added *index.Account
	err = folder.WhileMoving(func() (err error) {
		added, err = add(ctx, f, n, a, g, acc, check)
		return err
	})
	return added, err
}

func add(ctx context.Context, f *folder.Folder, n NewAccount, a index.Account, g *record.Grant, acc *record.Access, check func(*index.Index) error) (*index.Account, error) {
	// The index is made and checked first, so that a bad label or an unwritable folder is
	// found before anything is written to the keystore.
	o, err := f.Prepare(ctx, check)
	if err != nil {
		return nil, err
	}
	o, release, err := o.Hold()
	if err != nil {
		return nil, err
	}
	defer release()
	if err := noteSecret(ctx, o, g); err != nil {
		return nil, err
	}
	lock := n.Lock
	if lock == nil {
		if lock, err = o.LockNew(ctx, a.ID); err != nil {
			return nil, err
		}
		defer lock.Release()
	}
	// The manifest comes before the records, so that a crash leaves no secret unlisted.
	persist := patience(f, n)
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

// noteSecret records in g whether its client has a secret with an item of its own.
func noteSecret(ctx context.Context, o *folder.Opened, g *record.Grant) (err error) {
	if g.Proof.Empty() {
		g.ClientSecret, err = o.Store.HasClientSecret(ctx, g.Endpoint)
	}
	return err
}

// newEntry is the entry of n in the index.
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
	switch {
	case !n.APIKey.Empty():
		a.Kind = index.KindAPIKey
	case !n.Proof.Empty():
		a.Kind = index.KindClient
	}
	return a, nil
}

// admissible returns the error why a can't be added to idx, or nil.
func admissible(idx *index.Index, a *index.Account, secret keystore.Secret) error {
	if taken := idx.Labelled(a.Provider, a.Label); len(taken) > 0 {
		return labelTaken(a.Provider, a.Label, fault.Remedy{Do: fault.Again, Label: "L"}, fault.Remedy{Do: fault.Rename, Account: pool.Reference(idx, taken[0])})
	}
	owner := oauth.Identity{Issuer: a.Issuer, Subject: a.Subject}
	if o := record.KnownAs(idx, a.Provider, a.Kind, secret, owner); o != nil {
		return alreadyHere(idx, o)
	}
	_, err := pool.For(idx, a.Pool, a.Provider)
	return err
}

// alreadyHere is the error for a login, key or token that account o has already.
func alreadyHere(idx *index.Index, o *index.Account) error {
	if o.Removing {
		return fault.Errorf(fault.LabelTaken, "this login is here already, in account %s, whose removal was interrupted; nothing was added", fault.Quote(o.Label)).
			Try(fault.Remedy{Do: fault.Fix}, fault.Remedy{Do: fault.Again})
	}
	return fault.Errorf(fault.LabelTaken, "this login is already here as %s; two accounts can't own one", fault.Quote(o.Label)).
		Try(fault.Remedy{Do: fault.ShowAccount, Account: pool.Reference(idx, o)})
}

// newRecords makes the records, with everything that decides where a secret may go.
func newRecords(id string, n NewAccount, now time.Time) (*record.Grant, *record.Access) {
	p := n.Provider
	endpoint := p.Endpoint()
	if n.ClientID != "" {
		endpoint.ClientID = n.ClientID
	}
	if endpoint.AuthStyle = cmp.Or(endpoint.AuthStyle, n.AuthStyle); !n.Proof.Empty() {
		endpoint.AuthStyle = n.AuthStyle // as the server took it
	}
	g := &record.Grant{
		Account: id, Generation: 1, Provider: p.Name,
		RefreshToken: n.RefreshToken, Proof: n.Proof, Endpoint: endpoint,
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
