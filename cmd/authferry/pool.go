package main

import (
	"cmp"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
)

type useCmd struct {
	jsonFlag
	Account string `arg:"" optional:"" help:"Label, PROVIDER/LABEL or id."`
	Pool    string `short:"p" placeholder:"POOL" help:"Bind a directory to this pool instead of to one account."`
	Dir     string `placeholder:"PATH" help:"Bind this directory, and what is below it. --pool alone binds the current one."`
	Unbind  bool   `xor:"bindings" help:"Remove the bindings of --dir; of the current directory without it."`
	List    bool   `xor:"bindings" help:"List the directories that are bound."`
}

// Validate is called by kong.
func (c *useCmd) Validate() error {
	one := (c.Account == "") != (c.Pool == "")
	switch {
	case c.Unbind && (c.Account != "" || c.Pool != ""):
		return fmt.Errorf("--unbind goes with --dir alone")
	case c.List && (c.Account != "" || c.Pool != "" || c.Dir != ""):
		return fmt.Errorf("--list goes alone")
	case !c.Unbind && !c.List && !one:
		return fmt.Errorf("name an account or a --pool, and not both")
	}
	return nil
}

// useDoc has the account; for a pool only the binding.
type useDoc struct {
	Account  *pool.AccountView `json:"account,omitempty"`
	Binding  *index.Binding    `json:"binding,omitempty"`
	Bindings []index.Binding   `json:"unbound,omitempty"`
}

type bindingsDoc struct {
	Bindings []pool.BindingView `json:"bindings"`
}

func (c *useCmd) Run(a *app) error {
	var doc useDoc
	switch {
	case c.List:
		return c.list(a)
	case c.Unbind:
		if c.Dir == "" {
			here, err := os.Getwd()
			if err != nil {
				return &fault.Error{Code: fault.Usage, Message: "the working directory is unknown; name one with --dir", Err: err}
			}
			c.Dir = here
		}
		gone, err := account.Unbind(a.ctx, a.folder, c.Dir)
		if err != nil {
			return err
		}
		doc.Bindings = gone
		if len(gone) == 0 {
			a.term.note("%s was not bound", c.Dir)
		} else {
			a.term.note("%s of %s removed", counted(len(gone), "binding"), c.Dir)
		}
	case c.Dir == "" && c.Pool == "":
		which, err := meant(a, c.Account, func(account string) string { return "Use " + account + "?" })
		if err != nil {
			return err
		}
		acc, err := account.Use(a.ctx, a.folder, which)
		if err != nil {
			return err
		}
		v := broker.ViewOf(a.folder, acc)
		doc.Account = &v
		a.term.note("account %q is now current in pool %q", v.Label, v.Pool)
		warnUnfit(a, v)
	default:
		where := cmp.Or(c.Dir, ".")
		which, err := meant(a, c.Account, func(account string) string { return fmt.Sprintf("Use %s in %s?", account, where) })
		if err != nil {
			return err
		}
		bd, err := account.Bind(a.ctx, a.folder, where, which, c.Pool)
		if err != nil {
			return err
		}
		doc.Binding = bd
		what := fmt.Sprintf("pool %q", bd.Pool)
		if bd.Account != "" {
			v, err := broker.Info(a.folder, bd.Account)
			if err != nil {
				return err
			}
			doc.Account = &v
			what = fmt.Sprintf("account %q", v.Label)
		}
		a.term.note("%s, and what is below it, uses %s for %s", bd.Dir, what, bd.Provider)
		if doc.Account != nil {
			warnUnfit(a, *doc.Account)
		}
	}
	if c.JSON {
		return a.printJSON(doc)
	}
	return nil
}

// warnUnfit warns about what keeps an account from being used, now or soon.
func warnUnfit(a *app, v pool.AccountView) {
	warnEnding(a, []pool.AccountView{v})
	now := time.Now()
	name := fmt.Sprintf("account %q", v.Label)
	switch v.State {
	case pool.NeedsLogin:
		a.term.warn(name+" needs a login before it can be used", v.Renew)
	case pool.Disabled:
		a.term.warn(name+" is disabled", fault.Remedy{Do: fault.Enable, Account: v.ID})
	case pool.Held:
		var longest pool.HoldView
		for _, h := range v.Holds {
			if h.Scope == pool.HeldForScope && h.Until.After(longest.Until) {
				longest = h
			}
		}
		a.term.warn(fmt.Sprintf("%s is held: %s; it isn't used before that", name, longest.Why(now)), fault.Remedy{Do: fault.ShowHolds})
	}
}

