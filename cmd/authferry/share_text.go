package main

import (
	"fmt"
	"io"
	"time"

	"github.com/authferry/authferry/broker/doctor"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/share/pipe"
)

// What is shown of shared pools.

type shareStatusCmd struct {
	jsonFlag
	Pool string `arg:"" optional:"" help:"Name of the pool here; all by default."`
}

func (c *shareStatusCmd) Run(a *app) error {
	var done pipe.StatusResult
	if err := callShare(a, pipe.Status, pipe.PoolRequest{Pool: c.Pool}, &done, nil); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(done)
	}
	if len(done.Pools) == 0 {
		a.term.note("no pool is shared; share one: authferry share start POOL --endpoint URL …")
		return nil
	}
	now := time.Now()
	p := newPage(a.term, a.term.columns(a.out))
	for _, shared := range done.Pools {
		p.shared(shared, now)
	}
	_, err := io.WriteString(a.out, p.text.String())
	return err
}

// shared shows one pool: its engine, then who has which account.
func (p *page) shared(v pipe.Pool, now time.Time) {
	p.line(p.bold(printable(v.Pool)) + p.dim(" · this machine is "+printable(v.Machine)+", a "+kindOfMachine(v.Role, v.Passing, false)))
	p.wrapped("engine: ", engineText(v, now))
	width := 0
	for _, one := range v.Accounts {
		width = max(width, cells(printable(one.Label)))
	}
	width = min(width, p.width/3)
	for _, one := range v.Accounts {
		line := "  " + pad(shorten(printable(one.Label), width), width) + "  "
		p.line(line + printable(sharedText(pool.ShareState(one.State), one.Machine, one.Since, now)))
	}
	p.line("")
}

func engineText(v pipe.Pool, now time.Time) string {
	var text string
	switch v.Engine {
	case index.EngineOK:
		return "answers"
	case index.EngineRefused:
		text = "no longer lets this machine in; valid tokens are handed out until they end"
	case index.EngineRestored:
		return "has forgotten something, as after restoring a backup; nothing is refreshed until you run authferry share doctor --fix"
	default:
		text = "can't be reached"
		if v.SeenAt.IsZero() {
			text += ", and never was"
		} else {
			text += ", last seen " + humantime.Relative(v.SeenAt, now)
		}
	}
	if v.Reason != "" {
		text += " (" + v.Reason + ")"
	}
	return text
}

// sharedText says who is busy with an account.
func sharedText(state pool.ShareState, machine string, since, now time.Time) string {
	text := string(state)
	switch state {
	case pool.ShareIdle:
		return "free"
	case pool.ShareClaimed:
		text = machine + " is about to refresh it"
	case pool.ShareSending:
		text = machine + " is refreshing it"
	case pool.ShareWaiting:
		text = "waiting for " + machine
	case pool.ShareDead:
		return "login needed"
	case pool.ShareAlone:
		text = "out of touch with the other machines"
	}
	if !since.IsZero() {
		text += ", since " + humantime.At(since, now)
	}
	return text
}

// seenText is sharedText of what this machine last saw; empty: nobody is busy with it.
func seenText(v *pool.ShareView, now time.Time) string {
	if v == nil || v.State == pool.ShareIdle || v.State == pool.ShareDead {
		return ""
	}
	text := "shared: " + sharedText(v.State, v.Machine, v.Since, now)
	if !v.SeenAt.IsZero() && v.State != pool.ShareAlone {
		text += " (seen " + humantime.At(v.SeenAt, now) + ")"
	}
	return text
}

// kindOfMachine is a role in words.
func kindOfMachine(role string, passing, withKeys bool) string {
	text := role
	if passing {
		text = "passing " + text
	}
	if withKeys {
		text += " with keys"
	}
	return text
}

type shareMembersCmd struct {
	jsonFlag
	Pool string `arg:"" help:"Name of the pool here."`
}

func (c *shareMembersCmd) Run(a *app) error {
	var done pipe.MembersResult
	if err := callShare(a, pipe.Members, pipe.PoolRequest{Pool: c.Pool}, &done, nil); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(done)
	}
	now := time.Now()
	t := newTable("", "NAME", "IS", "UNTIL", "ID")
	for _, m := range done.Machines {
		self := ""
		if m.Self {
			self = "* this machine"
		}
		t.add(self, m.Name, kindOfMachine(m.Role, m.Passing, m.WithKeys), "", m.ID)
	}
	for _, ticket := range done.Tickets {
		text := "ticket for a " + kindOfMachine(ticket.Role, ticket.Passing, ticket.WithKeys)
		if ticket.Reusable {
			text = "reusable " + text
		}
		t.add("", "", text, humantime.At(ticket.ExpiresAt, now), ticket.ID)
	}
	return a.show(t)
}

// showRemoved says what a removed machine still knows.
func showRemoved(a *app, done pipe.RemoveResult, name string) error {
	a.term.note("%q is out of pool %q, which has new keys; %s refreshed", done.Machine, name, counted(len(done.Rotated), "account"))
	t := newTable("ACCOUNT", "PROVIDER", "TO DO")
	for _, one := range done.Pending {
		t.add(one.Label, one.Provider, "refresh it: "+one.Reason)
	}
	for _, one := range done.Replace {
		t.add(one.Label, one.Provider, "replace it at the provider: "+one.Reason)
	}
	if len(done.Pending)+len(done.Replace) > 0 {
		if err := a.show(t); err != nil {
			return err
		}
	}
	return a.showRevoke(done.Revoke)
}

// showLeft says what a machine is out of, and what it still has.
func (a *app) showLeft(done pipe.LeaveResult) error {
	text := counted(len(done.Removed), "account") + " went from here"
	if kept := len(done.Kept); kept > 0 && len(done.Removed) == 0 {
		text = counted(kept, "account") + " stayed, as this machine's own"
	} else if kept > 0 {
		text += ", and " + counted(kept, "account") + " stayed, as this machine's own"
	}
	a.term.note("this machine has left pool %q; %s", done.Pool, text)
	return a.showRevoke(done.Revoke)
}

// showRevoke shows the commands that end a machine's access to the engine.
func (a *app) showRevoke(commands []string) error {
	if len(commands) == 0 {
		return nil
	}
	a.term.note("the engine's administrator ends its access there with:")
	for _, command := range commands {
		if _, err := fmt.Fprintln(a.out, printable(command)); err != nil {
			return err
		}
	}
	return nil
}

// shareChecks are those of authferry-share.
func shareChecks(found []pipe.Check) (checks []doctor.Check) {
	for _, c := range found {
		checks = append(checks, doctor.Check{Name: c.Name, Status: doctor.Status(c.Status), Message: c.Message, Next: c.Next})
	}
	return checks
}

// serveText is an event of share serve.
func serveText(e pipe.ServeEvent) string {
	switch e.Event {
	case "watching":
		return fmt.Sprintf("watching pool %q; Ctrl-C ends it", e.Pool)
	case "adopted":
		return fmt.Sprintf("pool %q: account %q has a new token, from another machine", e.Pool, e.Account)
	case "refreshed":
		return fmt.Sprintf("pool %q: account %q was refreshed for another machine", e.Pool, e.Account)
	case "lost":
		return fmt.Sprintf("pool %q: the engine can't be reached; it is tried again", e.Pool)
	case "back":
		return fmt.Sprintf("pool %q: the engine answers again", e.Pool)
	}
	return fmt.Sprintf("pool %q: %s", e.Pool, e.Event)
}
