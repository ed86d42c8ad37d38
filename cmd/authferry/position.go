package main

import (
	"fmt"
	"strconv"

	"github.com/authferry/authferry/broker/pool"
)

// meant is what an argument calls an account, for the library: a label, PROVIDER/LABEL
// or an id as it is. On a terminal, where somebody sees what it comes to, a number of
// authferry list becomes the id of the account that has it at this moment; with ask,
// which makes a question of that account, only after a yes. Elsewhere a number stays
// one, and the library refuses it: what it stands for changes.
func (a *app) meant(arg string, ask func(account string) string) (string, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || !pool.IsNumber(arg) || !a.present() {
		return arg, nil //nolint:nilerr // it is no number
	}
	v, err := a.broker.Numbered(n)
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
