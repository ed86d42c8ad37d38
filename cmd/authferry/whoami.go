package main

import (
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/pool"
)

type whoamiCmd struct {
	selection
	jsonFlag
}

// whoamiDoc is what stdout has.
type whoamiDoc struct {
	Accounts []whoDoc `json:"accounts"`
}

// whoDoc is the account of one provider or, without one, the reason.
type whoDoc struct {
	Provider string            `json:"provider"`
	Account  *pool.AccountView `json:"account,omitempty"`
	By       pool.By           `json:"by,omitempty"`
	Binding  string            `json:"binding,omitempty"`
	Error    *errorBody        `json:"error,omitempty"`
}

func (c *whoamiCmd) Run(a *app) error {
	all, err := a.broker.UsedOfEach(c.resolve())
	if err != nil {
		return err
	}
	doc := whoamiDoc{[]whoDoc{}}
	t := newTable("PROVIDER", "ACCOUNT", "POOL", "STATE", "BY")
	t.spare, t.whole = []int{2, 3}, []int{4}
	for _, u := range all {
		d := whoDoc{Provider: u.Provider, Account: u.Account, By: u.By, Binding: u.BoundAt}
		if u.Err != nil {
			why := newErrorBody(u.Err, a.term.hints.of(u.Err))
			d.Error = &why
			a.term.warn(u.Provider+": "+u.Err.Error(), u.Err.Next...)
			t.add(u.Provider, "none", u.Pool, "", "")
		} else {
			t.add(u.Provider, u.Account.Label, u.Account.Pool, stateText(*u.Account, time.Now()), usedBy(u))
		}
		doc.Accounts = append(doc.Accounts, d)
	}
	if c.JSON {
		return a.printJSON(doc)
	}
	return a.show(t)
}

// usedBy says in words why an account is used.
func usedBy(u broker.Used) string {
	by := "pool " + u.Pool
	switch {
	case u.By == pool.ByFlag && u.Named:
		by = "--account"
	case u.By == pool.ByFlag:
		by = "--pool"
	case u.By == pool.ByEnvironment && u.Named:
		by = "AUTHFERRY_ACCOUNT"
	case u.By == pool.ByEnvironment:
		by = "AUTHFERRY_POOL"
	case u.By == pool.ByBinding:
		by = "binding of " + u.BoundAt
	case u.Only:
		by = "only pool"
	}
	switch {
	case u.Named:
		return by
	case u.Reason != "":
		return by + ", " + u.Reason
	}
	return by + ", current"
}
