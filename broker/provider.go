package broker

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/record"
	"github.com/authferry/authferry/keystore"
)

// Providers returns the built-in providers, overlaid by the user's own.
func (b *Broker) Providers() (*oauth.Providers, error) {
	ps, err := oauth.LoadProviders(filepath.Join(b.opt.Dir, "providers.toml"))
	if err != nil {
		return nil, fault.Errorf(fault.Usage, "providers.toml does not do").WithHint("mend or delete %s", filepath.Join(b.opt.Dir, "providers.toml")).Because(err)
	}
	return ps, nil
}

// Provider returns one provider. Errors: Usage for an unknown one.
func (b *Broker) Provider(name string) (oauth.Provider, error) {
	ps, err := b.Providers()
	if err != nil {
		return oauth.Provider{}, err
	}
	p, ok := ps.Get(name)
	if !ok {
		return p, fault.Errorf(fault.Usage, "there is no provider %s", quote(name)).WithHint("authferry provider list, or authferry provider add %s --issuer URL", name)
	}
	if keys := ps.Unknown()[name]; keys != nil {
		b.opt.Warn(ignored(name, keys))
	}
	return p, nil
}

// ignored says which keys of a provider in providers.toml have no effect.
func ignored(name string, keys []string) string {
	const most = 3
	quoted := make([]string, 0, most)
	for _, key := range keys[:min(len(keys), most)] {
		quoted = append(quoted, quote(key))
	}
	if more := len(keys) - most; more > 0 {
		quoted = append(quoted, fmt.Sprintf("and %d more", more))
	}
	return fmt.Sprintf("providers.toml: provider %s: unknown key %s is ignored; docs/providers.md lists the known ones", quote(name), strings.Join(quoted, ", "))
}

// AddProvider keeps p as the user's own and its client's secret, if there is
// one, in the keystore. Existing accounts keep what they were logged in with.
func (b *Broker) AddProvider(ctx context.Context, p oauth.Provider, secret keystore.Secret) error {
	if err := p.Validate(); err != nil {
		return fault.Errorf(fault.Usage, "provider %s does not do", quote(p.Name)).Because(err)
	}
	if !secret.Empty() && p.ClientID == "" {
		return fault.Errorf(fault.Usage, "a client secret needs its --client-id")
	}
	l, err := b.lockSettings(ctx, "providers.toml")
	if err != nil {
		return err
	}
	defer l.Release()
	if !secret.Empty() {
		idx, err := b.prepare(ctx, func(*index.Index) error { return nil })
		if err != nil {
			return err
		}
		if err := b.setClientSecret(ctx, idx, p.Endpoint(), secret); err != nil {
			return err
		}
	}
	ps, err := b.Providers()
	if err != nil {
		return err
	}
	if err := ps.Add(p); err != nil {
		return fault.Errorf(fault.Internal, "providers.toml can't be changed").Because(err)
	}
	return nil
}

// RemoveProvider removes one of the user's own providers; a built-in of that
// name is back. Accounts stay as they are: their records pin what they need.
// The client's secret goes when no account can need it any more.
func (b *Broker) RemoveProvider(ctx context.Context, name string) error {
	l, err := b.lockSettings(ctx, "providers.toml")
	if err != nil {
		return err
	}
	defer l.Release()
	p, err := b.Provider(name)
	if err != nil {
		return err
	}
	ps, err := b.Providers()
	if err != nil {
		return err
	}
	if err := ps.Remove(name); err != nil {
		return fault.Errorf(fault.Usage, "provider %s is not one of your own", quote(name)).WithHint("authferry provider list").Because(err)
	}
	idx, err := b.readOrEmpty()
	if err != nil || idx.Store == "" || p.ClientID == "" {
		return err
	}
	if ps, err = b.Providers(); err != nil {
		return err
	}
	if slices.ContainsFunc(idx.Accounts, func(a index.Account) bool { return a.Provider == name }) ||
		slices.ContainsFunc(ps.All(), func(o oauth.Provider) bool { return record.ClientKey(o.Endpoint()) == record.ClientKey(p.Endpoint()) }) {
		return nil
	}
	if err := b.forChange(ctx, idx); err != nil {
		return err
	}
	if has, err := b.hasClientSecret(ctx, idx, p.Endpoint()); err != nil || !has {
		return err
	}
	return b.dropClientSecret(ctx, idx, p.Endpoint())
}

// Discover reads a provider's endpoints from its issuer's discovery document.
func (b *Broker) Discover(ctx context.Context, issuer string) (oauth.Provider, error) {
	if err := oauth.CheckURL(issuer); err != nil {
		return oauth.Provider{}, fault.Errorf(fault.Usage, "the issuer's URL does not do").Because(err)
	}
	timed, over := b.within(ctx, b.opt.HTTPTimeout, forProvider(issuer))
	defer over()
	p, err := b.opt.Client.Discover(timed, issuer)
	if err != nil && ctx.Err() != nil {
		return p, fault.Errorf(fault.Cancelled, "interrupted; nothing was changed")
	}
	if err != nil {
		failed := fault.Errorf(fault.ProviderUnreachable, "discovery at %s failed", issuer).
			WithHint("check the URL, or name the endpoints: --authorization-endpoint … --token-endpoint …").Because(err)
		if e, ok := errors.AsType[*oauth.Error](err); ok && e.Advice() != "" {
			failed.Hint = e.Advice()
		}
		return p, failed
	}
	return p, nil
}
