package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/keystore"
)

// If a login needs something that was not given, a person at a terminal is asked for it.
// Each answer counts as if it had been typed, in hints too.

// given adds words to the command that was given.
func (a *app) given(words ...string) {
	a.term.hints = newHints(slices.Concat(a.term.hints.args, words), a.term.hints.child)
}

// chooseProvider asks where to log in.
func (c *loginCmd) chooseProvider(a *app) error {
	ps, err := a.folder.Providers()
	if err != nil {
		return err
	}
	all := ps.All()
	slices.SortStableFunc(all, func(p, q oauth.Provider) int { return strings.Compare(p.Source, q.Source) }) // built-in before own
	if !a.present() || c.JSON {
		var names []string
		for _, p := range all {
			names = append(names, p.Name)
		}
		return &fault.Error{Code: fault.Usage, Message: "log in where? " + strings.Join(names, ", ") + ", or the https address of a remote MCP server",
			Next: []fault.Remedy{{Do: fault.ListProviders}}}
	}
	if c.Renew != "" {
		return c.chooseAsBefore(a)
	}
	idx, err := a.folder.ReadOrEmpty()
	if err == nil {
		_, err = a.folder.Ready(a.ctx, idx) // else all the answers are in vain
	}
	if err != nil {
		return err
	}
	m := menu{title: "Log in to which provider?", free: isAddress}
	for _, p := range all {
		m.options = append(m.options, option{p.Name, waysText(p)})
	}
	m.options = append(m.options, option{"another", "a remote MCP server, by its https address"})
	if in := providersInUse(a); len(in) == 1 {
		m.usual = max(0, slices.IndexFunc(all, func(p oauth.Provider) bool { return p.Name == in[0] }))
	}
	at, word, err := a.pick(m)
	if err == nil && at == len(all) {
		if word, err = a.question("Its address (https://mcp.example.com/mcp):"); !isAddress(word) {
			word = "https://" + word
		}
	}
	if err != nil {
		return err
	}
	c.Provider = word
	a.given(word)
	for _, p := range all {
		if p.MCP != "" && (word == p.Name || word == p.MCP) && c.Label == "" && slices.Contains(providersInUse(a), p.Name) {
			return c.chooseLabel(a, p)
		}
	}
	return nil
}

// chooseAsBefore logs in at the provider and in the way of the account to be renewed.
func (c *loginCmd) chooseAsBefore(a *app) error {
	v, err := broker.Info(a.folder, c.Renew)
	if err != nil {
		return err
	}
	c.Provider = v.Provider
	a.given(v.Provider)
	if c.Flow == "" && !c.APIKeyStdin && !c.TokenStdin {
		c.bring(a, v.Renew.How)
	}
	return nil
}

// providersInUse are those that have accounts.
func providersInUse(a *app) (names []string) {
	views, err := broker.List(a.folder)
	if err != nil {
		return nil // the messages that follow say so
	}
	for _, v := range views {
		if !slices.Contains(names, v.Provider) {
			names = append(names, v.Provider)
		}
	}
	return names
}

// isLogin reports whether how needs a browser.
func isLogin(how fault.How) bool {
	return how == fault.Browser || how == fault.Paste || how == fault.Device
}

