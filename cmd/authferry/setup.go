package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/authferry/authferry/atomicfile"
	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/folder"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// setupCmd adds authferry to other programs' configuration. It shows the change first, and
// never overwrites what others have set.
type setupCmd struct {
	jsonFlag
	Client   string            `arg:"" optional:"" help:"Program to set up; none: list them."`
	Provider string            `arg:"" optional:"" help:"Provider whose accounts it uses."`
	Account  string            `short:"a" placeholder:"ACCOUNT" help:"This account and no other: a label, PROVIDER/LABEL or id."`
	Pool     string            `short:"p" placeholder:"POOL" help:"The accounts of this pool."`
	Host     []string          `placeholder:"URL" help:"Host to set it up for; else those that the chosen accounts' tokens may go to."`
	For      []string          `placeholder:"CLIENT" help:"With mcp: enter the server here, installed or not."`
	Map      map[string]string `placeholder:"CLIENT_PROVIDER=PROVIDER" help:"With opencode: which provider's accounts serve one of its providers."`
	MCP      string            `name:"mcp" placeholder:"PROVIDER" help:"Have an MCP client reach this remote MCP server with your login here."`
	Proxy    bool              `help:"With claude-code and codex: have it use authferry serve, so that it goes on with another account at a limit."`
	Listen   string            `placeholder:"ADDRESS" help:"With serve, and with --proxy: where serve listens, by default ${serve_address}."`
	Print    bool              `xor:"write" help:"Show the change and don't make it."`
	Undo     bool              `help:"Take it out again."`
	Yes      bool              `short:"y" xor:"write" help:"Don't ask."`
}

func (c *setupCmd) Run(a *app) error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	if c.Client == "" {
		return c.list(a, m)
	}
	client, ok := setup.Find(c.Client)
	if !ok {
		return &fault.Error{Code: fault.Usage, Message: fmt.Sprintf("setup doesn't know the client %q", c.Client), Next: []fault.Remedy{{Do: listSetUp}}}
	}
	for _, provider := range c.Map {
		if provider == "" {
			continue // and removes it
		}
		if _, err := a.folder.Provider(provider); err != nil {
			return err
		}
	}
	choice, err := c.choose(a, m, client)
	if err != nil {
		return err
	}
	changes, err := c.change(a, client, m, func() ([]setup.Change, error) { return client.Plan(m, choice, c.Undo) })
	if errors.Is(err, setup.ErrNoHosts) {
		return noHosts(a, client, choice)
	}
	if err != nil {
		return setupError(err)
	}
	if err := c.report(a, client, m, choice, changes); err != nil || !client.Logins || c.MCP != "" || c.Undo || c.Print || c.JSON {
		return err
	}
	_, err = offerImport(a, "", "", true)
	return err
}

// thisMachine names authferry by its path on the PATH, if that leads to it: such a path
// outlives an update, its target may not.
func thisMachine() (setup.Machine, error) {
	m := setup.Machine{OS: runtime.GOOS, Getenv: os.Getenv, LookPath: exec.LookPath, Version: versionOf}
	var err error
	if m.Home, err = os.UserHomeDir(); err != nil {
		return m, err
	}
	if m.Binary, err = os.Executable(); err != nil {
		return m, err
	}
	if named, err := exec.LookPath("authferry"); err == nil {
		own, ownErr := os.Stat(m.Binary)
		other, otherErr := os.Stat(named)
		if ownErr == nil && otherErr == nil && os.SameFile(own, other) {
			m.Binary = named
		}
	}
	m.Binary, err = filepath.Abs(m.Binary)
	return m, err
}

