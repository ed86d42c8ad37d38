package folder

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// Providers returns the built-in providers together with the user's own.
func (f *Folder) Providers() (*oauth.Providers, error) {
	ps, err := oauth.LoadProviders(filepath.Join(f.Dir, "providers.toml"))
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "providers.toml is invalid").Try(fault.Remedy{Do: fault.EditFile, Path: filepath.Join(f.Dir, "providers.toml")}).Because(err)
	}
	return ps, nil
}

// Provider returns one provider. Errors: Usage for an unknown one.
func (f *Folder) Provider(name string) (oauth.Provider, error) {
	ps, err := f.Providers()
	if err != nil {
		return oauth.Provider{}, err
	}
	p, ok := ps.Get(name)
	if !ok {
		return p, fault.Errorf(fault.Usage, "there is no provider %s", strconv.Quote(name)).Try(OtherProvider(name)...)
	}
	if keys := ps.Unknown()[name]; keys != nil {
		f.Warn(Ignored(name, keys))
	}
	return p, nil
}

// OtherProvider lists remedies for naming a provider that doesn't exist.
func OtherProvider(name string) []fault.Remedy {
	next := []fault.Remedy{{Do: fault.ListProviders}}
	if (oauth.Provider{Name: name}).Validate() == nil {
		next = append(next, fault.Remedy{Do: fault.AddProvider, Provider: name})
	}
	return next
}

// Ignored lists the keys of a provider in providers.toml that have no effect.
func Ignored(name string, keys []string) string {
	const most = 3
	quoted := make([]string, 0, most)
	for _, key := range keys[:min(len(keys), most)] {
		quoted = append(quoted, strconv.Quote(key))
	}
	if more := len(keys) - most; more > 0 {
		quoted = append(quoted, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("providers.toml: provider %s: unknown key %s is ignored; docs/providers.md lists the known ones", strconv.Quote(name), strings.Join(quoted, ", "))
}

// AddProvider stores p as a provider of the user's own and, in the keystore, its client's
// secret if there is one. Existing accounts keep the data that they logged in with.
func AddProvider(ctx context.Context, f *Folder, p oauth.Provider, secret keystore.Secret) error {
	if err := p.Validate(); err != nil {
		return fault.Errorf(fault.Usage, "provider %s is invalid", strconv.Quote(p.Name)).Because(err)
	}
	if !secret.Empty() && p.ClientID == "" {
		return fault.Errorf(fault.Usage, "a client secret needs its --client-id")
	}
	l, err := lockSettings(ctx, f, "providers.toml")
	if err != nil {
		return err
	}
	defer l.Release()
	if !secret.Empty() {
		o, err := f.Prepare(ctx, func(*index.Index) error { return nil })
		if err != nil {
			return err
		}
		if err := o.SetClient(ctx, p.Endpoint(), record.ClientSecret{Secret: secret.Reveal()}); err != nil {
			return err
		}
	}
	ps, err := f.Providers()
	if err != nil {
		return err
	}
	if err := ps.Add(p); err != nil {
		return fault.Errorf(fault.Internal, "providers.toml can't be changed").Because(err)
	}
	return nil
}

// RemoveProvider removes one of the user's own providers; a built-in one of that name is
// back then. Accounts stay as they are: their records have what they need. The client's
// secret is deleted when no account can need it any more.
func RemoveProvider(ctx context.Context, f *Folder, name string) error {
	l, err := lockSettings(ctx, f, "providers.toml")
	if err != nil {
		return err
	}
	defer l.Release()
	p, err := f.Provider(name)
	if err != nil {
		return err
	}
	ps, err := f.Providers()
	if err != nil {
		return err
	}
	if err := ps.Remove(name); err != nil {
		return fault.Errorf(fault.Usage, "provider %s is not one of your own", strconv.Quote(name)).Try(fault.Remedy{Do: fault.ListProviders}).Because(err)
	}
	idx, err := f.ReadOrEmpty()
	if err != nil || idx.Store == "" || p.ClientID == "" {
		return err
	}
	if ps, err = f.Providers(); err != nil {
		return err
	}
	if slices.ContainsFunc(idx.Accounts, func(a index.Account) bool { return a.Provider == name }) ||
		slices.ContainsFunc(ps.All(), func(o oauth.Provider) bool { return record.ClientKey(o.Endpoint()) == record.ClientKey(p.Endpoint()) }) {
		return nil
	}
	o, err := f.OpenForChange(ctx, idx)
	if err != nil {
		return err
	}
	if cs, err := o.Store.ClientSecret(ctx, p.Endpoint()); err != nil || cs.ClientID == "" {
		return err
	}
	own, err := o.DropClient(ctx, p.Endpoint())
	if warning := Unregister(ctx, f, own); warning != "" {
		f.Warn(warning)
	}
	return err
}

// Unregister deletes a registration at its server (RFC 7592), if possible. warning says why
// it could not.
func Unregister(ctx context.Context, f *Folder, own *oauth.Registration) (warning string) {
	if own == nil || own.URI == "" {
		return ""
	}
	ctx, over := f.Within(ctx, f.HTTPTimeout, func() string { return "waiting for the server to delete authferry's registration" })
	defer over()
	if err := f.Client.Unregister(ctx, own); err != nil {
		return fmt.Sprintf("%s did not delete authferry's registration: %v; an unused client stays there, and nothing else", own.Issuer, err)
	}
	return ""
}
