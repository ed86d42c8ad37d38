package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/keystore"
	"github.com/authferry/authferry/serve"
)

// runCmd has no argument for the command to run; see execCmd.
type runCmd struct {
	Providers []string `arg:"" optional:"" name:"provider" help:"Provider to serve; may be repeated. By default those that the command speaks to."`
	Account   string   `short:"a" placeholder:"ACCOUNT" help:"This account and no other: a label, PROVIDER/LABEL or id."`
	Pool      string   `short:"p" placeholder:"POOL" help:"The accounts of this pool."`
}

// Help is shown below the flags.
func (c *runCmd) Help() string {
	return "The command and its arguments follow after --. It gets a proxy on this machine in place of the API, for as long as it runs."
}

// clients are the programs that are known to use one provider.
var clients = map[string]string{"claude": "anthropic", "codex": "openai", "gemini": "google"}

// spoken are the providers that any other program may use.
var spoken = []string{"anthropic", "openai", "google"}

func (c *runCmd) Run(a *app) error {
	if len(a.child) == 0 {
		next := fault.Remedy{Do: runIt}
		if len(c.Providers) > 0 && clients[c.Providers[0]] != "" {
			next.Name = c.Providers[0]
		}
		return &fault.Error{Code: fault.Usage, Message: "there is no command to run", Next: []fault.Remedy{next}}
	}
	path, err := exec.LookPath(a.child[0])
	if err != nil {
		return &childError{code: notRunnable(err), err: fmt.Errorf("%s can't be run: %w", a.child[0], reason(err))}
	}
	names := c.Providers
	if name := clients[programOf(a.child[0])]; len(names) == 0 && name != "" {
		names = []string{name}
	}
	served, err := servedFor(a, names, selection{which: which{Account: c.Account, Pool: c.Pool}}.resolve())
	if fault.CodeOf(err) == fault.Ambiguous && c.Account == "" && len(names) == 1 && a.present() {
		var chosen broker.Chosen
		if chosen, err = pickPool(a, "Which pool?", names[0]); err == nil {
			served, err = servedFor(a, names, selection{which: which{Pool: chosen.Pool}}.resolve())
		}
	}
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // it waits for nothing
	if err != nil {
		return &fault.Error{Code: fault.Internal, Message: "can't open a port on 127.0.0.1", Err: err}
	}
	program := programOf(a.child[0])
	withdraw, err := folder.Announce(a.folder, folder.ProxyView{Program: program, Providers: served.names(), Pools: served.pools(), Listen: l.Addr().String()})
	if err != nil {
		_ = l.Close()
		return err
	}
	defer withdraw()

	key := keystore.NewSecret(rand.Text())
	proxy := newProxy(a, served, serve.Options{Key: key, Hosts: serve.HostsOf(l.Addr()), Say: sentence})
	ctx, end := context.WithCancel(context.WithoutCancel(a.ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = proxy.Serve(ctx, l, 0)
	}()
	defer func() {
		end()
		<-done
	}()

	p := proxied{served: served, program: program, url: "http://" + l.Addr().String(), key: key}
	argv, notes := p.arguments(a.child)
	for _, note := range append(served.notes(), notes...) {
		a.term.warn(note)
	}
	return runChild(path, argv, p.environment(os.Environ()))
}

// newProxy completes opt. It prints nothing, which would disturb the command's screen.
func newProxy(a *app, served servedProviders, opt serve.Options) *serve.Proxy {
	own := a.options
	own.Warn, own.Waiting, own.Progress = nil, nil, nil
	if m, err := thisMachine(); err == nil {
		own.Self = m.Binary // by a name that outlives an update, if there is one: a proxy may run for weeks
	}
	opt.Broker, opt.Routes, opt.Patience, opt.Log = broker.NewKeeper(own), served.routes(), a.folder.Config().ThrottleMax, own.Log
	return serve.New(opt)
}

// programOf is the name of a command's program.
func programOf(command string) string {
	name := filepath.Base(command)
	if ext := strings.ToLower(filepath.Ext(name)); slices.Contains([]string{".exe", ".cmd", ".bat", ".ps1", ".js"}, ext) {
		name = name[:len(name)-len(ext)]
	}
	return name
}

// servedProvider is one provider as the command sees it.
type servedProvider struct {
	name, pool string
	route      serve.Route
	logins     bool     // its accounts are a person's logins, not API keys
	passed     []string // labels of accounts that its API doesn't take
}

type servedProviders []servedProvider

func (s servedProviders) names() (names []string) {
	for _, p := range s {
		names = append(names, p.name)
	}
	return names
}

func (s servedProviders) pools() (pools []string) {
	for _, p := range s {
		pools = append(pools, p.pool)
	}
	return pools
}

func (s servedProviders) routes() map[string]serve.Route {
	routes := map[string]serve.Route{}
	for _, p := range s {
		routes[p.name] = p.route
	}
	return routes
}

// servedFor resolves which providers a proxy serves (those that are named, or those that
// programs use) and with which accounts.
func servedFor(a *app, names []string, s pool.Selection) (servedProviders, error) {
	if len(names) > 0 {
		var served servedProviders
		for _, name := range names {
			if slices.ContainsFunc(served, func(p servedProvider) bool { return p.name == name }) {
				continue
			}
			p, err := servedOne(a, name, s)
			if err != nil {
				return nil, err
			}
			served = append(served, p)
		}
		return served, nil
	}
	var served servedProviders
	var why error
	for _, name := range spoken {
		p, err := servedOne(a, name, s)
		switch code := fault.CodeOf(err); {
		case err == nil:
			served = append(served, p)
		case code == fault.IndexCorrupt || code == fault.IndexTooNew || code == fault.Internal:
			return nil, err
		case why == nil || code != fault.NoAccount:
			why = err
		}
	}
	if len(served) > 0 {
		return served, nil
	}
	if fault.CodeOf(why) == fault.NoAccount && s.Account == "" && s.Pool == "" {
		return nil, &fault.Error{Code: fault.NoAccount, Message: "there is no account of " + strings.Join(spoken, ", ") + " yet",
			Next: []fault.Remedy{{Do: fault.Login, Provider: "anthropic", Label: "Personal", How: fault.APIKey}}}
	}
	return nil, why
}

func servedOne(a *app, name string, s pool.Selection) (p servedProvider, err error) {
	data, err := a.folder.Provider(name)
	if err != nil {
		return p, err
	}
	s.Provider = name
	chosen, err := a.broker.Chosen(s)
	if fault.CodeOf(err) == fault.NoAccount && cmp.Or(s.Account, s.EnvAccount, s.Pool, s.EnvPool) == "" && slices.Contains(spoken, name) {
		how, makes := fault.APIKey, ""
		if data.TokenCommand != "" { // the command that makes a token of a subscription
			how, makes = fault.Token, "; "+data.TokenCommand+" makes a token for one"
		}
		return p, &fault.Error{Code: fault.NoAccount, Message: "there is no account of " + name + " yet" + makes, Next: []fault.Remedy{{Do: fault.Login, Provider: name, How: how, Label: "Personal"}}}
	}
	if err != nil {
		return p, err
	}
	s.KeysOnly = data.TakesKeysOnly()
	p = servedProvider{name: name, pool: chosen.Pool, logins: true,
		route: serve.Route{Selection: s, Pool: chosen.Pool, Paths: data.API().Paths, KeyOrigins: data.APIKeyOrigins, Lists: data.Lists()}}
	if len(p.route.Paths) == 0 {
		return p, &fault.Error{Code: fault.Usage, Message: "authferry knows no model API of provider " + name,
			Next: []fault.Remedy{{Do: fault.AmendProvider, Provider: name, Name: "api-path"}}}
	}
	views, err := broker.List(a.folder)
	if err != nil {
		return p, err
	}
	for _, v := range views {
		switch {
		case v.Pool != chosen.Pool || v.State == pool.Disabled || chosen.Account != "" && v.ID != chosen.Account:
		case v.Kind != index.KindAPIKey:
			p.passed = append(p.passed, v.Label)
		default:
			p.logins = false
		}
	}
	if !s.KeysOnly {
		p.passed = nil
	}
	if p.logins && s.KeysOnly {
		return p, &fault.Error{Code: fault.Fenced, Message: "the " + name + " accounts here are logins, and the API that is served takes API keys only",
			Next: []fault.Remedy{{Do: fault.Login, Provider: name, Label: "Key", How: fault.APIKey}}}
	}
	return p, nil
}

// notes are what a person should know before the command takes over the screen.
func (s servedProviders) notes() (notes []string) {
	for _, p := range s {
		for _, label := range p.passed {
			notes = append(notes, "account "+printable(label)+" is skipped: it is a login, and the API of "+p.name+" takes API keys only")
		}
	}
	return notes
}

// sentence is the text for a client's user.
func sentence(t serve.Trouble) string {
	const again = "Restart the program with: authferry run -- COMMAND"
	provider := t.Provider
	if provider == "" {
		provider = "this API"
	}
	e := brokerError(t)
	switch t.Kind {
	case serve.BadKey:
		return "authferry: the request has no valid key of this proxy. " + again
	case serve.BadHost, serve.FromPage:
		return "authferry: this proxy is for programs started by authferry run, not for web pages."
	case serve.BadTarget, serve.BadMethod:
		return "authferry: this request can't be passed on."
	case serve.Unknown:
		return "authferry: this path is not part of the model API, so it is not passed on."
	case serve.NoUpgrade:
		return "authferry: WebSockets are not supported here; use plain requests."
	case serve.Unreadable:
		return "authferry: the request was cut off."
	case serve.Unreachable:
		return "authferry: " + provider + " did not answer. No account is held for it."
	case serve.Redirected:
		return "authferry: " + provider + " redirects to another server, and no token is sent there."
	case serve.AllHeld:
		when := "now"
		if !t.RetryAt.IsZero() {
			when = "before " + humantime.At(t.RetryAt, time.Now())
		}
		whose := "No " + provider + " account is free "
		if t.Pool != "" {
			whose = "No account of pool " + printable(t.Pool) + " is free "
		}
		return whose + when + ". See: authferry status"
	case serve.LoginNeeded:
		return "A login is needed" + reasonOf(e) + ". In a terminal: " + hintOr(e, "authferry login "+provider)
	case serve.NotAllowed:
		return "No account can be used here" + reasonOf(e) + ". In a terminal: " + hintOr(e, "authferry status")
	case serve.NoToken:
		return "No token is available now" + reasonOf(e) + ". In a terminal: " + hintOr(e, "authferry doctor")
	}
	return "authferry: something went wrong. In a terminal: authferry doctor"
}

func brokerError(t serve.Trouble) *fault.Error {
	if e, ok := t.Err.(*fault.Error); ok { //nolint:errorlint // it is one or there is none
		return e
	}
	return &fault.Error{}
}

func reasonOf(e *fault.Error) string {
	if e.Message == "" {
		return ""
	}
	return ": " + printable(e.Message)
}

func hintOr(e *fault.Error, otherwise string) string {
	if len(e.Next) > 0 {
		command, _, _ := strings.Cut(newHints(nil, nil).of(e), "\n")
		command, _, _ = strings.Cut(command, " # ")
		return printable(command)
	}
	return otherwise
}
