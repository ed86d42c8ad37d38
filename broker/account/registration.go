package account

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
)

// registrationPause is the least time between two registrations at one issuer: a program in
// a loop must not fill its database.
const registrationPause = time.Minute

// registeredClient returns what the keystore has of p's client; its zero value: nothing.
func registeredClient(ctx context.Context, f *folder.Folder, p oauth.Provider) (record.ClientSecret, error) {
	idx, err := f.ReadOrEmpty()
	if err != nil || idx.Store == "" {
		return record.ClientSecret{}, err
	}
	o, err := f.Open(idx)
	if err != nil {
		return record.ClientSecret{}, err
	}
	return o.Store.ClientSecret(ctx, p.Endpoint())
}

// reusable returns the registration that the provider's entry names, if it was made for
// this issuer and this resource and still works; else nil.
func (l *login) reusable(ctx context.Context) (*oauth.Registration, error) {
	if l.req.Remote.Register || l.provider.Registration != oauth.RegistrationDynamic || l.provider.ClientID == "" {
		return nil, nil //nolint:nilnil // there is none
	}
	cs, err := registeredClient(ctx, l.f, l.provider)
	if err != nil {
		return nil, err
	}
	reg, found := cs.Registration(), l.req.Remote.Server
	if reg == nil || reg.Issuer != found.Provider.Issuer || reg.Resource != found.Resource ||
		!reg.SecretExpiresAt.IsZero() && time.Until(reg.SecretExpiresAt) < registrationPause {
		return nil, nil //nolint:nilnil // it is none of this server's
	}
	return reg, nil
}

// listen opens the port that the answer comes to. If authferry's own registration has a
// port that is free, it is reused; else a new client is registered, with the port that was
// just opened.
func (l *login) listen(ctx context.Context) (*oauth.Listener, error) {
	if l.req.Remote == nil || l.req.Remote.Registration != oauth.RegistrationDynamic {
		return oauth.Listen(l.provider.RedirectURI)
	}
	reg, err := l.reusable(ctx)
	if err != nil {
		return nil, err
	}
	if reg != nil {
		listener, err := oauth.Listen(reg.RedirectURI)
		if err == nil {
			l.adopt(reg)
			return listener, nil
		}
		if !errors.Is(err, oauth.ErrPortTaken) {
			return nil, err
		}
	}
	listener, err := oauth.Listen("")
	if err != nil {
		return nil, err
	}
	if err := l.register(ctx, listener.Redirect()); err != nil {
		listener.Close()
		return nil, err
	}
	return listener, nil
}

// registerFor is listen for answers that come in another way.
func (l *login) registerFor(ctx context.Context, redirect func() (string, error)) (string, error) {
	if l.req.Remote == nil || l.req.Remote.Registration != oauth.RegistrationDynamic {
		return redirect()
	}
	reg, err := l.reusable(ctx)
	if err != nil {
		return "", err
	}
	if reg != nil {
		l.adopt(reg)
		return reg.RedirectURI, nil
	}
	to, err := redirect()
	if err != nil {
		return "", err
	}
	return to, l.register(ctx, to)
}

func (l *login) adopt(reg *oauth.Registration) {
	l.reused = true
	l.use(reg)
}

// use makes reg's client the one of this login.
func (l *login) use(reg *oauth.Registration) {
	l.endpoint.ClientID, l.endpoint.AuthStyle, l.endpoint.ClientSecret = reg.ClientID, reg.AuthStyle, reg.Secret
	l.provider.ClientID, l.provider.AuthStyle = reg.ClientID, reg.AuthStyle
	l.service.RedirectURI, l.service.SecretExpiresAt = reg.RedirectURI, reg.SecretExpiresAt
}

// register makes a new client, and stores it before anyone is asked to log in with it.
func (l *login) register(ctx context.Context, redirect string) error {
	found := l.req.Remote.Server
	if l.req.KnownClient {
		e := fault.Errorf(fault.LoginNeeded, "a login at %s needs a new registration there, or the port of the old one, which is taken", l.provider.Name)
		return e.Try(fault.Remedy{Do: fault.Login, Provider: l.provider.Name, Account: l.req.Renew})
	}
	if err := pauseRegistration(ctx, l.f, found.Provider.Issuer); err != nil {
		return err
	}
	over := l.f.Progress(folder.Step{Doing: forProvider(l.provider.Name)})
	reg, err := found.Register(ctx, redirect)
	over()
	if err != nil {
		return l.notRegistered(err)
	}
	// The redirect URI is stored with the client: in the entry it would apply to any
	// client.
	p := l.req.Remote.entry
	p.ClientID, p.AuthStyle = reg.ClientID, reg.AuthStyle
	o, err := l.f.Prepare(ctx, func(*index.Index) error { return nil })
	if err != nil {
		return err
	}
	if err := o.SetClient(ctx, p.Endpoint(), record.NewClient(reg)); err != nil {
		return err
	}
	if err := keepProvider(ctx, l.f, p); err != nil {
		return err
	}
	l.use(reg)
	return nil
}

// pauseRegistration refuses a second registration at an issuer within a minute.
func pauseRegistration(ctx context.Context, f *folder.Folder, issuer string) error {
	ps, err := f.Providers()
	if err != nil {
		return err
	}
	for _, p := range ps.All() {
		if p.Issuer != issuer || p.Registration != oauth.RegistrationDynamic {
			continue
		}
		cs, err := registeredClient(ctx, f, p)
		if err != nil {
			return err
		}
		if r := cs.Registered; r != nil && r.Issuer == issuer && time.Since(r.At).Abs() < registrationPause {
			e := fault.Errorf(fault.ProviderRefused, "authferry registered itself at %s less than a minute ago; nothing was changed", oauth.HostOf(issuer))
			e.RetryAt = r.At.Add(registrationPause)
			return e
		}
	}
	return nil
}

func (l *login) notRegistered(err error) error {
	if _, ok := errors.AsType[*oauth.RegistrationError](err); ok {
		return fault.Errorf(fault.RegistrationRefused, "%v; nothing was changed", err).Try(fault.Remedy{Do: fault.Again, Name: "client-id", Value: "ID"})
	}
	return l.failed(err)
}

// retire deletes the registration of a removed account, here and at its server, if no other
// login needs it.
func retire(ctx context.Context, f *folder.Folder, o *folder.Opened, g *record.Grant, done *Removal) {
	own, err := o.DropClient(ctx, g.Endpoint)
	if err != nil {
		f.Log.Warn("a client's record is left over", "provider", g.Provider, "error", err)
		return
	}
	done.Warning = cmp.Or(done.Warning, folder.Unregister(ctx, f, own))
}
