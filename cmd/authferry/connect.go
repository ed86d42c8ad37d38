package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/authferry/authferry/bridge"
	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/version"
)

// connectCmd makes a remote MCP server a local one, for clients that start their servers.
type connectCmd struct {
	Server string `arg:"" help:"The server's address, or the provider that is its name here."`
	which
	Login bool `help:"Open a browser when an account needs a new login; otherwise the client is shown the command."`
}

// Help is shown below the flags.
func (c *connectCmd) Help() string {
	return "MCP clients start this as a local server: authferry setup CLIENT --mcp PROVIDER enters it."
}

func (c *connectCmd) Run(a *app) error {
	s, address, err := c.target(a)
	if err != nil {
		return err
	}
	own := a.options
	if m, err := thisMachine(); err == nil {
		own.Self = m.Binary // a bridge may run for days, and outlive an update
	}
	opt := bridge.Options{
		Broker: broker.NewKeeper(own), Selection: s, Server: address, UserAgent: "authferry/" + version.String(),
		Say: said, Warn: func(text string) { a.term.warn(text) }, Log: own.Log,
	}
	if c.Login && !a.term.noInput {
		opt.Login = func(ctx context.Context, name string, next fault.Remedy) error {
			return renewInBrowser(ctx, a, name, next)
		}
	}
	err = bridge.New(opt).Run(a.ctx, a.in, a.out)
	if a.ctx.Err() != nil {
		return errInterrupted
	}
	if e, ok := errors.AsType[*fault.Error](err); ok {
		switch e.Code {
		case fault.Ambiguous:
			e.Next = []fault.Remedy{{Do: fault.Again, Account: "ACCOUNT"}, {Do: fault.Again, Pool: "POOL"}}
		case fault.NoAccount:
			if c.Account == "" && c.Pool == "" {
				e.Next = []fault.Remedy{{Do: fault.Login, Provider: c.Server}}
			}
		}
	}
	return err
}

// target returns the server's address, and whose accounts are meant.
func (c *connectCmd) target(a *app) (s pool.Selection, address string, err error) {
	s = selection{which: c.which}.resolve()
	if isAddress(c.Server) {
		if err := oauth.CheckServer(c.Server); err != nil {
			return s, "", &fault.Error{Code: fault.Usage, Message: "invalid address of an MCP server: " + err.Error()}
		}
		return s, c.Server, nil
	}
	p, err := remoteServer(a, c.Server)
	if err != nil {
		return s, "", err
	}
	s.Provider = p.Name
	return s, p.MCP, nil
}

// said is an error as a client shows it to a person.
func said(e *fault.Error) (message, hint string) {
	return "authferry: " + printable(e.Error()), hintOr(e, "")
}

// renewInBrowser has the person at this machine renew a login.
func renewInBrowser(ctx context.Context, a *app, name string, next fault.Remedy) error {
	var scopes []string
	if next.Name == "scope" {
		scopes = strings.Fields(next.Value)
	}
	var shown error
	ctx, end := context.WithCancel(ctx)
	defer end()
	show := func(address string) {
		if shown = openBrowser(address, a.term.getenv, a.err); shown != nil {
			end() // it would never be seen
			return
		}
		a.term.note("Log in to %s in the browser that was opened.", next.Provider)
	}
	err := account.Renew(ctx, a.folder, next.Provider, name, scopes, account.Person{Open: show})
	if shown != nil {
		return &fault.Error{Code: fault.LoginNeeded, Message: fmt.Sprintf("account %q needs a new login, and no browser can be opened here", name), Next: []fault.Remedy{next}, Err: shown}
	}
	return err
}
