package main

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
)

// addLabel takes the word of authferry add LABEL for a label if it can mean nothing else:
// on a terminal, if it is not a provider's name, if all accounts are of one provider, and
// if the person agrees. Otherwise it is an error that names the providers in use. A word
// that can't be a label stays a provider.
func (c *loginCmd) addLabel(a *app) error {
	args := slices.Clone(a.term.hints.args)
	at := commandAt(args)
	label, err := index.CheckLabel(c.Provider)
	if at < 0 || args[at] != "add" || err != nil || c.Label != "" || c.Renew != "" || c.Name != "" || c.set() {
		return nil //nolint:nilerr // it is no label
	}
	known, err := a.broker.Providers()
	if err != nil || slices.ContainsFunc(known.All(), func(p oauth.Provider) bool { return index.EqualLabel(p.Name, label) }) {
		return nil //nolint:nilerr // the login says it
	}
	all, err := a.broker.List()
	if err != nil || len(all) == 0 {
		return nil //nolint:nilerr // likewise
	}
	var next []fault.Remedy
	for _, v := range all {
		if r := (fault.Remedy{Do: fault.Login, Provider: v.Provider, Label: label}); !slices.Contains(next, r) {
			next = append(next, r)
		}
	}
	if len(next) > 1 || !a.present() {
		const most = 3
		next = append(next[:min(len(next), most)], fault.Remedy{Do: fault.ListProviders})
		return fault.Errorf(fault.Usage, "there is no provider %s; if that is to be an account's label, name its provider", fault.Quote(label)).Try(next...)
	}
	provider := all[0].Provider
	if i := slices.IndexFunc(all, func(v pool.AccountView) bool { return index.EqualLabel(v.Label, label) }); i >= 0 {
		return fault.Errorf(fault.LabelTaken, "label %s is taken at %s", fault.Quote(all[i].Label), provider).Try(all[i].Renew)
	}
	switch yes, err := a.agree(fmt.Sprintf("new account %s at %s?", strconv.Quote(label), provider)); {
	case err != nil:
		return err
	case !yes:
		return declined()
	}
	args[at], args[slices.Index(args, c.Provider)] = "login", provider
	a.term.hints = newHints(slices.Concat(args, []string{"--label", label}), a.term.hints.child)
	c.Provider, c.Label = provider, label
	return nil
}
