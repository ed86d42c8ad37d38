package account

import (
	"context"
	"time"

	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// Adopt is Add for a login that may be stored already, by an import that was interrupted:
// then it gets its entry. Errors: as from Add.
func Adopt(ctx context.Context, f *folder.Folder, n NewAccount) (*index.Account, error) {
	var a *index.Account
	if err := folder.WhileMoving(func() (err error) {
		a, err = adopt(ctx, f, n)
		return err
	}); a != nil || err != nil {
		return a, err
	}
	return Add(ctx, f, n)
}

// adopt finds a stored login that has the grant of n but is not in the index, and makes its
// entry. If n were added instead, there would be two accounts as soon as doctor finds the
// first.
func adopt(ctx context.Context, f *folder.Folder, n NewAccount) (*index.Account, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil || idx.Store == "" {
		return nil, err
	}
	o, err := f.Open(idx)
	if err != nil {
		return nil, err
	}
	m, err := o.Store.Manifest(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range m.Accounts {
		if !index.ValidID(id) || idx.Account(id) != nil {
			continue
		}
		stored, err := o.Grants(ctx, id)
		if err != nil {
			return nil, err
		}
		g := stored.Best
		if g == nil || g.Secret().Empty() || g.Provider != n.Provider.Name || record.Fingerprint(g.Secret()) != record.Fingerprint(n.grantSecret()) {
			continue
		}
		return adoptAs(ctx, o, id, stored, n)
	}
	return nil, nil
}

// adoptAs makes the entry of n for the stored login of account id.
func adoptAs(ctx context.Context, o *folder.Opened, id string, stored record.Grants, n NewAccount) (*index.Account, error) {
	now := time.Now().UTC()
	acc, slot, err := o.Store.AccessOf(ctx, id, stored.Best.Generation)
	if err != nil {
		return nil, err
	}
	if acc == nil {
		if _, acc = newRecords(id, n, now); acc != nil {
			acc.Generation = stored.Best.Generation
		}
	}
	a, err := newEntry(id, n, now)
	if err != nil {
		return nil, err
	}
	l, err := o.LockNew(ctx, id)
	if err != nil {
		return nil, err
	}
	defer l.Release()
	return o.Commit(ctx, l, folder.Login{
		Slot: stored.Slot, Grant: stored.Best, Stored: true, Access: acc, AccessSlot: slot, New: &a,
		Check: func(i *index.Index) error { return admissible(i, &a, stored.Best.Secret()) },
	})
}

// grantSecret is the secret that n's grant will have.
func (n NewAccount) grantSecret() keystore.Secret {
	switch {
	case !n.APIKey.Empty():
		return n.APIKey
	case !n.Proof.Empty():
		return n.Proof.Grant()
	}
	return n.RefreshToken
}
