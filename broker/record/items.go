package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// Slots are the places of an account's records of one kind.
var Slots = []string{"a", "b", "c", "d"}

// The names of items. Each begins with the store id of the folder, so that two folders
// never share an item.

// GrantItem is the name of an account's grant in a slot.
func GrantItem(store, account, slot string) string { return store + "/" + account + "/grant:" + slot }

// AccessItem is the name of an account's access record in a slot.
func AccessItem(store, account, slot string) string { return store + "/" + account + "/access:" + slot }

// ClientItem is the name of a client's secret. It is made of ClientKey and not of the
// provider: an account keeps the client that it logged in with when the provider's data
// changes.
func ClientItem(store, key string) string { return store + "/client/" + key }

// ShareItem is the name of the membership in a pool that machines share (package share).
func ShareItem(store, pool string) string { return store + "/share/" + pool }

// ManifestItem is the name of the manifest.
func ManifestItem(store string) string { return store + "/manifest" }

// TrialItem is written by a person's command to see whether the keystore works.
func TrialItem(store string) string { return store + "/probe" }

// probeItem is written by a rotation for the same purpose.
func probeItem(store, account string) string { return store + "/" + account + "/probe" }

// Items are the names of all items that an account may have.
func Items(store, account string) []string {
	names := []string{probeItem(store, account)}
	for _, s := range Slots {
		names = append(names, AccessItem(store, account, s), GrantItem(store, account, s))
	}
	return names
}

// Items are the names of all items that the manifest lists, but not its own.
func (m *Manifest) Items() []string {
	var names []string
	for _, key := range m.Clients {
		names = append(names, ClientItem(m.Store, key))
	}
	for _, pool := range m.Shares {
		if index.ValidSharedPoolID(pool) {
			names = append(names, ShareItem(m.Store, pool))
		}
	}
	for _, id := range m.Accounts {
		if index.ValidID(id) {
			names = append(names, Items(m.Store, id)...)
		}
	}
	return names
}

// Fingerprint identifies a refresh token or API key without revealing it: 64 bits of a
// hash, enough to tell two apart.
func Fingerprint(token keystore.Secret) string {
	if token.Empty() {
		return ""
	}
	sum := sha256.Sum256([]byte("authferry fingerprint\x00" + token.Reveal()))
	return hex.EncodeToString(sum[:8])
}

// KnownAs returns the account that has, or had, this refresh token, API key or long-lived
// token; nil: none. A refresh token is recognized under any provider name, unless both users
// are known and their issuers differ: two servers can issue the same token. A key or
// long-lived token is compared within one provider only, because gateways may share it.
func KnownAs(idx *index.Index, provider, kind string, secret keystore.Secret, owner oauth.Identity) *index.Account {
	fp := Fingerprint(secret)
	i := slices.IndexFunc(idx.Accounts, func(o index.Account) bool {
		if owner.Subject != "" && o.Subject != "" && owner.Issuer != o.Issuer {
			return false
		}
		if fp != "" && o.TokenFingerprint == fp {
			return o.Provider == provider
		}
		return fp != "" && (o.Fingerprint == fp || slices.Contains(o.Spent, fp)) && (kind == index.KindOAuth || o.Provider == provider)
	})
	if i < 0 {
		return nil
	}
	return &idx.Accounts[i]
}

// KnownIn returns the account that has, or had, the secret of g; nil: none.
func (g *Grant) KnownIn(idx *index.Index) *index.Account {
	return KnownAs(idx, g.Provider, g.Kind(), g.Secret(), g.Owner)
}

// Fault turns an error of the keystore into one with a code and a remedy.
func Fault(err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fault.Error](err); ok {
		return err
	}
	var e *fault.Error
	switch {
	case errors.Is(err, keystore.ErrLocked):
		e = fault.Errorf(fault.KeystoreLocked, "the keychain is locked; nothing was changed").
			Try(fault.Remedy{Do: fault.UnlockKeychain}, fault.Remedy{Do: fault.Again})
	case errors.Is(err, keystore.ErrUnavailable):
		e = fault.Errorf(fault.KeystoreUnavailable, "no keystore is reachable from this session").
			Try(fault.Remedy{Do: fault.ShowKeystore}, fault.Remedy{Do: fault.InitKeystore})
	case errors.Is(err, context.Canceled):
		e = fault.Errorf(fault.Cancelled, "interrupted while waiting for the keystore; nothing was lost")
	case errors.Is(err, keystore.ErrTimeout):
		e = fault.Errorf(fault.KeystoreTimeout, "the keychain did not answer in time; nothing was lost").
			Try(fault.Remedy{Do: fault.WithVariable, Name: "AUTHFERRY_KEYCHAIN_TIMEOUT", Value: "120s"})
	case errors.Is(err, keystore.ErrTooBig):
		e = fault.Errorf(fault.SecretTooBig, "the secret is too big for the keystore")
	case errors.Is(err, keystore.ErrDenied), errors.Is(err, keystore.ErrDamaged), errors.Is(err, keystore.ErrNotFound):
		e = fault.Errorf(fault.KeystoreDenied, "the keystore refused").Try(fault.Remedy{Do: fault.ShowKeystore})
	default:
		e = fault.Errorf(fault.Internal, "the keystore failed")
	}
	return e.Because(err)
}
