package account

import (
	"context"
	"slices"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
)

// kind is that of the account that the login makes.
func (l *login) kind() string {
	if l.flow == FlowClient {
		return index.KindClient
	}
	return index.KindOAuth
}

// personal are the scopes that ask for what only a person has: a name, and a refresh token.
var personal = []string{"openid", "profile", "email", "offline_access"}

// byClient gets a token by the client's proof, which is the grant from then on.
func (l *login) byClient(ctx context.Context) (*LoggedIn, error) {
	l.proof = l.req.Proof
	if l.proof.Empty() {
		l.proof.Secret = l.endpoint.ClientSecret
	}
	if l.proof.Empty() {
		return nil, fault.Errorf(fault.Usage, "no secret is stored for client %s of %s: bring it, or a private key", fault.Quote(l.endpoint.ClientID), l.provider.Name).
			Try(fault.Remedy{Do: fault.Again, Name: "client-secret-stdin"}, fault.Remedy{Do: fault.Again, Name: "client-key-stdin"})
	}
	if !l.proof.Key.Empty() {
		if err := l.proof.CheckKey(); err != nil {
			return nil, fault.Errorf(fault.Usage, "invalid key; nothing was changed").Because(err)
		}
	}
	l.proof.Scopes = slices.DeleteFunc(slices.Clone(l.provider.Scopes), func(s string) bool { return slices.Contains(personal, s) })
	l.provider.Scopes = l.proof.Scopes
	return l.exchange(ctx, "", func(ctx context.Context) (*oauth.Token, error) {
		defer l.f.Progress(folder.Step{Doing: forProvider(l.provider.Name), Until: time.Now().Add(l.f.HTTPTimeout)})()
		tok, endpoint, proof, err := l.client().FirstToken(ctx, l.endpoint, l.proof)
		l.endpoint, l.proof = endpoint, proof
		return tok, err
	})
}
