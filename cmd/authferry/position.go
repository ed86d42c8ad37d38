package main

import (
	"fmt"
	"strconv"

	"github.com/authferry/authferry/broker/pool"
)

// meant returns how the library names an account that an argument names. A label,
// PROVIDER/LABEL or id stays as it is. On a terminal, where a person sees the result, a
// number of authferry list becomes the id of the account that has it now; with ask, only
// after the person says yes to that account. Elsewhere a number stays one, and the library
// refuses it, because its meaning changes.
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
