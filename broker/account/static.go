package account

import (
	"context"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// LoginToken stores a long-lived bearer token without a refresh token, as services issue
// for programs: as a new account, which needs a label, or in place of that of the account
// Renew. It lasts for req.ExpiresIn, else as long as the provider's data says for its
// prefix. Errors: as from Login.
func LoginToken(ctx context.Context, f *folder.Folder, req LoginRequest, token keystore.Secret) (*LoggedIn, error) {
	p, err := f.Provider(req.Provider)
	if err != nil {
		return nil, err
	}
	kind := p.Recognize(token)
	if err := req.unfit(p, token); err != nil {
		return nil, err
	}
	if kind == oauth.APIKey {
		return nil, fault.Errorf(fault.Usage, "this is an API key of %s, not a token; nothing was changed", p.Name).Try(fault.Remedy{Do: fault.Again, How: fault.APIKey})
	}
	lifetime := req.ExpiresIn
	if lifetime == 0 && kind == oauth.LongLivedToken {
		lifetime = p.Lifetime()
	}
	n := NewAccount{Provider: p, Label: req.Label, Pool: req.Pool, AccessToken: token, LongLived: true, Imported: true}
	if lifetime > 0 {
		n.ExpiresAt = time.Now().Add(lifetime).UTC()
	}
	done, err := loginStatic(ctx, f, req, n)
	if done != nil {
		done.LongLived = true
	}
	return done, err
}

// unfit is the error for a credential that must not be stored as a key or token, or that
// can't be recognized for something around it.
func (req LoginRequest) unfit(p oauth.Provider, secret keystore.Secret) error {
	text := secret.Reveal()
	last := text[strings.LastIndexAny(text, " =:")+1:]
	switch {
	case strings.Contains(text, " "):
		return fault.Errorf(fault.Usage, "invalid token or key: it contains a space; nothing was changed")
	case last != text && p.Recognize(keystore.NewSecret(last)) != "":
		return fault.Errorf(fault.Usage, "invalid token or key: there is something in front of it, as in NAME=VALUE; nothing was changed")
	}
	switch p.Recognize(secret) {
	case oauth.RefreshToken:
		how, instead := fault.APIKey, ""
		if p.TokenCommand != "" {
			how, instead = fault.Token, " ("+p.TokenCommand+" makes one for other programs)"
		}
		return fault.Errorf(fault.Usage, "this is a refresh token of %s, which only the program that it was issued to can use%s; nothing was changed", p.Name, instead).
			Try(fault.Remedy{Do: fault.Again, How: how})
	case oauth.AdminKey:
		return fault.Errorf(fault.Usage, "this is an admin key of %s, which is for managing an organization and not for the API; nothing was changed", p.Name).
			Try(fault.Remedy{Do: fault.Again, How: fault.APIKey})
	}
	return nil
}

// loginStatic stores an API key or a long-lived token.
func loginStatic(ctx context.Context, f *folder.Folder, req LoginRequest, n NewAccount) (*LoggedIn, error) {
	what, kind := "API key", index.KindAPIKey
	if n.LongLived {
		what, kind = "token", index.KindOAuth
	}
	if err := oauth.CheckAccessToken(n.credential().Reveal()); err != nil {
		return nil, fault.Errorf(fault.Usage, "invalid %s: it has characters that no header can carry; nothing was changed", what)
	}
	idx, err := f.ReadOrEmpty()
	if err != nil {
		return nil, err
	}
	id, err := req.static(idx, n.LongLived)
	if err != nil {
		return nil, err
	}
	if o := record.KnownAs(idx, n.Provider.Name, kind, n.credential(), oauth.Identity{}); o != nil && o.ID != id {
		return nil, alreadyHere(idx, o)
	}
	if _, err := f.Ready(ctx, idx); err != nil {
		return nil, err
	}
	if id == "" {
		a, err := Add(ctx, f, n)
		if err != nil {
			return nil, err
		}
		return &LoggedIn{Account: *a}, nil
	}
	a, err := Replace(ctx, f, id, n)
	if err != nil {
		return nil, err
	}
	return &LoggedIn{Account: *a, Renewed: true}, nil
}

// static is the id of the account in which an API key or a long-lived token takes the
// old one's place; empty: it becomes a new account.
func (req LoginRequest) static(idx *index.Index, longLived bool) (id string, err error) {
	what, kind := "an API key", index.KindAPIKey
	if longLived {
		what, kind = "a token", index.KindOAuth
	}
	if req.Label == "" && req.Renew == "" {
		return "", fault.Errorf(fault.Usage, "%s needs a --label", what).Try(fault.Remedy{Do: fault.Again, Label: "L"})
	}
	id, err = renewable(idx, req, kind)
	if a := idx.Account(id); a != nil && longLived && a.Fingerprint != "" && a.Dead != a.Fingerprint {
		return "", fault.Errorf(fault.Usage, "account %s has a login with a refresh token, and a token can't take its place; nothing was changed", fault.Quote(a.Label)).
			Try(fault.Remedy{Do: fault.Login, Provider: a.Provider, How: fault.Token, Label: "L"})
	}
	return id, err
}

// credential is the secret that n's grant will have, or the long-lived token.
func (n NewAccount) credential() keystore.Secret {
	if n.LongLived {
		return n.AccessToken
	}
	return n.grantSecret()
}
