package main

import (
	"bufio"
	"fmt"
	"strings"

	"github.com/authferry/authferry/broker"
)

type refreshCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
}

func (c *refreshCmd) Run(a *app) error {
	acc, err := a.broker.Refresh(a.ctx, c.Account)
	if err != nil {
		return err
	}
	return a.showAccount(a.broker.ViewOf(acc), c.JSON)
}

type accountDoc struct {
	Account broker.AccountView `json:"account"`
}

type renameCmd struct {
	jsonFlag
	Account string `arg:"" help:"Label, PROVIDER/LABEL or id."`
	Label   string `arg:"" help:"The new label."`
}

func (c *renameCmd) Run(a *app) error {
	acc, err := a.broker.Rename(a.ctx, c.Account, c.Label)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(accountDoc{a.broker.ViewOf(acc)})
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
	v, err := a.broker.Info(c.Account)
	if err != nil {
		return err
	}
	if !c.Yes {
		if err := a.confirm(fmt.Sprintf("Remove account %q of %s and delete its login?", v.Label, v.Provider), "--yes"); err != nil {
			return err
		}
	}
	done, err := a.broker.Remove(a.ctx, v.ID, c.revocation())
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

func (c *removeCmd) revocation() broker.Revocation {
	switch {
	case c.NoRevoke:
		return broker.RevokeNever
	case c.Revoke:
		return broker.RevokeAlways
	}
	return broker.RevokeOwn
}

// confirm asks a person; without one it is a usage error that names the flag.
func (a *app) confirm(question, flag string) error {
	answer, err := a.ask(question+" [y/N]", flag)
	if err != nil || answer == "y" || answer == "yes" {
		return err
	}
	return &broker.Error{Code: broker.Cancelled, Message: "nothing was changed"}
}

// present reports that there is a person to ask.
func (a *app) present() bool { return !a.term.noInput && isTerminal(a.in) && isTerminal(a.err) }

// ask returns a person's answer in lower case; without a person it is a usage
// error that names the flag.
func (a *app) ask(question, flag string) (string, error) {
	if !a.present() {
		return "", &broker.Error{Code: broker.Usage, Message: "nobody can be asked here", Hint: "say it with " + flag}
	}
	_, _ = fmt.Fprintf(a.err, "%s ", printable(question))
	answer, _ := bufio.NewReader(a.input()).ReadString('\n')
	if a.ctx.Err() != nil {
		return "", &broker.Error{Code: broker.Cancelled, Message: "interrupted; nothing was changed"}
	}
	return strings.ToLower(strings.TrimSpace(answer)), nil
}
