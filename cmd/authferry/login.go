package main

import (
	"cmp"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
)

type loginCmd struct {
	jsonFlag
	remoteFlags
	Provider    string        `arg:"" optional:"" help:"Provider to log in to (authferry provider list shows them), or the https address of a remote MCP server; none: you are asked."`
	Name        string        `placeholder:"NAME" help:"MCP server: what to call it here; its host by default."`
	Label       string        `placeholder:"LABEL" help:"What to call a new account; your name there by default."`
	Pool        string        `placeholder:"POOL" help:"Pool to put a new account in; the provider's own by default."`
	Flow        string        `enum:",browser,paste,device,client" default:"" placeholder:"HOW" help:"How: browser, paste or device, by default what the provider allows; or client, without a person."`
	NoBrowser   bool          `help:"Print the address and open no browser."`
	ClientID    string        `name:"client-id" placeholder:"ID" help:"Client id of your own registration at the provider."`
	Renew       string        `placeholder:"ACCOUNT" help:"Give this account a new login, and refuse anybody else's."`
	Timeout     time.Duration `default:"5m" help:"How long to wait for the login."`
	APIKeyStdin bool          `name:"api-key-stdin" xor:"stdin" help:"Keep an API key, read from stdin, instead of logging in."`
	TokenStdin  bool          `name:"token-stdin" xor:"stdin" help:"Keep a long-lived token, read from stdin, instead of logging in."`
	SecretStdin bool          `name:"client-secret-stdin" xor:"stdin" help:"With --flow client: the client's secret, read from stdin; by default the one that is stored for it."`
	KeyStdin    bool          `name:"client-key-stdin" xor:"stdin" help:"With --flow client: the client's private key in PEM, read from stdin."`
	KeyID       string        `name:"key-id" placeholder:"ID" help:"What the provider knows that key by."`
	ExpiresIn   string        `name:"expires-in" placeholder:"D" help:"How long that token lasts, as 365d or 12h; by default the provider's usual time, if it is known."`
}

// Help is shown by --help.
func (c *loginCmd) Help() string {
	return `Without a provider you are asked which one, and how: by your browser, an API
key or a token.

Opens the provider's page in your browser and waits for the answer. On a
machine without a browser: --flow device where the provider has it, else
--flow paste, and open the address anywhere.

Logging in again as the same user renews the login of that account.

A remote MCP server is logged in to by its address: authferry asks it where to
log in, shows that, and registers itself there. Such a login goes to that server
and to no other. Few of them say whose login it is, so a second account needs
--label, and a new login in place of an old one --renew.

--flow client is for a service: its client gets tokens on its own account, by its
secret or by a private key (RSA, or EC on P-256) whose public half the provider
has. Nobody is asked, then or later.

--token-stdin is for a token that lasts for months and has no refresh token, as
claude setup-token makes one. You are warned a month before it ends.`
}

// What login prints with --json, a document a line; the last one has the account.
type (
	addressDoc struct {
		Event string `json:"event"`
		URL   string `json:"url"` // to be opened in a browser
	}
	deviceCodeDoc struct {
		Event     string    `json:"event"`
		UserCode  string    `json:"user_code"`
		URI       string    `json:"verification_uri"`
		Complete  string    `json:"verification_uri_complete,omitempty"`
		ExpiresAt time.Time `json:"expires_at"`
	}
	// serverDoc describes a remote MCP server, before anything is asked of it.
	serverDoc struct {
		Event        string   `json:"event"`
		Resource     string   `json:"resource"`
		Issuer       string   `json:"issuer"`
		Scopes       []string `json:"scopes"`
		Registration string   `json:"registration"`
	}
	loggedInDoc struct {
		Event   string           `json:"event"`
		Account pool.AccountView `json:"account"`
		Renewed bool             `json:"renewed"` // it has a new login; its label and pool are unchanged
	}
)

func (c *loginCmd) Run(a *app) error {
	lifetime, err := c.checked()
	if err != nil {
		return err
	}
	typed := c.Provider
	if typed == "" {
		err = c.chooseProvider(a)
	} else {
		err = c.addLabel(a)
	}
	if err != nil {
		return err
	}
	asked := c.Provider != typed
	remote, err := c.remote(a)
	if err != nil {
		return err
	}
	if remote != nil {
		c.Provider = remote.Provider
	} else if taken, err := c.takeOver(a); taken || err != nil {
		return err
	}
	if remote == nil {
		if err := c.chooseRest(a, asked); err != nil {
			return err
		}
	}
	req := c.request()
	req.Remote, req.ExpiresIn = remote, lifetime
	done, err := c.login(a, req)
	if err != nil {
		return err
	}
	v := broker.ViewOf(a.folder, &done.Account)
	err = c.tell(a, done, v)
	enterShared(a, v.Pool)
	if err != nil || !asked {
		return err
	}
	return offerSetup(a, v)
}

