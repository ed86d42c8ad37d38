package record

import (
	"slices"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// KnownAs returns the account that has, or had, this refresh token, API key or long-lived
// token; nil: none. A refresh token is recognized under any provider name, unless both
// users are known and their issuers differ: two servers can issue the same token. A key or long-lived token is compared within one provider only, because gateways
// may share it.
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