// choose resolves what the client is set up for, or what is undone. Environment and
// directory don't count, because the configuration is for every call.
func (c *setupCmd) choose(a *app, m setup.Machine, client setup.Client) (setup.Choice, error) {
	switch {
	case c.MCP != "":
		return c.chooseServer(a, client)
	case client.ServersAlone(m):
		return setup.Choice{}, &fault.Error{Code: fault.Usage, Message: "setup " + client.Name + " is for a remote MCP server; name one", Next: []fault.Remedy{{Do: setUpIn, Name: client.Name, Value: "mcp PROVIDER"}}}
	case c.Undo && client.Joins && c.restricted():
		return c.chooseUndone(a, client)
	case c.Undo:
		return setup.Choice{}, nil
	case c.Proxy && client.Proxied == "", c.Listen != "" && !c.Proxy && client.Name != "serve":
		return setup.Choice{}, &fault.Error{Code: fault.Usage, Message: "setup " + client.Name + " takes no --proxy and no --listen", Next: []fault.Remedy{{Do: setUpIn, Name: client.Name}}}
	case c.Proxy:
		return c.chooseProxy(a, client)
	case client.Name == "serve":
		return c.chooseService(a)
	}
	if client.Providers && c.Account == "" && c.Pool == "" {
		return setup.Choice{Provider: c.Provider, Map: c.Map}, nil
	}
	return c.chooseAccounts(a, client)
}

// chooseAccounts resolves whose tokens the client gets, and for which hosts.
func (c *setupCmd) chooseAccounts(a *app, client setup.Client) (setup.Choice, error) {
	chosen, err := a.broker.Chosen(pool.Selection{Account: c.Account, Pool: c.Pool, Provider: c.Provider})
	if fault.CodeOf(err) == fault.Ambiguous && c.Account == "" && c.asks(a) {
		chosen, err = pickPool(a, whoseToken(client), c.Provider)
	}
	if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Ambiguous {
		e.Next = []fault.Remedy{{Do: fault.Again, Pool: "POOL"}, {Do: fault.Again, Account: "ACCOUNT"}}
	}
	if err != nil {
		return setup.Choice{}, err
	}
	if client.Asks && chosen == (broker.Chosen{}) {
		if chosen, err = c.onlyPool(a, client); err != nil {
			return setup.Choice{}, err
		}
	}
	choice := setup.Choice{Provider: chosen.Provider, Account: chosen.Account, Pool: chosen.Pool, Map: c.Map, For: c.For}
	switch {
	case len(c.Host) > 0:
		choice.Origins, err = hosts(c.Host)
	case client.Hosts:
		choice.Origins, err = a.broker.Origins(a.ctx, chosen)
	}
	return choice, err
}

// restricted reports whether the command is about some of the client's hosts only.
func (c *setupCmd) restricted() bool {
	return c.Provider != "" || c.Account != "" || c.Pool != "" || len(c.Host) > 0
}

// chooseUndone resolves the hosts to remove: those that the choice would add or, if the
// accounts are gone, those of their provider.
func (c *setupCmd) chooseUndone(a *app, client setup.Client) (setup.Choice, error) {
	choice, err := c.chooseAccounts(a, client)
	if fault.CodeOf(err) == fault.NoAccount && c.Account == "" && c.Pool == "" {
		if p, unknown := a.folder.Provider(c.Provider); unknown == nil {
			choice, err = setup.Choice{Provider: p.Name, Origins: p.APIOrigins}, nil
		}
	}
	if err == nil && len(choice.Origins) == 0 {
		err = &fault.Error{Code: fault.Usage, Message: "which host? the chosen accounts name none",
			Next: []fault.Remedy{{Do: fault.Again, Name: "host", Value: "https://registry.example.com"}, {Do: setUpIn, Name: client.Name, Value: "undo"}}}
	}
	return choice, err
}