// checked is the lifetime given for a token; 0: none was given.
func (c *loginCmd) checked() (lifetime time.Duration, err error) {
	if c.Timeout <= 0 {
		return 0, &fault.Error{Code: fault.Usage, Message: "--timeout must be more than 0"}
	}
	if err := c.checkClient(); err != nil {
		return 0, err
	}
	if c.ExpiresIn == "" {
		return 0, nil
	}
	if lifetime, err = oauth.ParseLifetime(c.ExpiresIn); err != nil {
		return 0, &fault.Error{Code: fault.Usage, Message: "invalid --expires-in: " + err.Error()}
	}
	if !c.TokenStdin {
		return 0, &fault.Error{Code: fault.Usage, Message: "--expires-in goes with --token-stdin"}
	}
	return lifetime, nil
}

func (c *loginCmd) request() account.LoginRequest {
	return account.LoginRequest{
		Provider: c.Provider, ClientID: c.ClientID, Label: c.Label, Pool: c.Pool, Renew: c.Renew, Flow: account.Flow(c.Flow), Timeout: c.Timeout,
	}
}

// tell reports the result.
func (c *loginCmd) tell(a *app, done *account.LoggedIn, v pool.AccountView) error {
	if done.LongLived && c.APIKeyStdin {
		a.term.note("this is a long-lived token of %s, not an API key; it is kept as with --token-stdin", v.Provider)
	}
	warnEnding(a, []pool.AccountView{v})
	if c.JSON {
		return a.printJSON(loggedInDoc{"account", v, done.Renewed})
	}
	switch {
	case !done.Renewed:
		welcome(a, v.Provider, v.Label)
	case c.Renew == "" && c.Flow != string(account.FlowClient):
		if c.Label == "" || index.EqualLabel(c.Label, v.Label) { // else that is said already
			a.term.note("this is %q of %s again; it has a new login, and its label and pool are unchanged", v.Label, v.Provider)
		}
		a.term.note("for another account, open the address in a private window:")
		a.term.note("%s", a.term.hints.command(fault.Remedy{Do: fault.Again, Name: "no-browser"}))
	default:
		a.term.note("account %q of %s has a new login; its label and pool are unchanged", v.Label, v.Provider)
	}
	noteEnd(a, v)
	return nil
}

// welcome says where a new account is stored and how to use it, even if other providers
// have accounts with the same label.
func welcome(a *app, provider, label string) {
	a.term.note("account %q of %s is in the %s; try: authferry token %s --account %s", label, provider, keystoreName(a), provider, arg(label))
}

// noteEnd says when a login without a refresh token ends.
func noteEnd(a *app, v pool.AccountView) {
	if v.NoRefresh {
		a.term.note("it has no refresh token, and ends %s", endText(v.ExpiresAt, time.Now()))
	}
}

// takeOver offers, before the first account, the logins that other programs have.
func (c *loginCmd) takeOver(a *app) (taken bool, err error) {
	if all, err := broker.List(a.folder); err != nil || len(all) > 0 || c.APIKeyStdin || c.TokenStdin || c.Renew != "" || c.Flow == string(account.FlowClient) {
		return false, nil //nolint:nilerr // the login itself says it better
	}
	return offerImport(a, c.Provider, c.ClientID, !c.JSON)
}

func (c *loginCmd) login(a *app, req account.LoginRequest) (*account.LoggedIn, error) {
	if c.APIKeyStdin || c.TokenStdin {
		flag, what, keep := "--api-key-stdin", "API key", account.LoginKey
		if c.TokenStdin {
			flag, what, keep = "--token-stdin", "token", account.LoginToken
		}
		if c.Flow != "" || c.ClientID != "" {
			return nil, &fault.Error{Code: fault.Usage, Message: flag + " goes with neither --flow nor --client-id"}
		}
		if c.TokenStdin {
			(&signIn{app: a, provider: c.Provider}).terms()
		}
		secret, err := a.readSecret(what)
		if err == nil && a.present() {
			err = c.sure(a, secret)
		}
		if err != nil {
			return nil, err
		}
		return keep(a.ctx, a.folder, req, secret)
	}
	if err := c.proof(a, &req); err != nil {
		return nil, err
	}
	s := &signIn{app: a, json: c.JSON, browser: !c.NoBrowser && !a.term.noInput, provider: c.Provider,
		until: time.Now().Add(c.Timeout), over: func() {}}
	defer func() { s.over() }()
	return account.Login(a.ctx, a.folder, req, account.Person{Await: s.await, Open: s.open, Paste: s.paste, Enter: s.enter})
}

// signIn shows a person where to log in.
type signIn struct {
	*app
	json, browser bool
	provider      string
	pasted        chan pastedLine // nil: not read yet
	redirect      string          // the address on this machine for the answer; empty: there is none

	until time.Time // until when the login waits
	over  func()    // ends the step that shows it
}

