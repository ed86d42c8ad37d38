package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/takeover"
	"github.com/authferry/authferry/version"
)

// homeCmd is authferry without a command: it shows what is set up, what was found and what
// to do next. It accesses neither network nor keychain.
type homeCmd struct{ jsonFlag }

func (c *homeCmd) Run(a *app) error {
	s, err := broker.Status(a.folder)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(s)
	}
	t := newTable()
	t.add("authferry " + version.String())
	t.add("keystore", s.Keystore.Kind+"; does it work? authferry doctor")
	var next []string
	count := 0
	for _, p := range s.Pools {
		var names []string
		for _, v := range p.Accounts {
			count++
			names = append(names, v.Label)
			if v.State == pool.NeedsLogin {
				next = append(next, a.term.hints.command(v.Renew))
			}
		}
		if len(names) > 4 {
			names = append(names[:4], fmt.Sprintf("and %d more", len(names)-4))
		}
		line := strings.Join(names, ", ")
		if !p.RetryAt.IsZero() {
			line += "; " + shortText(p, time.Now())
		}
		if len(t.rows) < 6 {
			t.add("pool "+p.Name, line)
		}
	}
	for _, line := range boundLines(s.Bindings) {
		name, text, _ := strings.Cut(line, ": ")
		t.add(name, text)
	}
	if count == 0 {
		t.add("accounts", "none yet")
		next = []string{"authferry login"}
	}
	if found := importable(a); found != nil {
		var names, commands []string
		var advice []takeover.Advice
		for _, f := range found {
			names = append(names, inWords(f))
			if f.Refreshable("") {
				commands = append(commands, "authferry import "+f.Source.Name)
			}
			for _, one := range f.Advice {
				if !slices.Contains(advice, one) {
					advice = append(advice, one)
				}
			}
		}
		t.add("found", "logins of "+strings.Join(names, ", "))
		for _, one := range advice {
			t.add("", one.Text)
			commands = append(commands, a.term.hints.command(one.Next))
		}
		next = append(next, commands[0])
	}
	next = append(next, suggested(a, providersInUse(a))...)
	if len(next) == 0 {
		next = []string{"authferry status", "authferry token"}
	}
	for i, command := range next[:min(len(next), 3)] {
		title := "next"
		if i > 0 {
			title = ""
		}
		t.add(title, command)
	}
	t.add("all commands", "authferry --help")
	return a.show(t)
}
