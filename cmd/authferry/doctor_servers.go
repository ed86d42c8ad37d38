package main

import (
	"fmt"
	"io"
	"path/filepath"
	"reflect"
	"slices"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// serverChecks warns about the remote MCP servers that a client is set up to reach through
// authferry and can't: the provider, the account or the pool that it names is gone, or the
// binary that it calls is another one.
func serverChecks(a *app, m setup.Machine, client setup.Client) (checks []doctor.Check) {
	for _, entry := range client.Servers(m) {
		if entry.Dir != "" && filepath.Clean(entry.Dir) != filepath.Clean(a.broker.Dir) {
			continue // it is for another folder
		}
		if message, next := outdated(a, m, client, entry); message != "" {
			checks = append(checks, doctor.Check{Name: client.Name, Status: doctor.Warning, Message: client.Title + " " + message, Next: next})
		}
	}
	return checks
}

// outdated says what is wrong with an entry; empty: nothing.
func outdated(a *app, m setup.Machine, client setup.Client, entry setup.Entry) (message string, next []fault.Remedy) {
	server, whose, ok := reached(entry.Words)
	if !ok {
		return "", nil // somebody's own way to call authferry
	}
	run := func(line string) fault.Remedy { return fault.Remedy{Do: plain, Value: line} }
	again := func(provider, more string) fault.Remedy {
		return run("authferry setup " + client.Name + a.term.hints.flag("mcp", provider) + more)
	}
	p, err := remoteServer(a, server)
	if err != nil {
		next = []fault.Remedy{again(entry.Name, " --undo")}
		if isAddress(server) {
			next = slices.Insert(next, 0, fault.Remedy{Do: fault.Login, Provider: server})
		}
		return fmt.Sprintf("is set up for MCP server %q, and no provider here is for it", entry.Name), next
	}
	if _, err := a.broker.Chosen(pool.Selection{Account: whose.Account, Pool: whose.Pool, Provider: p.Name}); err != nil {
		next = []fault.Remedy{again(p.Name, "")}
		if _, none := a.broker.Chosen(pool.Selection{Provider: p.Name}); none != nil {
			next = slices.Insert(next, 0, fault.Remedy{Do: fault.Login, Provider: p.Name})
		}
		return fmt.Sprintf("is set up for MCP server %q with a login that is not here: %v", entry.Name, err), next
	}
	if called := entry.Words[0]; filepath.IsAbs(called) && filepath.ToSlash(called) != filepath.ToSlash(m.Binary) {
		more := ""
		switch {
		case whose.Account != "":
			more = a.term.hints.flag("account", whose.Account)
		case whose.Pool != "":
			more = a.term.hints.flag("pool", whose.Pool)
		}
		return fmt.Sprintf("is set up for MCP server %q with another authferry, %s", entry.Name, called), []fault.Remedy{again(p.Name, more)}
	}
	return "", nil
}

// reached is which server a command line of authferry's reaches, and with whose login.
func reached(words []string) (server string, whose which, ok bool) {
	if len(words) < 3 || slices.Contains(words, "--help") || slices.Contains(words, "-h") {
		return "", which{}, false
	}
	c, _, err := parse(words[1:], streams{out: io.Discard, err: io.Discard})
	if err != nil {
		return "", which{}, false
	}
	own := c.Selected().Target.Addr()
	if bridge, ok := reflect.TypeAssert[*connectCmd](own); ok {
		return bridge.Server, bridge.which, true
	}
	if headers, ok := reflect.TypeAssert[*mcpHeadersCmd](own); ok && headers.URL != "" {
		return headers.URL, headers.which, true
	}
	return "", which{}, false
}
