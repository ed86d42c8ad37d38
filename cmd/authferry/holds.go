package main

import (
	"fmt"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/oauth"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/humantime"
	"github.com/authferry/authferry/share/pipe"
)

type holdsCmd struct {
	List  holdsListCmd  `cmd:"" default:"withargs" hidden:"" help:"Show the holds."`
	Add   holdsAddCmd   `cmd:"" help:"Hold an account by hand: it isn't used until then."`
	Clear holdsClearCmd `cmd:"" help:"Remove the holds of an account; of a shared one, on all machines."`
}

type holdsDoc struct {
	Holds []pool.AccountHold `json:"holds"`
}

type holdsListCmd struct{ jsonFlag }

func (c *holdsListCmd) Run(a *app) error {
	holds, err := broker.Holds(a.folder)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(holdsDoc{holds})
	}
	if len(holds) == 0 {
		a.term.note("no account is held")
		return nil
	}
	now := time.Now()
	t := newTable("ACCOUNT", "SCOPE", "LEFT", "UNTIL", "REASON", "CERTAINTY")
	t.spare, t.whole = []int{3}, []int{2, 3, 5}
	for _, h := range holds {
		t.add(h.Label, scopeText(h.Scope), humantime.Left(h.Until, now), humantime.At(h.Until, now), h.Reason(), certainty(h.HoldView))
	}
	return a.show(t)
}

func scopeText(scope string) string {
	if scope == pool.HeldForScope {
		return "all"
	}
	return scope
}

// forScope is what is held: for model:opus, say; empty: the whole account.
func forScope(scope string) string {
	if scope == pool.HeldForScope {
		return ""
	}
	return " for " + scope
}

// certainty says what a hold's end is worth.
func certainty(h pool.HoldView) string {
	switch {
	case h.Source == pool.PersonSource:
		return "by hand"
	case h.Cut:
		return "shortened; the provider said longer"
	case h.Proven:
		return "stated"
	}
	return "guessed"
}

type holdsAddCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	For     string `arg:"" name:"duration" help:"For how long, as 2h or 3d."`
	Scope   string `placeholder:"SCOPE" help:"Hold it only for this scope (model:opus, say), not the whole account."`
}

func (c *holdsAddCmd) Run(a *app) error {
	d, err := oauth.ParseLifetime(c.For)
	if err != nil {
		return &fault.Error{Code: fault.Usage, Message: "invalid duration: write it as 2h or 3d"}
	}
	h, err := account.AddHold(a.ctx, a.folder, c.Account, c.Scope, d)
	if err != nil {
		return err
	}
	v, err := broker.Info(a.folder, h.ID)
	if err != nil {
		return err
	}
	if v.Share != nil {
		if err := callShare(a, pipe.Limits, pipe.PoolRequest{Pool: v.Share.Pool}, new(pipe.LimitsResult), nil); err != nil {
			a.term.warn(fmt.Sprintf("the machines that share pool %q don't know of it yet; they are told when the account is next used here: %v", v.Pool, err))
		} else if d > ratelimit.WindowCap {
			a.term.note("the machines that share pool %q hold it for %s at a time, and are told again while it is used here", v.Pool, humantime.Span(ratelimit.WindowCap))
		}
	}
	if c.JSON {
		return a.printJSON(holdsDoc{[]pool.AccountHold{*h}})
	}
	a.term.note("account %q is held%s until %s", h.Label, forScope(h.Scope), humantime.At(h.Until, time.Now()))
	return nil
}

type holdsClearCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Scope   string `placeholder:"SCOPE" help:"Only the hold on this scope (model:opus, say; * is the whole account)."`
}

func (c *holdsClearCmd) Run(a *app) error {
	before, err := broker.Info(a.folder, c.Account)
	if err != nil {
		return err
	}
	cleared, err := account.ClearHolds(a.ctx, a.folder, before.ID, c.Scope)
	if err != nil {
		return err
	}
	everywhere := ""
	if before.Share != nil {
		if err := callShare(a, pipe.Clear, pipe.ClearRequest{Account: before.ID, Scope: c.Scope}, new(pipe.LimitsResult), nil); err != nil {
			return hereAlone(fmt.Sprintf("account %q is no longer held here, but the machines that share pool %q may still hold it", before.Label, before.Pool), err, fault.Remedy{Do: fault.Again})
		}
		everywhere = fmt.Sprintf(", on all machines that share pool %q", before.Pool)
	}
	if c.JSON {
		return a.printJSON(holdsDoc{cleared})
	}
	waited := before.Backoff != nil && c.Scope == ""
	if waited {
		a.term.note("account %q: its next refresh no longer waits until %s", before.Label, humantime.At(before.Backoff.Until, time.Now()))
	}
	if len(cleared) == 0 && !waited {
		a.term.note("account %q has no such hold%s", c.Account, everywhere)
	}
	for _, h := range cleared {
		a.term.note("account %q is no longer held%s%s", h.Label, forScope(h.Scope), everywhere)
	}
	return nil
}
