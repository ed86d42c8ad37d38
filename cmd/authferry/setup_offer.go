package main

import (
	"slices"

	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/cmd/authferry/setup"
)

// usable are the installed programs that could use provider's accounts and are not set up:
// AI clients only, because others need to know the hosts.
func usable(m setup.Machine, provider string) (found []setup.Client) {
	for _, client := range setup.Clients() {
		speaks := client.Proxied == provider || client.Providers && slices.Contains(spoken, provider)
		if !speaks || client.Installed(m) == "" {
			continue
		}
		if state, err := client.State(m); err == nil && state == setup.Absent {
			found = append(found, client)
		}
	}
	return found
}

// offerSetup asks after a login whether programs should use it. A no is not a failure: the
// login stays.
func offerSetup(a *app, v pool.AccountView) error {
	m, err := thisMachine()
	if err != nil {
		return err
	}
	for _, client := range usable(m, v.Provider) {
		yes, err := a.agree("Set up " + client.Title + " to use it?")
		c, words := &setupCmd{Client: client.Name}, []string{"setup", client.Name}
		if client.Asks {
			c.Pool, words = v.Pool, append(words, "--pool="+v.Pool)
		}
		hints := newHints(words, nil)
		if err != nil { // Ctrl-D or Ctrl-C: no more questions
			a.term.note("%s was not set up; to do it later: %s", client.Title, hints.again(fault.Remedy{}))
			return nil //nolint:nilerr // the login is stored
		}
		if !yes {
			continue
		}
		a.term.hints = hints
		if err := c.Run(a); fault.CodeOf(err) == fault.Cancelled {
			a.term.note(unchanged)
		} else if err != nil {
			return err
		}
	}
	return nil
}

// suggested are the commands by which installed programs use the accounts of providers.
func (a *app) suggested(providers []string) (commands []string) {
	m, err := thisMachine()
	if err != nil {
		return nil
	}
	add := func(r fault.Remedy) {
		if command := a.term.hints.command(r); !slices.Contains(commands, command) {
			commands = append(commands, command)
		}
	}
	for _, provider := range providers {
		for _, client := range usable(m, provider) {
			if client.Proxied != "" {
				add(fault.Remedy{Do: runIt, Name: client.Programs[0]})
			} else {
				add(fault.Remedy{Do: setUpIn, Name: client.Name})
			}
		}
	}
	if _, err := m.LookPath("gemini"); err == nil && slices.Contains(providers, clients["gemini"]) { // which setup doesn't know
		add(fault.Remedy{Do: runIt, Name: "gemini"})
	}
	return commands
}