// waysText says how one can log in to p.
func waysText(p oauth.Provider) string {
	if p.MCP != "" {
		return "remote MCP server"
	}
	var parts []string
	for _, how := range account.Ways(p) {
		var part string
		switch {
		case how == fault.APIKey:
			part = "API key"
		case how == fault.Token:
			part = "token"
		case p.ClientID == "":
			part = "browser (with your own client id)"
		default:
			part = "browser"
		}
		if !slices.Contains(parts, part) {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ", ")
}

// chooseRest asks for what else has to be decided; all: also for what has a default.
func (c *loginCmd) chooseRest(a *app, all bool) error {
	if !a.present() || c.JSON || c.Renew != "" {
		return nil
	}
	p, err := a.folder.Provider(c.Provider)
	if err != nil {
		return err
	}
	if all {
		for _, choose := range []func(*app, oauth.Provider) error{c.chooseWay, c.choosePool} {
			if err := choose(a, p); err != nil {
				return err
			}
		}
	}
	if all || c.APIKeyStdin || c.TokenStdin {
		return c.chooseLabel(a, p)
	}
	return nil
}

// chooseWay asks how to log in, if there is a choice.
func (c *loginCmd) chooseWay(a *app, p oauth.Provider) error {
	if c.APIKeyStdin || c.TokenStdin || c.Flow != "" {
		return nil
	}
	ways := account.Ways(p)
	m := menu{title: "How?"}
	var hows []fault.How
	add := func(how fault.How, word, about string) {
		hows = append(hows, how)
		m.options = append(m.options, option{word, about})
	}
	for _, how := range ways {
		switch {
		case how == fault.APIKey:
			add(how, "key", "an API key that you have")
		case how == fault.Token && p.TokenCommand != "":
			add(how, "token", "a token that "+p.TokenCommand+" makes")
		case how == fault.Token:
			add(how, "token", "a long-lived token that you have")
		case slices.ContainsFunc(hows, isLogin): // one line for all of them
		case p.ClientID == "" && c.ClientID == "":
			add(how, "browser", "log in there, with your own client id")
		default:
			add(how, "browser", "log in there")
		}
	}
	at := 0
	if len(hows) > 1 {
		var err error
		if at, _, err = a.pick(m); err != nil {
			return err
		}
	}
	if len(hows) == 0 || !isLogin(hows[at]) {
		if len(hows) > 0 {
			c.bring(a, hows[at])
		}
		return nil // otherwise the login says what is missing
	}
	c.chooseFlow(a, ways)
	if p.ClientID != "" || c.ClientID != "" {
		return nil
	}
	id, err := a.question("Client id of your registration at " + p.Name + ":")
	if err == nil && id == "" {
		err = declined()
	}
	if err == nil {
		c.ClientID = id
		a.given("--client-id=" + id)
	}
	return err
}

// bring reads the secret of an account, in place of a login.
func (c *loginCmd) bring(a *app, how fault.How) {
	switch how {
	case fault.APIKey:
		c.APIKeyStdin = true
		a.given("--api-key-stdin")
	case fault.Token:
		c.TokenStdin = true
		a.given("--token-stdin")
	case fault.Client:
		c.Flow, c.SecretStdin = string(account.FlowClient), true
		a.given("--flow=client", "--client-secret-stdin")
	}
}

// chooseFlow takes a flow that works with a browser on another machine, if there is none
// here.
func (c *loginCmd) chooseFlow(a *app, ways []fault.How) {
	if c.NoBrowser || a.canOpen() {
		return
	}
	for _, how := range []fault.How{fault.Device, fault.Paste} {
		if slices.Contains(ways, how) {
			c.Flow = string(how)
			a.given("--flow=" + c.Flow)
			return
		}
	}
}

// choosePool asks for the pool, if the provider has others than its own.
func (c *loginCmd) choosePool(a *app, p oauth.Provider) error {
	s, err := broker.Status(a.folder)
	if err != nil || c.Pool != "" {
		return err
	}
	own := option{p.Name, "the provider's own"}
	m := menu{title: "Which pool? Accounts of one pool stand in for each other; another name makes a new one.", options: []option{own}}
	taken := func(name string) bool {
		return slices.ContainsFunc(s.Pools, func(v broker.PoolView) bool { return v.Provider != p.Name && strings.EqualFold(v.Name, name) })
	}
	m.free = func(name string) bool {
		_, err := pool.CheckName(name)
		return err == nil && !taken(name) && p.Recognize(keystore.NewSecret(name)) == ""
	}
	for _, v := range s.Pools {
		switch {
		case v.Provider != p.Name:
		case v.Name == p.Name:
			m.options[0].about += ": " + membersText(v)
		default:
			m.options = append(m.options, option{v.Name, membersText(v)})
		}
	}
	if len(m.options) == 1 {
		return nil
	}
	_, word, err := a.pick(m)
	if err == nil && word != p.Name {
		c.Pool = word
		a.given("--pool=" + word)
	}
	return err
}

// chooseLabel asks for the label before a secret is typed, and checks that it is free.
func (c *loginCmd) chooseLabel(a *app, p oauth.Provider) error {
	how := fault.Browser
	switch {
	case c.APIKeyStdin:
		how = fault.APIKey
	case c.TokenStdin:
		how = fault.Token
	}
	usual := ""
	if how != fault.Browser || p.MCP != "" { // few of these servers say whose login it is
		var err error
		if usual, err = account.UsualLabel(a.folder, p.Name); err != nil {
			return err
		}
	}
	for c.Label == "" {
		answer, err := a.question(fmt.Sprintf("Label [%s]:", cmp.Or(usual, "your name there")))
		switch {
		case err != nil:
			return err
		case p.Recognize(keystore.NewSecret(answer)) != "":
			_, _ = fmt.Fprintln(a.err, "That is a secret, and a label is shown to everybody. It was not kept; you are asked for it next.")
			continue
		case answer == "" && usual == "":
			return account.Check(a.ctx, a.folder, c.request(), how)
		}
		named := c.request()
		named.Label = cmp.Or(answer, usual)
		err = account.Check(a.ctx, a.folder, named, how)
		if e := fault.CodeOf(err); answer != "" && (e == fault.LabelTaken || e == fault.Usage) {
			_, _ = fmt.Fprintln(a.err, printable(err.Error()))
			continue
		}
		if err != nil {
			return err
		}
		c.Label = named.Label
		a.given("--label=" + c.Label)
		return nil
	}
	return account.Check(a.ctx, a.folder, c.request(), how)
}

// shortest is less than the length of any key or token.
const shortest = 16

// sure asks whether a typed secret is meant, if it looks like a mistake.
func (c *loginCmd) sure(a *app, secret keystore.Secret) error {
	p, err := a.folder.Provider(c.Provider)
	if err != nil || p.Recognize(secret) != "" {
		return err
	}
	kind, what := oauth.APIKey, "an API key"
	if c.TokenStdin {
		kind, what = oauth.LongLivedToken, "a token"
	}
	var odd string
	switch {
	case len(p.Prefixes[kind]) > 0:
		odd = fmt.Sprintf("This doesn't begin as %s of %s does (%s…).", what, p.Name, strings.Join(p.Prefixes[kind], "…, "))
	case len(secret.Reveal()) < shortest:
		odd = "This is short for " + what + "."
	default:
		return nil
	}
	return a.confirm(odd+" Keep it?", "api-key-stdin")
}

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
	known, err := a.folder.Providers()
	if err != nil || slices.ContainsFunc(known.All(), func(p oauth.Provider) bool { return index.EqualLabel(p.Name, label) }) {
		return nil //nolint:nilerr // the login says it
	}
	all, err := broker.List(a.folder)
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

// maxKey is far above any private key in PEM.
const maxKey = 64 << 10

// checkClient refuses words that don't go with the flow.
func (c *loginCmd) checkClient() error {
	switch {
	case c.Flow != string(account.FlowClient) && (c.SecretStdin || c.KeyStdin || c.KeyID != ""):
		return &fault.Error{Code: fault.Usage, Message: "--client-secret-stdin, --client-key-stdin and --key-id go with --flow client"}
	case c.KeyID != "" && !c.KeyStdin:
		return &fault.Error{Code: fault.Usage, Message: "--key-id goes with --client-key-stdin"}
	}
	return nil
}

// proof reads what the client of --flow client proves itself with.
func (c *loginCmd) proof(a *app, req *account.LoginRequest) (err error) {
	req.Proof.KeyID = c.KeyID
	switch {
	case c.SecretStdin:
		req.Proof.Secret, err = a.readSecret("client secret")
	case c.KeyStdin:
		req.Proof.Key, err = readKey(a)
	}
	return err
}

// readKey reads a private key, whose lines all count.
func readKey(a *app) (keystore.Secret, error) {
	if isTerminal(a.in) {
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "--client-key-stdin reads a file, and stdin is a terminal: add <key.pem"}
	}
	text, err := io.ReadAll(io.LimitReader(a.input(), maxKey+1))
	switch {
	case err != nil && a.ctx.Err() != nil:
		return keystore.Secret{}, errInterrupted
	case err != nil || len(text) > maxKey || strings.TrimSpace(string(text)) == "":
		return keystore.Secret{}, &fault.Error{Code: fault.Usage, Message: "expected a private key in PEM on stdin"}
	}
	return keystore.NewSecret(string(text)), nil
}
