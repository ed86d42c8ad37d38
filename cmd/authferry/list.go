package main

import (
	"cmp"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/fault"
	"github.com/authferry/authferry/broker/pool"
	"github.com/authferry/authferry/humantime"
)

type listCmd struct{ jsonFlag }

type accountsDoc struct {
	Accounts []pool.AccountView `json:"accounts"`
}

func (c *listCmd) Run(a *app) error {
	views, err := broker.List(a.folder)
	if err != nil {
		return err
	}
	if c.JSON {
		return a.printJSON(accountsDoc{views})
	}
	if len(views) == 0 {
		a.term.note(noAccountYet)
		return nil
	}
	warnEnding(a, views)
	who := "IDENTITY"
	if slices.ContainsFunc(views, func(v pool.AccountView) bool { return v.Resource != "" }) {
		who = "IDENTITY OR SERVICE"
	}
	t := newTable("#", "", "ACCOUNT", "PROVIDER", "POOL", "STATE", who, "ID")
	t.spare, t.whole, t.least = []int{7, 6}, []int{0, 1, 5, 7}, []int{3, 4}
	for i, v := range views {
		current := ""
		if v.Current {
			current = "* current"
		}
		t.add(strconv.Itoa(i+1), current, v.Label, v.Provider, v.Pool, stateText(v, time.Now()), cmp.Or(v.Identity, v.Service, v.Resource), v.ID)
	}
	return a.show(t)
}

type infoCmd struct {
	jsonFlag
	Account string `arg:"" optional:"" help:"Label, PROVIDER/LABEL or id; without it, the account that is used here."`
}

func (c *infoCmd) Run(a *app) error {
	v, err := c.find(a)
	if err != nil {
		return err
	}
	warnEnding(a, []pool.AccountView{v})
	return showAccount(a, v, c.JSON)
}

func (c *infoCmd) find(a *app) (pool.AccountView, error) {
	if c.Account == "" {
		u, err := a.broker.Used(selection{}.resolve())
		if e, ok := errors.AsType[*fault.Error](err); ok && e.Code == fault.Ambiguous {
			e.Next = []fault.Remedy{{Do: showUsed}}
		}
		if err != nil {
			return pool.AccountView{}, err
		}
		a.term.note("used here (%s):", usedBy(u))
		return *u.Account, nil
	}
	which, err := meant(a, c.Account, nil)
	if err != nil {
		return pool.AccountView{}, err
	}
	return broker.Info(a.folder, which)
}

// showAccount prints one account in full.
func showAccount(a *app, v pool.AccountView, asJSON bool) error {
	if asJSON {
		return a.printJSON(v)
	}
	now := time.Now()
	t := newTable()
	t.add("account", v.Label)
	t.add("id", v.ID)
	t.add("provider", v.Provider)
	t.add("pool", v.Pool+", rank "+strconv.Itoa(v.Rank))
	t.add("kind", v.Kind)
	if v.Identity != "" {
		t.add("identity", v.Identity)
	}
	for _, row := range [][2]string{{"service", v.Service}, {"resource", v.Resource}, {"scopes", strings.Join(v.Scopes, " ")}} {
		if row[1] != "" {
			t.add(row[0], row[1])
		}
	}
	t.add("state", stateText(v, now))
	if s := v.Share; s != nil {
		t.add("shared as", s.Pool)
		t.add("with others", sharedText(s.State, s.Machine, s.Since, now))
		if !s.SeenAt.IsZero() {
			t.add("engine asked", humantime.At(s.SeenAt, now)+" ("+humantime.Relative(s.SeenAt, now)+")")
		}
	}
	t.add("generation", strconv.Itoa(v.Generation))
	expiry := "token expires"
	if v.NoRefresh {
		t.add("refresh token", "none")
		expiry = "ends"
		if v.ExpiresAt.IsZero() {
			t.add(expiry, endText(v.ExpiresAt, now))
		}
	}
	for _, row := range []struct {
		name string
		at   time.Time
	}{{expiry, v.ExpiresAt}, {"login ends", v.RefreshExpiresAt}, {"added", v.AddedAt}, {"refreshed", v.RefreshedAt}} {
		if !row.at.IsZero() {
			t.add(row.name, humantime.At(row.at, now)+" ("+humantime.Relative(row.at, now)+")")
		}
	}
	if b := v.Backoff; b != nil {
		t.add("refresh", backoffText(b, now)+": "+b.Reason)
	}
	for _, u := range v.Usage {
		t.add(windowName(u), usageText(u, now))
	}
	for _, h := range v.Holds {
		t.add("held"+forScope(h.Scope), h.Why(now)+" ("+humantime.Relative(h.Until, now)+")")
	}
	return a.show(t)
}

// stateText says in words whether an account can be used.
func stateText(v pool.AccountView, now time.Time) string {
	switch v.State {
	case pool.NeedsLogin:
		return "login needed"
	case pool.RefreshDue:
		switch {
		case v.Share != nil && v.Share.State == pool.ShareWaiting:
			return "waiting for " + v.Share.Machine
		case v.Share != nil && v.Share.State == pool.ShareAlone:
			return "waiting for the pool's engine"
		case v.Backoff != nil:
			return "refresh fails, next try in " + humantime.Left(v.Backoff.Until, now)
		}
		return "refresh due at the next use"
	case pool.Held:
		for _, h := range v.Holds {
			switch {
			case h.Scope != pool.HeldForScope:
			case h.Refused:
				return "refused, next try in " + humantime.Left(h.Until, now)
			default:
				return "held, " + humantime.Left(h.Until, now) + " left"
			}
		}
	case pool.Valid:
		switch {
		case v.NoRefresh && v.ExpiresAt.IsZero():
			return "valid, expiry unknown"
		case v.NoRefresh:
			return "valid, ends " + humantime.Relative(v.ExpiresAt, now)
		case !v.ExpiresAt.IsZero():
			return "valid, " + humantime.Left(v.ExpiresAt, now) + " left"
		}
	}
	return string(v.State)
}

// endText says when a login without a refresh token ends.
func endText(end, now time.Time) string {
	if end.IsZero() {
		return pool.AtTime(end, now)
	}
	return pool.AtTime(end, now) + " (" + humantime.Relative(end, now) + ")"
}

// backoffText says since when refreshes fail, and when the next one is tried.
func backoffText(b *pool.BackoffView, now time.Time) string {
	text := "failing since " + humantime.At(b.Since, now) + ", next try " + humantime.At(b.Until, now) + " (" + humantime.Relative(b.Until, now) + ")"
	if b.Stated {
		text += ", as the provider asked"
	}
	return text
}