// noHosts is the error for accounts whose tokens may not be sent anywhere, with a remedy.
func noHosts(a *app, client setup.Client, choice setup.Choice) error {
	e := &fault.Error{Code: fault.Usage, Message: "no account here may send its token to a host yet (no --api-origin), so there is none to set " + client.Title + " up for",
		Next: []fault.Remedy{{Do: fault.ListProviders}}}
	views, err := broker.List(a.folder)
	if err != nil {
		return err
	}
	for _, v := range views {
		if choice.Provider != "" && v.Provider != choice.Provider || choice.Pool != "" && v.Pool != choice.Pool || choice.Account != "" && v.ID != choice.Account {
			continue
		}
		if p, err := a.folder.Provider(v.Provider); err == nil {
			e.Message = fmt.Sprintf("account %q may send its token to no host yet: provider %s had no --api-origin when it was logged in", v.Label, v.Provider)
			e.Next = []fault.Remedy{v.Renew}
			if len(p.APIOrigins) == 0 {
				e.Next = []fault.Remedy{nameOrigin(p), v.Renew}
			}
			break
		}
	}
	return e
}

// chooseProxy is for a client of authferry serve, which chooses the accounts itself.
func (c *setupCmd) chooseProxy(a *app, client setup.Client) (setup.Choice, error) {
	if c.Account != "" || c.Pool != "" || len(c.Host) > 0 {
		return setup.Choice{}, &fault.Error{Code: fault.Usage, Message: "the accounts of a proxy are chosen in authferry serve",
			Next: []fault.Remedy{{Do: setUpIn, Name: "serve", Pool: "POOL"}}}
	}
	listen := c.Listen
	for _, v := range folder.Proxies(a.folder) {
		if v.Program == folder.ServeProgram && listen == "" {
			listen = v.Listen
		}
	}
	listen = cmp.Or(listen, setup.DefaultListen)
	if err := checkAddress(listen); err != nil {
		return setup.Choice{}, err // a Unix socket is no URL
	}
	provider := cmp.Or(c.Provider, client.Proxied)
	if _, err := a.folder.Provider(provider); err != nil {
		return setup.Choice{}, err
	}
	return setup.Choice{Provider: provider, Proxy: "http://" + listen}, nil
}

// chooseService resolves what is served in every session.
func (c *setupCmd) chooseService(a *app) (setup.Choice, error) {
	if path, ok := strings.CutPrefix(c.Listen, unixPrefix); ok && !filepath.IsAbs(path) || !ok && c.Listen != "" && checkAddress(c.Listen) != nil {
		return setup.Choice{}, notLoopback()
	}
	var names []string
	if c.Provider != "" {
		names = []string{c.Provider}
	}
	if _, err := servedFor(a, names, pool.Selection{Account: c.Account, Pool: c.Pool}); err != nil {
		return setup.Choice{}, err
	}
	choice := setup.Choice{Provider: c.Provider, Pool: c.Pool, Listen: c.Listen}
	if c.Account != "" {
		chosen, err := a.broker.Chosen(pool.Selection{Account: c.Account, Provider: c.Provider})
		if err != nil {
			return setup.Choice{}, err
		}
		choice.Provider, choice.Account = chosen.Provider, chosen.Account
	}
	return choice, nil
}

// onlyPool is for a client that names no host to its helper, so that an account or a pool
// must be written down.
func (c *setupCmd) onlyPool(a *app, client setup.Client) (broker.Chosen, error) {
	s, err := broker.Status(a.folder)
	if err != nil {
		return broker.Chosen{}, err
	}
	switch len(s.Pools) {
	case 0:
		return broker.Chosen{}, &fault.Error{Code: fault.NoAccount, Message: "there is no account yet", Next: []fault.Remedy{{Do: fault.Login}}}
	case 1:
		return broker.Chosen{Provider: s.Pools[0].Provider, Pool: s.Pools[0].Name}, nil
	}
	if c.asks(a) {
		return pickPool(a, whoseToken(client), "")
	}
	names := make([]string, len(s.Pools))
	for i, p := range s.Pools {
		names[i] = p.Name
	}
	return broker.Chosen{}, &fault.Error{
		Code: fault.Ambiguous, Message: whoseToken(client) + " the pools are " + strings.Join(names, ", "),
		Next: []fault.Remedy{{Do: fault.Again, Pool: "POOL"}, {Do: fault.Again, Account: "ACCOUNT"}},
	}
}

func whoseToken(client setup.Client) string { return "whose token should " + client.Title + " get?" }