// list shows every bound directory.
func (c *useCmd) list(a *app) error {
	bound, err := account.Bindings(a.folder)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(bindingsDoc{bound})
	}
	if len(bound) == 0 {
		a.term.note("no directory is bound")
		return nil
	}
	t := newTable("DIRECTORY", "PROVIDER", "USES")
	t.whole = []int{0}
	for _, b := range bound {
		t.add(b.Dir, b.Provider, boundTo(b))
	}
	return a.show(t)
}

// boundLines are the bound directories, one a line; of many, the first.
func boundLines(all []pool.BindingView) (lines []string) {
	const most = 4
	for i, b := range all {
		if i == most {
			return append(lines, fmt.Sprintf("bound: %d more; authferry use --list", len(all)-most))
		}
		lines = append(lines, fmt.Sprintf("bound: %s uses %s of %s", b.Dir, boundTo(b), b.Provider))
	}
	return lines
}

// boundTo describes what a directory is bound to.
func boundTo(b pool.BindingView) string {
	switch {
	case b.Account == "":
		return "pool " + b.Pool
	case b.Label == "":
		return "an account that was removed"
	}
	return "account " + b.Label
}

type disableCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
}

func (c *disableCmd) Run(a *app) error {
	acc, err := account.Disable(a.ctx, a.folder, c.Account)
	return setOf(a, acc, err, pipe.Disabled, c.JSON, "is disabled: nothing uses it until authferry enable")
}

type enableCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
}

func (c *enableCmd) Run(a *app) error {
	acc, err := account.Enable(a.ctx, a.folder, c.Account)
	return setOf(a, acc, err, pipe.Disabled, c.JSON, "is enabled")
}

type moveCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Pool    string `short:"p" required:"" placeholder:"POOL" help:"The pool to move it to; made if it isn't there."`
	Yes     bool   `short:"y" help:"Don't ask; a pool that other machines share is asked about."`
}

func (c *moveCmd) Run(a *app) error {
	if !c.Yes && isShared(a, c.Pool) {
		if err := a.confirm(fmt.Sprintf("Pool %q is shared: give account %q to all machines of it?", c.Pool, c.Account), "yes"); err != nil {
			return err
		}
	}
	v, err := broker.Info(a.folder, c.Account)
	if err != nil {
		return err
	}
	if v.Share != nil && !index.EqualLabel(v.Pool, c.Pool) {
		if !c.Yes {
			if err := a.confirm(fmt.Sprintf("Pool %q is shared: take %s away from all other machines of it?", v.Pool, nameIn(v)), "yes"); err != nil {
				return err
			}
		}
		if err := takeOut(a, v.ID); err != nil {
			return err
		}
	}
	acc, err := account.Move(a.ctx, a.folder, c.Account, c.Pool)
	if err != nil {
		return err
	}
	enterShared(a, acc.Pool)
	return tellChanged(a, acc, nil, c.JSON, fmt.Sprintf("is in pool %q", acc.Pool))
}

type orderCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Rank    string `arg:"" help:"Its place in its pool: first, last, or a number from 1."`
}

func (c *orderCmd) Run(a *app) error {
	rank, err := strconv.Atoi(c.Rank)
	switch {
	case c.Rank == "first":
		rank = 1
	case c.Rank == "last":
		rank = math.MaxInt
	case err != nil || rank < 1:
		return &fault.Error{Code: fault.Usage, Message: "the rank is first, last or a number from 1"}
	}
	acc, err := account.Order(a.ctx, a.folder, c.Account, rank)
	if err != nil {
		return err
	}
	return setOf(a, acc, nil, pipe.Rank, c.JSON, fmt.Sprintf("has rank %d in pool %q", acc.Rank, acc.Pool))
}

// setOf reports what was set of an account, and tells the machines that share it.
func setOf(a *app, acc *index.Account, err error, setting string, asJSON bool, outcome string) error {
	if err != nil {
		return err
	}
	if err := setForAll(a, acc, setting); err != nil {
		return err
	}
	return tellChanged(a, acc, nil, asJSON, outcome)
}

// tellChanged reports the change of an account.
func tellChanged(a *app, acc *index.Account, err error, asJSON bool, outcome string) error {
	if err != nil {
		return err
	}
	if asJSON {
		return a.printJSON(accountDoc{broker.ViewOf(a.folder, acc)})
	}
	a.term.note("account %q %s", acc.Label, outcome)
	return nil
}