// terms names once per provider, before its first account, terms that may forbid this use.
func (s *signIn) terms() {
	p, err := s.folder.Provider(s.provider)
	if err != nil || !s.folder.Config().TermsNotice || p.TermsNotice == "" && p.TermsURL == "" {
		return
	}
	if all, err := broker.List(s.folder); err != nil || slices.ContainsFunc(all, func(v pool.AccountView) bool { return v.Provider == p.Name }) {
		return
	}
	s.term.note("%s You are responsible for keeping to them. %s", cmp.Or(p.TermsNotice, "The terms of "+p.Name+" apply to what you do with this login."), p.TermsURL)
}

func (s *signIn) await(redirect string) { s.redirect = redirect }

func (s *signIn) open(address string) {
	s.terms()
	if s.json {
		_ = s.printJSON(addressDoc{"authorization_url", address})
	} else {
		s.term.note("Log in to %s at this address:", s.provider)
		_, _ = fmt.Fprintln(s.err, address)
	}
	s.show(address)
	s.over = s.term.step(folder.Step{Doing: func() string { return "waiting for you to log in there" }, Until: s.until})
}

// show opens address in a browser, if there can be one.
func (s *signIn) show(address string) {
	if !s.browser {
		if !s.json && !s.term.noInput && s.term.getenv("SSH_CONNECTION") != "" {
			s.elsewhere()
		}
		return
	}
	if err := openBrowser(address, s.term.getenv, s.err); err != nil && !s.json {
		s.term.note("No browser was opened (%v); open the address in one.", err)
		s.elsewhere()
		return
	}
	if s.term.live {
		s.term.note("If no browser shows it, open the address in one on this machine.")
	}
}

// canOpen reports whether a browser opened here may be seen.
func (a *app) canOpen() bool { return a.term.getenv("BROWSER") != "" || hasDisplay(a.term.getenv) }

// elsewhere says how a browser on another machine can bring the answer to this one, if the
// login waits for that.
func (s *signIn) elsewhere() {
	u, err := url.Parse(s.redirect)
	if err != nil || u.Port() == "" || s.term.quiet {
		return
	}
	other := fault.Remedy{Do: fault.Again, How: fault.Paste}
	if p, err := s.folder.Provider(s.provider); err == nil && p.DeviceAuthorizationEndpoint != "" {
		other.How = fault.Device
	}
	next := []fault.Remedy{other}
	if host := sshHost(s.term.getenv); host != "" {
		next = []fault.Remedy{{Do: forward, Name: host, Value: u.Port()}, other}
	}
	s.term.note("The answer comes to port %s of this machine. With a browser on another one:", u.Port())
	s.term.hint(s.term.hints.lines(next))
}

// sshHost is the address at which a person came to this machine by SSH; empty: they did
// not.
func sshHost(getenv func(string) string) string {
	ends := strings.Fields(getenv("SSH_CONNECTION")) // client, its port, server, its port
	if len(ends) != 4 {
		return ""
	}
	user := getenv("USER")
	if user != "" {
		user += "@"
	}
	addr, err := netip.ParseAddr(ends[2])
	switch {
	case err != nil:
		return user + "HOST"
	case ends[3] != "22":
		return "ssh://" + user + net.JoinHostPort(addr.String(), ends[3])
	}
	return user + addr.String()
}

func (s *signIn) enter(d *oauth.Device) {
	s.terms()
	if s.json {
		_ = s.printJSON(deviceCodeDoc{"device_code", d.UserCode, d.VerificationURI, d.VerificationURIComplete, d.ExpiresAt.UTC().Truncate(time.Second)})
		return
	}
	s.term.note("Log in to %s at this address, on any device:", s.provider)
	_, _ = fmt.Fprintln(s.err, printable(d.VerificationURI))
	s.term.note("and enter the code:")
	_, _ = fmt.Fprintln(s.err, printable(d.UserCode))
	s.term.showQR(d.VerificationURIComplete)
	if s.canOpen() { // else any other device's will do, as was said
		s.show(cmp.Or(d.VerificationURIComplete, d.VerificationURI))
	}
	until := s.until
	if d.ExpiresAt.Before(until) {
		until = d.ExpiresAt
	}
	s.over = s.term.step(folder.Step{Doing: func() string { return "waiting for you to enter the code" }, Until: until})
}

// warnEnding warns about logins that end soon.
func warnEnding(a *app, all []pool.AccountView) {
	for _, v := range all {
		warnEnd(a, v.Label, v.EndsSoon, v.Renew)
	}
}

func warnEnd(a *app, label string, end time.Time, renew fault.Remedy) {
	if !end.IsZero() {
		a.term.warn(fmt.Sprintf("the login of account %q ends %s; renew it", label, humantime.Relative(end, time.Now())), renew)
	}
}

// lastDays is how long before its end a login is warned about at every use, even if no
// person may be looking.
const lastDays = 3 * 24 * time.Hour

// warnInUse is warnEnding for a token that is handed out.
func warnInUse(a *app, t *broker.Token) {
	now := time.Now()
	end := pool.EndsSoon(&t.Account, now)
	if end.IsZero() || end.Sub(now) > lastDays && !isTerminal(a.err) {
		return
	}
	warnEnd(a, t.Account.Label, end, pool.Renewal(&t.Account))
}