// asks reports whether there is a person to ask who wants to be asked.
func (c *setupCmd) asks(a *app) bool { return !c.Yes && a.present() }

// hosts parses --host: a URL, or a bare host, which means https.
func hosts(given []string) (origins []string, err error) {
	for _, host := range given {
		if !strings.Contains(host, "://") {
			host = "https://" + host
		}
		u, err := url.Parse(host)
		if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && u.Scheme != "http" || strings.ContainsAny(host, "\"\\ ") {
			return nil, &fault.Error{Code: fault.Usage, Message: "--host takes a URL or a host name", Next: []fault.Remedy{{Do: fault.Again, Name: "host", Value: "https://registry.example.com"}}}
		}
		origins = append(origins, strings.TrimSuffix(host, "/"))
	}
	return origins, nil
}

// shownLines is how much of a change is shown without --print: as much as people read.
const shownLines = 40

func shortened(diff string) string {
	lines := strings.SplitAfter(diff, "\n")
	if more := len(lines) - 1 - shownLines; more > 0 {
		return strings.Join(lines[:4], "") + fmt.Sprintf("… and %d more lines; --print shows them\n", more+shownLines-4)
	}
	return diff
}

// change plans the changes, shows them, asks if there is somebody to ask, and makes them.
// Two of these take turns, but not while one asks a person; the answer is about what was
// shown and nothing newer.
func (c *setupCmd) change(a *app, client setup.Client, m setup.Machine, plan func() ([]setup.Change, error)) ([]setup.Change, error) {
	if !c.Print && !c.asks(a) {
		release, err := folder.LockSetup(a.ctx, a.folder)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	changes, err := plan()
	if err == nil && !c.Undo && len(changes) > 0 && !client.Here(m) {
		a.term.warn(client.Title + " is not installed here, or not on the PATH; it can be set up anyway")
	}
	if err != nil || len(changes) == 0 || c.Print {
		return changes, err
	}
	if !a.term.quiet {
		for _, change := range changes {
			_, _ = io.WriteString(a.err, shortened(change.Diff()))
		}
	}
	if c.asks(a) {
		yes, err := a.agree("Write this?")
		if err != nil || !yes {
			return nil, cmp.Or(err, declined())
		}
		release, err := folder.LockSetup(a.ctx, a.folder)
		if err != nil {
			return nil, err
		}
		defer release()
	}
	return changes, setup.ApplyAll(changes)
}

// setupError adds a hint to an error of the package.
func setupError(err error) error {
	if r, ok := errors.AsType[*setup.Refusal](err); ok {
		e := &fault.Error{Code: fault.Usage, Message: err.Error()}
		if r.Run != "" {
			e.Next = []fault.Remedy{{Do: plain, Value: r.Run}}
		}
		return e
	}
	if errors.Is(err, setup.ErrMap) {
		return &fault.Error{Code: fault.Usage, Message: err.Error(), Next: []fault.Remedy{{Do: fault.ListProviders}}}
	}
	if unmapped, ok := errors.AsType[*setup.UnmappedError](err); ok {
		return &fault.Error{Code: fault.Usage, Message: unmapped.Error(), Next: []fault.Remedy{{Do: fault.Again, Name: "map", Value: "ID=" + unmapped.Provider}}}
	}
	if owned, ok := errors.AsType[*atomicfile.OwnerError](err); ok {
		return folder.OwnerError(owned, owned.Path)
	}
	return err
}

type setupDoc struct {
	Client    string      `json:"client"`
	Installed bool        `json:"installed"` // its program is on the PATH
	Changes   []changeDoc `json:"changes"`
	Written   bool        `json:"written"`        // else there was nothing to change, or --print was given
	Next      []string    `json:"next,omitempty"` // what is left for the person to do
}

type changeDoc struct {
	Path string `json:"path"`
	Diff string `json:"diff"`
}

func (c *setupCmd) report(a *app, client setup.Client, m setup.Machine, choice setup.Choice, changes []setup.Change) error {
	doc := setupDoc{Client: client.Name, Installed: client.Here(m), Changes: []changeDoc{}, Written: len(changes) > 0 && !c.Print}
	for _, change := range changes {
		doc.Changes = append(doc.Changes, changeDoc{change.Path, change.Diff()})
	}
	files, err := client.Files(m, choice)
	if err != nil {
		return err
	}
	name, again := client.Name, client.Name
	if server := choice.Server.Name; server != "" {
		name, again = server+" in "+client.Name, client.Name+a.term.hints.flag("mcp", server)
	}
	if client.Joins {
		again += c.its(a.term.hints)
	}
	switch {
	case c.Undo && client.After != nil && (len(changes) > 0 || len(files) == 0):
		doc.Next = client.After(m)
	case !c.Undo && client.Next != nil:
		doc.Next = client.Next(m, choice)
	}
	if c.JSON {
		return a.printJSON(doc)
	}
	switch {
	case c.Print && (len(files) > 0 || choice.Server.Name != ""):
		for _, change := range doc.Changes {
			if _, err := io.WriteString(a.out, change.Diff); err != nil {
				return err
			}
		}
		return nil
	case len(files) == 0 && choice.Server.Name == "": // it is set up by commands only
	case len(changes) == 0 && c.Undo:
		a.term.note("%s is not set up; nothing was changed", name)
	case len(changes) == 0:
		a.term.note("%s is already set up; nothing was changed", name)
	case c.Undo && len(choice.Origins) > 0:
		a.term.note("%s no longer asks authferry for %s", client.Name, strings.Join(choice.Origins, ", "))
	case c.Undo:
		a.term.note("%s is as it was before", client.Name)
	default:
		a.term.note("%s is set up; to take it out again: authferry setup %s --undo", name, again)
	}
	for _, line := range doc.Next {
		a.term.note("%s", line)
	}
	return nil
}

// its are the words of this command that name some of the client's hosts.
func (c *setupCmd) its(h hints) (words string) {
	if c.Provider != "" {
		words += h.operand(c.Provider)
	}
	for _, f := range []named{{"account", []string{c.Account}}, {"pool", []string{c.Pool}}, {"host", c.Host}} {
		for _, value := range f.values {
			if value != "" {
				words += h.flag(f.name, value)
			}
		}
	}
	return words
}

type clientsDoc struct {
	Clients []clientDoc `json:"clients"`
}

type clientDoc struct {
	Name    string      `json:"name"`
	Title   string      `json:"title"`
	Program string      `json:"program,omitempty"` // absent: not installed
	State   setup.State `json:"state,omitempty"`   // absent: its configuration can't be read
	Error   string      `json:"error,omitempty"`
	Servers []string    `json:"mcp_servers,omitempty"` // that it reaches through authferry
}

// list says of every client whether it is installed and set up.
func (c *setupCmd) list(a *app, m setup.Machine) error {
	if c.Undo || c.Print {
		return &fault.Error{Code: fault.Usage, Message: "which client?", Next: []fault.Remedy{{Do: listSetUp}}}
	}
	docs := []clientDoc{}
	t := newTable("CLIENT", "STATE", "PROGRAM")
	for _, client := range setup.Clients() {
		d := clientDoc{Name: client.Name, Title: client.Title, Program: client.Installed(m)}
		state, err := client.State(m)
		if d.State = state; err != nil {
			d.State, d.Error = "", err.Error()
		}
		for _, entry := range client.Servers(m) {
			d.Servers = append(d.Servers, entry.Name)
		}
		docs = append(docs, d)
		row := []string{d.Name, cmp.Or(string(d.State), d.Error), cmp.Or(d.Program, "not installed")}
		if len(d.Servers) > 0 {
			row, t.head = append(row, strings.Join(d.Servers, ", ")), []string{"CLIENT", "STATE", "PROGRAM", "MCP SERVERS"}
		}
		t.add(row...)
	}
	if c.JSON {
		return a.printJSON(clientsDoc{docs})
	}
	return a.show(t)
}
