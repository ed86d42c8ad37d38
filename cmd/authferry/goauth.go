package main

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/authferry/authferry/broker"
	"github.com/authferry/authferry/broker/index"
	"github.com/authferry/authferry/cmd/authferry/helper"
)

type goAuthCmd struct {
	whose
	URL string `arg:"" optional:"" help:"What a server refused; go appends it and writes the answer to stdin."`
}

// The go command doesn't say with which token a request was sent, nor when, and sends many
// at once. A refusal shortly after a change is taken for one of a request sent before it.
const (
	afterRefresh = 30 * time.Second
	afterMove    = 15 * time.Second
)

func (c *goAuthCmd) Run(a *app) error {
	var in io.Reader = strings.NewReader("")
	if !isTerminal(a.in) {
		in = a.input()
	}
	r, err := helper.ParseGoAuth(c.URL, in)
	if err != nil {
		return malformed(err)
	}
	if r.URL != "" && r.Origin == "" {
		return nil
	}
	t, err := tokenFor(a, target{origin: r.Origin, user: r.User}, c.whose, c.MinTTL, "")
	if err == nil && t != nil {
		t, err = c.goOn(a, r, t)
	}
	if err != nil || t == nil {
		return inALine(a, err)
	}
	return a.print(helper.EncodeGoAuth(t))
}

// goOn is the token to continue with after the answer in r. Go retries only once, so a
// throttle is waited for here.
func (c *goAuthCmd) goOn(a *app, r helper.GoAuth, t *broker.Token) (*broker.Token, error) {
	switch r.Status {
	case http.StatusUnauthorized, http.StatusPaymentRequired, http.StatusForbidden, http.StatusTooManyRequests:
	default:
		return t, nil
	}
	if !c.hadToken(a, r.Origin) {
		return t, nil
	}
	if r.Status == http.StatusUnauthorized && t.Account.Kind != index.KindAPIKey {
		if time.Since(t.Account.RefreshedAt).Abs() < afterRefresh {
			return t, nil
		}
		return tokenFor(a, target{origin: r.Origin, user: r.User}, c.whose, c.MinTTL, t.Lease)
	}
	if moved, err := justMoved(a, t); moved || err != nil {
		return t, err
	}
	verdict, err := a.broker.Report(a.ctx, c.selection().resolve(), broker.ReportRequest{Lease: t.Lease, Status: r.Status, Header: r.Header})
	switch {
	case err != nil:
		return nil, err
	case verdict.Action == broker.None:
		return t, nil
	case verdict.Action == broker.Retry:
		select {
		case <-time.After(verdict.RetryAfter):
		case <-a.ctx.Done():
		}
	}
	return tokenFor(a, target{origin: r.Origin, user: r.User}, c.whose, c.MinTTL, "")
}

// hadToken reports whether go's first call, which names no URL, returned a token for
// origin; if nothing is selected it may not have.
func (c *goAuthCmd) hadToken(a *app, origin string) bool {
	if told(c.selection()) {
		return true
	}
	t, err := tokenFor(a, target{}, c.whose, 0, "")
	return err == nil && slices.Contains(t.Origins, origin)
}

// justMoved reports whether another account of t's pool was held just now.
func justMoved(a *app, t *broker.Token) (bool, error) {
	s, err := broker.Status(a.folder)
	if err != nil {
		return false, err
	}
	for _, p := range s.Pools {
		for _, v := range p.Accounts {
			if p.Name != t.Account.Pool || v.ID == t.Account.ID {
				continue
			}
			for _, h := range v.Holds {
				if time.Since(h.ReportedAt).Abs() < afterMove {
					return true, nil
				}
			}
		}
	}
	return false, nil
}
