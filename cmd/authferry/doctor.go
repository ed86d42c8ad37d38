package main

import (
	"fmt"

	"github.com/authferry/authferry/broker"
)

type doctorCmd struct {
	jsonFlag
	Fix bool `help:"Mend what can be mended without losing a login."`
}

func (c *doctorCmd) Run(a *app) error {
	checks := a.broker.Doctor(a.ctx, c.Fix)
	failed := 0
	for _, check := range checks {
		if check.Status == broker.CheckFail {
			failed++
		}
	}
	if c.JSON {
		if err := a.printJSON(struct {
			Checks []broker.Check `json:"checks"`
		}{checks}); err != nil {
			return err
		}
	} else if err := a.showChecks(checks); err != nil {
		return err
	}
	if failed == 0 {
		return nil
	}
	e := &broker.Error{Code: broker.Internal, Message: fmt.Sprintf("%d of %d checks failed", failed, len(checks))}
	return reported{e}
}

func (a *app) showChecks(checks []broker.Check) error {
	for _, check := range checks {
		mark := string(check.Status)
		if a.term.colours(a.out) {
			mark = map[broker.CheckStatus]string{broker.CheckOK: "\x1b[32m", broker.CheckWarning: "\x1b[33m", broker.CheckFail: "\x1b[31m"}[check.Status] + mark + "\x1b[0m"
		}
		pad := max(0, len(broker.CheckWarning)-len(check.Status))
		if _, err := fmt.Fprintf(a.out, "%s%*s  %s: %s\n", mark, pad, "", printable(check.Name), printable(check.Message)); err != nil {
			return err
		}
		if check.Hint != "" {
			if _, err := fmt.Fprintf(a.out, "%*s  %s\n", len(broker.CheckWarning), "", printable(check.Hint)); err != nil {
				return err
			}
		}
	}
	return nil
}
