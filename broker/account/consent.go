package account

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/keystore"
)

// byBrowser waits for the answer on loopback, and shows the result in the browser that
// brings it.
func (l *login) byBrowser(ctx context.Context, who Person) (*LoggedIn, error) {
	listener, err := l.listen(ctx)
	if e, ok := errors.AsType[*fault.Error](err); ok {
		return nil, e
	}
	if errors.Is(err, oauth.ErrPortTaken) {
		return nil, fault.Errorf(fault.LoginFailed, "the port of the redirect URI %s is in use by another login, or by the program that it belongs to", l.provider.RedirectURI).
			Try(fault.Remedy{Do: fault.Again, How: fault.Paste})
	}
	if err != nil {
		return nil, fault.Errorf(fault.LoginFailed, "the redirect URI of provider %s can't be opened", l.provider.Name).Because(err)
	}
	defer listener.Close()
	a := oauth.NewAuthorization(l.asked(), l.endpoint, listener.Redirect())
	if who.Await != nil {
		who.Await(listener.Redirect())
	}
	address, err := l.address(ctx, a)
	if err != nil {
		return nil, l.failed(err)
	}
	who.Open(address)
	answer, err := listener.Wait(ctx, a)
	if err != nil {
		return nil, l.failed(err)
	}
	done, err := l.redeem(ctx, a, answer)
	answer.Answer(l.page(done, err))
	return done, err
}

// asked is the provider as it is asked for a person's consent. Who has another account
// there may be logged in to that one: the browser would give its login again, unseen.
func (l *login) asked() oauth.Provider {
	if l.others {
		return l.provider.Choosing()
	}
	return l.provider
}

// address is what the person has to open, which some servers want to hear of first.
func (l *login) address(ctx context.Context, a *oauth.Authorization) (string, error) {
	defer l.f.Progress(folder.Step{Doing: forProvider(l.provider.Name)})()
	return l.client().Push(ctx, a)
}

func (l *login) redeem(ctx context.Context, a *oauth.Authorization, answer *oauth.Callback) (*LoggedIn, error) {
	if answer.Err != nil {
		return nil, l.failed(answer.Err)
	}
	return l.exchange(ctx, a.Nonce(), func(ctx context.Context) (*oauth.Token, error) {
		return l.tokens(ctx, a, answer.Code)
	})
}

func (l *login) tokens(ctx context.Context, a *oauth.Authorization, code keystore.Secret) (*oauth.Token, error) {
	defer l.f.Progress(folder.Step{Doing: forProvider(l.provider.Name), Until: time.Now().Add(l.f.HTTPTimeout)})()
	tok, err := l.client().Exchange(ctx, a, code)
	l.endpoint.AuthStyle = a.AuthStyle()
	return tok, err
}

func (l *login) page(done *LoggedIn, err error) oauth.Page {
	if e, ok := errors.AsType[*fault.Error](err); ok {
		text := e.Error()
		return oauth.Page{Title: "Not logged in", Text: strings.ToUpper(text[:1]) + text[1:] + ".", Next: l.f.Hint(e)}
	}
	name := cmp.Or(done.Account.Identity, done.Account.Label)
	text := fmt.Sprintf("Your %s login is in the keystore as account “%s”.", l.provider.Name, done.Account.Label)
	if done.Renewed {
		text = fmt.Sprintf("Account “%s” of %s has a new login.", done.Account.Label, l.provider.Name)
	}
	return oauth.Page{OK: true, Title: "Logged in as " + name, Text: text}
}

const pasteTries = 3

// byPaste reads what the person copied. On a terminal they may try again; a pipe has only
// one line.
func (l *login) byPaste(ctx context.Context, who Person) (*LoggedIn, error) {
	redirect, err := l.registerFor(ctx, func() (string, error) { return pasteRedirect(l.provider) })
	if err != nil {
		return nil, l.failed(err)
	}
	a := oauth.NewAuthorization(l.asked(), l.endpoint, redirect)
	address, err := l.address(ctx, a)
	if err != nil {
		return nil, l.failed(err)
	}
	who.Open(address)
	var refused error
	for range pasteTries {
		text, err := who.Paste(ctx)
		if err != nil {
			return nil, l.failed(cmp.Or(refused, err))
		}
		code, err := a.Pasted(text)
		if err == nil {
			return l.exchange(ctx, a.Nonce(), func(ctx context.Context) (*oauth.Token, error) {
				return l.tokens(ctx, a, code)
			})
		}
		if _, said := errors.AsType[*oauth.RefusedError](err); said {
			return nil, l.failed(err)
		}
		refused = err
		l.f.Warn(err.Error())
	}
	return nil, l.failed(refused)
}

// pasteRedirect is the provider's page that shows the code. If it has none, it is an
// address of this machine where nothing listens, which the person copies from the address
// bar.
func pasteRedirect(p oauth.Provider) (string, error) {
	redirect := cmp.Or(p.PasteRedirectURI, p.RedirectURI)
	if u, err := url.Parse(redirect); err == nil && redirect != "" && (u.Scheme == "https" || u.Port() != "") {
		return redirect, nil
	}
	listener, err := oauth.Listen(redirect)
	if err != nil {
		return "", err
	}
	listener.Close()
	return listener.Redirect(), nil
}

func (l *login) byDevice(ctx context.Context, who Person) (*LoggedIn, error) {
	if _, err := l.registerFor(ctx, func() (string, error) { return pasteRedirect(l.provider) }); err != nil {
		return nil, l.failed(err)
	}
	over := l.f.Progress(folder.Step{Doing: forProvider(l.provider.Name)})
	d, err := l.client().AuthorizeDevice(ctx, l.provider, l.endpoint)
	over()
	if err != nil {
		return nil, l.failed(err)
	}
	who.Enter(d)
	// The successful poll is the exchange, so anything to be written has to come before it.
	return l.exchange(ctx, "", func(context.Context) (*oauth.Token, error) {
		tok, err := l.client().Redeem(ctx, d)
		l.endpoint.AuthStyle = d.AuthStyle()
		return tok, err
	})
}

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
