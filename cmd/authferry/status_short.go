package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/broker/ratelimit"
	"github.com/authferry/authferry/humantime"
)

// short is status --short: a word on each pool, on one line without colours. It reads the
// index and nothing else.
func (c *statusCmd) short(a *app) error {
	pools, err := a.broker.Pools()
	if err != nil {
		return err
	}
	words := []string{}
	for _, p := range pools {
		words = append(words, printable(p.Name)+": "+shortText(p, time.Now()))
	}
	if len(words) == 0 {
		words = append(words, "no account yet")
	}
	between := " · "
	if a.term.plainLetters() {
		between = " - "
	}
	_, err = fmt.Fprintln(a.out, strings.Join(words, between))
	return err
}

// shortText is who a pool uses and how much of the fullest quota window is gone, or why it
// uses nobody.
func shortText(p broker.PoolView, now time.Time) string {
	state := pool.Disabled
	for _, v := range p.Accounts {
		switch {
		case v.Current && v.State == pool.NeedsLogin:
			return printable(v.Label) + " login needed"
		case v.Current:
			return printable(v.Label) + shortUsage(v.Usage)
		case v.State == pool.NeedsLogin:
			state = pool.NeedsLogin
		}
	}
	switch {
	case !p.RetryAt.IsZero():
		if _, hold := nextFree(p.Accounts, now); hold.Refused {
			return hold.Reason() + ", next try " + humantime.At(p.RetryAt, now)
		}
		return "held until " + humantime.At(p.RetryAt, now)
	case state == pool.NeedsLogin:
		return "login needed"
	}
	return "disabled"
}

// shortUsage is the fullest of an account's own windows; empty: none is known.
func shortUsage(usage []pool.UsageView) string {
	fullest := -1.0
	for _, u := range usage {
		if !ratelimit.OfOneModel(u.Window) {
			fullest = max(fullest, u.Used)
		}
	}
	if fullest < 0 {
		return ""
	}
	return " " + percent(fullest)
}
