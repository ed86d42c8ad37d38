package main

import (
	"fmt"
	"strconv"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/account"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/share/pipe"
)

type refreshCmd struct {
	jsonFlag
	Account string `arg:"" optional:"" help:"Label, PROVIDER/LABEL or id."`
	All     bool   `help:"Every account, except those whose provider asked to wait."`
	Now     bool   `help:"Even if the provider asked to wait; at most once in 30 seconds."`
}

func (c *refreshCmd) Run(a *app) error {
	switch {
	case c.All == (c.Account != ""):
		return &fault.Error{Code: fault.Usage, Message: "name one account, or --all"}
	case c.All:
		return c.all(a)
	}
	refresh := a.broker.Refresh
	if c.Now {
		refresh = a.broker.RefreshNow
	}
	acc, err := refresh(a.ctx, c.Account)
	if err != nil {
		return err
	}
	return showAccount(a, broker.ViewOf(a.folder, acc), c.JSON)
}

// all refreshes every account and reports on each. The code of its error is that of the
// first account that failed.
func (c *refreshCmd) all(a *app) error {
	done, err := a.broker.RefreshAll(a.ctx)
	if err != nil {
		return err
	}
	doc := refreshedDoc{[]pool.AccountView{}, []unrefreshedDoc{}}
	var first *fault.Error
	for _, r := range done {
		v := broker.ViewOf(a.folder, &r.Account)
		if r.Err == nil {
			doc.Accounts = append(doc.Accounts, v)
			if !c.JSON {
				a.term.note("account %q of %s is refreshed", v.Label, v.Provider)
			}
			continue
		}
		doc.Failed = append(doc.Failed, unrefreshedDoc{v, newErrorBody(r.Err, a.term.hints.of(r.Err))})
		if !c.JSON {
			a.term.warn(r.Err.Error())
		}
		if first == nil {
			first = r.Err
		}
	}
	if c.JSON {
		if err := a.printJSON(doc); err != nil {
			return err
		}
	}
	if first == nil {
		return nil
	}
	return reported{&fault.Error{Code: first.Code, Next: []fault.Remedy{{Do: fault.Status}},
		Message: fmt.Sprintf("%d of %s could not be refreshed", len(doc.Failed), counted(len(done), "account"))}}
}

type refreshedDoc struct {
	Accounts []pool.AccountView `json:"accounts"`
	Failed   []unrefreshedDoc   `json:"failed"`
}

type unrefreshedDoc struct {
	Account pool.AccountView `json:"account"`
	Error   errorBody        `json:"error"`
}

type accountDoc struct {
	Account pool.AccountView `json:"account"`
}

type renameCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Label   string `arg:"" help:"The new label."`
}

func (c *renameCmd) Run(a *app) error {
	which, err := meant(a, c.Account, func(account string) string { return fmt.Sprintf("Rename %s to %q?", account, c.Label) })
	if err != nil {
		return err
	}
	acc, err := account.Rename(a.ctx, a.folder, which, c.Label)
	if err != nil {
		return err
	}
	if err := setForAll(a, acc, pipe.Label); err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(accountDoc{broker.ViewOf(a.folder, acc)})
	}
	a.term.note("account %s is now %q", acc.ID, acc.Label)
	return nil
}

type removeCmd struct {
	jsonFlag
	Account  string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	NoRevoke bool   `xor:"revoke" help:"Don't revoke the login at the provider."`
	Revoke   bool   `xor:"revoke" help:"Revoke it even if another program still has it."`
	Yes      bool   `short:"y" help:"Don't ask."`
}

func (c *removeCmd) Run(a *app) error {
	which := c.Account
	if !c.Yes {
		var err error
		if which, err = meant(a, which, nil); err != nil {
			return err
		}
	}
	v, err := broker.Info(a.folder, which)
	if err != nil {
		return err
	}
	if !c.Yes {
		question := "Remove " + nameIn(v) + " and delete its login?"
		if v.Share != nil {
			question = fmt.Sprintf("Pool %q is shared: remove %s and delete its login on all machines of it?", v.Pool, nameIn(v))
		}
		if err := a.confirm(question, "yes"); err != nil {
			return err
		}
	}
	if v.Share != nil {
		if err := takeOut(a, v.ID); err != nil {
			return err
		}
	}
	done, err := account.Remove(a.ctx, a.folder, v.ID, c.revocation())
	if err != nil {
		return err
	}
	if done.Warning != "" {
		a.term.warn(done.Warning)
	}
	if c.JSON {
		return a.printJSON(accountDoc{v})
	}
	outcome := "removed"
	if done.Revoked {
		outcome = "revoked and removed"
	}
	a.term.note("account %q %s", v.Label, outcome)
	return nil
}

func (c *removeCmd) revocation() account.Revocation {
	switch {
	case c.NoRevoke:
		return account.RevokeNever
	case c.Revoke:
		return account.RevokeAlways
	}
	return account.RevokeOwn
}

// meant returns how the library names an account that an argument names. A label,
// PROVIDER/LABEL or id stays as it is. On a terminal, where a person sees the result, a
// number of authferry list becomes the id of the account that has it now; with ask, only
// after the person says yes to that account. Elsewhere a number stays one, and the library
// refuses it, because its meaning changes.
func meant(a *app, arg string, ask func(account string) string) (string, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || !pool.IsNumber(arg) || !a.present() {
		return arg, nil //nolint:nilerr // it is no number
	}
	v, err := broker.Numbered(a.folder, n)
	if err != nil {
		return "", err
	}
	if ask == nil {
		return v.ID, nil
	}
	return v.ID, a.confirm(ask(nameIn(v)), "")
}

// nameIn is an account in a question.
func nameIn(v pool.AccountView) string {
	return fmt.Sprintf("account %q of %s", v.Label, v.Provider)
}
