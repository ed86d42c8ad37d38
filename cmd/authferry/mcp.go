package main

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/mcp"
	"github.com/authferry/authferry/version"
)

// mcpCmd is authferry as an MCP server: its own by default, or a remote one.
type mcpCmd struct {
	Own     ownMCPCmd  `cmd:"" default:"withargs" hidden:"" name:"@status" help:"Serve the status to an agent, over the Model Context Protocol."`
	Connect connectCmd `cmd:"" help:"Reach a remote MCP server with the login that authferry has for it."`
}

// Help is shown below the first line.
func (c *mcpCmd) Help() string {
	return "Without a command it serves one read-only tool, auth_status: authferry mcp [PROVIDER] [--account ACCOUNT] [--pool POOL]"
}

// ownMCPCmd lets an agent see the state of the logins, and nothing more.
type ownMCPCmd struct{ selection }

func (c *ownMCPCmd) Run(a *app) error {
	s := c.resolve()
	if _, err := a.broker.Chosen(s); err != nil {
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Ambiguous {
			e.Next = []fault.Remedy{{Do: fault.Again, Pool: "POOL"}}
		}
		return err
	}
	server := mcp.Server{Version: version.String(), Text: statusText, Status: func() (*broker.StatusView, error) {
		only, err := a.broker.Chosen(s)
		if err != nil {
			return nil, err
		}
		all, err := broker.Status(a.folder)
		if err != nil {
			return nil, err
		}
		narrow(all, only)
		return all, nil
	}}
	err := server.Serve(a.input(), a.out)
	if a.ctx.Err() != nil {
		return &fault.Error{Code: fault.Cancelled, Message: "interrupted"}
	}
	return err
}

// narrow removes everything that was not selected.
func narrow(s *broker.StatusView, only broker.Chosen) {
	if only.Pool == "" {
		return
	}
	s.Pools = slices.DeleteFunc(s.Pools, func(p broker.PoolView) bool { return p.Name != only.Pool })
	s.Bindings = slices.DeleteFunc(s.Bindings, func(b pool.BindingView) bool {
		if b.Account == "" {
			return b.Pool != only.Pool
		}
		return !slices.ContainsFunc(s.Pools, func(p broker.PoolView) bool {
			return slices.ContainsFunc(p.Accounts, func(v pool.AccountView) bool { return v.ID == b.Account })
		})
	})
	if only.Account == "" {
		return
	}
	for i := range s.Pools {
		p := &s.Pools[i]
		p.Accounts = slices.DeleteFunc(p.Accounts, func(v pool.AccountView) bool { return v.ID != only.Account })
		if p.Current != only.Account {
			p.Current = ""
		}
		p.Reason, p.RetryAt = "limited to one account", time.Time{}
	}
}

// statusText is a status as a table, for an agent to read out.
func statusText(s *broker.StatusView) string {
	if len(s.Pools) == 0 {
		return "No account yet. A person adds one with: authferry login"
	}
	now := time.Now()
	t := newTable("POOL", "PROVIDER", "ACCOUNT", "CURRENT", "STATE")
	var b strings.Builder
	for _, p := range s.Pools {
		for _, v := range p.Accounts {
			current := ""
			if v.Current {
				current = "current"
			}
			t.add(p.Name, p.Provider, v.Label, current, stateText(v, now))
		}
	}
	_ = t.print(&b, 0) // a Builder never fails
	for _, p := range s.Pools {
		b.WriteString("\n" + printable(p.Name+": "+p.Reason))
	}
	return b.String()
}
