package record

import (
	"slices"

	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// KnownAs is the account that has this refresh token, API key or long-lived token, or
// had it; nil: none does. A refresh token is known whatever the provider is called,
// unless both sides say whose it is, and of which issuer: two servers can have the same
// token. A key or a long-lived token may be for a gateway that stands for several.
func KnownAs(idx *index.Index, provider, kind string, secret keystore.Secret, owner oauth.Identity) *index.Account {
	fp := Fingerprint(secret)
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

// KnownIn is the account that has the secret of g, or had it; nil: none does.
func (g *Grant) KnownIn(idx *index.Index) *index.Account {
	return KnownAs(idx, g.Provider, g.Kind(), g.Secret(), g.Owner)
}
